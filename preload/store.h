/* SPDX-License-Identifier: MIT
 *
 * This process's own segment (segment.h): where the library's counters and profile are born.
 *
 * It is a file in shared memory, so that it outlives a kill; where none can be had (no /dev/shm, no right, a limit on
 * files), it is memory of the process, and nobody sees it from outside. Before the start, and where there is not even
 * memory, it is a least one without room for more than the shared counters. The pointers are always valid.
 *
 * A file in shared memory can be full: its pages come as they are touched, and where none is left to come the kernel
 * kills who touches one. So pages are asked for before they are touched, by mw_store_ready, and what cannot be had is a
 * counted drop.
 *
 * Any thread, no lock, async-signal-safe, errno is left alone; but for start and fork.
 */
#ifndef MW_STORE_H
#define MW_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "segment.h"

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order of the list
struct mw_store {
    struct mw_segment_header *header;
#define MW_STORE_MEMBER(NAME, name, item)                                                                              \
    item *name;                                                                                                        \
    uint32_t name##_capacity;
    MW_SEGMENT_SECTIONS(MW_STORE_MEMBER)
#undef MW_STORE_MEMBER
};

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern struct mw_store mw_store;
/* The shared slot of the time before the start: its counts count for good. */
extern struct mw_segment_slot *const mw_store_early_slot;
#pragma GCC visibility pop

/* Makes the segment. Once, before the program starts threads. 0, or the negative errno value of what stood in the way
 * of a file. */
int mw_store_start(const struct mw_options *options);

/* May these bytes be written? Within one section; the first time for each page it asks the kernel. */
bool mw_store_ready(const void *address, size_t bytes);

/* Has its page been asked for already? To read elsewhere would bring a page, or a signal. */
bool mw_store_is_ready(const void *address);

/* Around a fork: the child gets a segment of its own, with what the parent's held. Else both would write the same. What
 * other threads of the parent count in the moment of the fork may be missing there. */
void mw_store_before_fork(void);
void mw_store_after_fork_in_parent(void);
void mw_store_after_fork(void); /* in the child */

/* Is this a process that was forked past libc, and writes into its parent's segment? One load. */
bool mw_store_is_anothers(void);

/* The process ends by itself: its file goes, unless it was asked to stay. Not in a child of vfork (mw_record_end). */
void mw_store_end(int status);

/* The memory that the segment was mapped with where it is not a file; else 0. */
uint64_t mw_store_private_bytes(void);

#endif
