/* SPDX-License-Identifier: MIT
 *
 * MEMWATCH_HARD_LIMIT: an allocation that would take the process's resident memory (RSS) past it fails as if there were
 * no memory: ENOMEM, realloc leaves the old block, C++'s operators throw. Before that the allocator is asked to return
 * what it can. Where the option is off nothing of this is on anybody's way.
 *
 *   budget   what may still be allocated before RSS has to be read anew: hard limit - RSS at the last look, less what
 *            has been allocated since. Frees do not add to it: the next reading does.
 *
 * What counts are blocks, and the program's own private, anonymous, writable mappings, by the size that is asked for.
 * What grows otherwise is not held up, but counts at the next reading: a mapping by mremap, stacks, the program's
 * files, and blocks that were asked for while there was room and are written to only now.
 *
 * Any thread. Async-signal-safe as far as malloc is: whoever calls that in a signal handler has the allocator purged
 * there.
 */
#ifndef MW_HARD_LIMIT_H
#define MW_HARD_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern bool mw_hard_limit_is_set;
#pragma GCC visibility pop

/* From now on; 0: none. Once, at the start, when the functions beneath are known (real.h) and whatever else stands
 * before them does. */
void mw_hard_limit_start(uint64_t limit_bytes);

/* May so much be had? False: no, and it has been told (an event; once a line). errno is left alone. Only where one is
 * set. */
bool mw_hard_limit_admits(size_t bytes);

/* What is to be said of the first that failed, once; else NULL. The monitor's. */
bool mw_hard_limit_has_news(void);
const char *mw_hard_limit_news(void);
void mw_hard_limit_has_said(void);

/* In the child of a fork. */
void mw_hard_limit_after_fork(void);

#endif
