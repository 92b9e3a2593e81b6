/* SPDX-License-Identifier: MIT
 *
 * How many arenas glibc makes under a memory limit. It makes eight for each CPU of the machine, however few of them the
 * cgroup's quota of CPU time can keep busy; what lies free in one arena is of no use to the others. Where there is a
 * limit on memory and a quota of less than the machine, it is told to make as many as on a machine of just those CPUs,
 * unless the user or the program has chosen a number.
 *
 * The monitor finds out, at its first look: the program's start does not wait for the files. It matters from the ninth
 * arena on, so a thread that is to be the program's eighth is not started before it is known, but for a moment at most.
 * (glibc settles its own number then, for good: later would be too late.)
 *
 * Calls nothing of libc's but glibc's mallopt, in pthread_create. errno may be changed there.
 */
#ifndef MW_ARENAS_H
#define MW_ARENAS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators.h"
#include "cgroup.h"

/* Once, at the start: may that allocator be told at all? It stays the caller's. Reads the environment. */
void mw_arenas_start(const struct mw_allocator *beneath);

/* The monitor, after it has looked: the limit in force, or 0. Only the first time counts; under a limit it reads the
 * cgroup's files. */
void mw_arenas_see_limit(uint64_t limit_bytes);

/* What comes of that: so many, or 0: as many as glibc likes. By itself where nobody looks, so that nobody waits. The
 * first time counts. By one thread at a time. */
void mw_arenas_settle(unsigned arenas);

/* May it still come to that? */
bool mw_arenas_is_possible(void);

/* The program has called mallopt. */
void mw_arenas_see_mallopt(int parameter);

/* Before a thread of the program's begins. */
void mw_arenas_before_thread(void);

/* How many there are to be; 0: as many as glibc likes. Pure. */
unsigned mw_arenas_wanted(uint64_t limit_bytes, struct mw_cpu_quota quota, unsigned cpus);

#endif
