/* SPDX-License-Identifier: MIT
 *
 * Asking the allocator to return memory to the kernel, and the account of what that brought.
 */
#ifndef MW_TRIM_H
#define MW_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "memwatch.h"

/* Finds out which allocator lies beneath us. Once, at the start; takes the loader's lock. */
void mw_trim_start(void);

/* Trims, on the calling thread; takes the allocator's locks. forced: the program has asked for it.
 * Returns 0 and fills *event, or -ENOTSUP: the allocator is not one that we know how to ask. Any thread. */
int mw_trim(bool forced, struct mw_trim_event *event);

/* Fills in NumTrim, NumForcedTrim, LastTrim, PauseTotalNs, PauseNs, TrimReleased and TrimCPUFraction.
 * Any thread, async-signal-safe. */
void mw_trim_read(struct memwatch_stats *stats);

#endif
