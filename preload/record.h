/* SPDX-License-Identifier: MIT
 *
 * What the segment tells besides counters and profile: the latest statistics, a timeline, events.
 *
 * Ticks by one thread at a time, the monitor; events by any, without a lock. Async-signal-safe.
 */
#ifndef MW_RECORD_H
#define MW_RECORD_H

#include <stdint.h>

#include "memwatch.h"
#include "segment.h"

/* The statistics of this moment; and, as far as they are due, a row of each timeline and a point of the stacks'
 * histories. */
void mw_record_tick(const struct memwatch_stats *stats, uint64_t now_ns);

/* The process ends by itself, with that status: tells so, and has the segment go (store.h). */
void mw_record_end(int status);

/* values: as many as the kind has (segment.h); the rest is 0. thread: whose doing it was, 0: the monitor's. */
void mw_record_event(enum mw_segment_event_kind kind, uint32_t thread, const uint64_t *values, unsigned count);

#endif
