/* SPDX-License-Identifier: MIT
 *
 * What the limiter is to keep to: what MEMWATCH_LIMIT and MEMWATCH_TRIM_PERCENT said, until the program or the agent
 * sets something else. Any thread, async-signal-safe.
 */
#ifndef MW_MEMORY_LIMIT_H
#define MW_MEMORY_LIMIT_H

#include <stdint.h>

#include "limiter.h"
#include "memwatch.h"
#include "options.h"
#include "units.h"

void mw_memory_limit_start(const struct mw_options *options);

/* The threshold, and the usage that is held against it: an absolute limit is this process's (RSS), a share of the
 * cgroup's limit is the whole group's (working set), and then that limit is the ceiling. */
struct mw_limiter_readings mw_memory_limit_now(const struct memwatch_stats *stats, uint64_t rss_anon_bytes);

/* From now on this limit, from 0 to INT64_MAX (none). */
void mw_memory_limit_set(int64_t limit_bytes);

/* Likewise, below 0: off. Returns what it was. */
int mw_memory_limit_set_percent(int percent);
int mw_memory_limit_percent(void);

/* Go's NextGC: the usage past which a trim would come, as the limiter has last seen it; 0: never, or nothing is known
 * yet. */
void mw_memory_limit_note_next(const struct mw_limiter_readings *readings, uint64_t next_trim_bytes);
uint64_t mw_memory_limit_next(void);

#endif
