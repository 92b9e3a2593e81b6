/* SPDX-License-Identifier: MIT
 *
 * The memory limit in force: what MEMWATCH_LIMIT said, until the program sets another.
 * Any thread, async-signal-safe.
 */
#ifndef MW_MEMORY_LIMIT_H
#define MW_MEMORY_LIMIT_H

#include <stdint.h>

#include "limiter.h"
#include "memwatch.h"
#include "units.h"

void mw_memory_limit_start(struct mw_amount limit);

/* The threshold, and the usage that is held against it: an absolute limit is this process's (RSS), a share of the
 * cgroup's limit is the whole group's (working set). */
struct mw_limiter_readings mw_memory_limit_now(const struct memwatch_stats *stats);

/* From now on this limit, from 0 to INT64_MAX (none). */
void mw_memory_limit_set(int64_t limit_bytes);

#endif
