/* SPDX-License-Identifier: MIT
 *
 * The malloc path where every block is noted with its stack: it has eight bytes more than was asked for (padded.h), in
 * which stands the number of its stack (heap_profile.h).
 *
 * Any thread, no lock, async-signal-safe; errno is left alone.
 */
#ifndef MW_COUNT_EXACT_H
#define MW_COUNT_EXACT_H

#include <stdbool.h>
#include <stdint.h>

/* From now on; once, before the program starts threads. What has been counted is counted anew, out of line: classes
 * mean something else from here on, a block without its last eight bytes. */
void mw_exact_start(void);

/* Notes and counts a block of the program's of so many usable bytes, eight of which are ours. False: nothing is done,
 * and it is to be counted as any other (this thread has not begun yet, or the block is too small). */
bool mw_exact_allocated(void *block, uint64_t usable_bytes);

/* A block is about to be freed. False: it bears no number, and nothing is done. */
bool mw_exact_freed(void *block, uint64_t usable_bytes);

#endif
