/* SPDX-License-Identifier: MIT
 *
 * The memory limit in force: what MEMWATCH_LIMIT said, until the program sets another.
 * Any thread, async-signal-safe.
 */
#ifndef MW_LIMITS_H
#define MW_LIMITS_H

#include <stdint.h>

#include "limiter.h"
#include "memwatch.h"
#include "units.h"

void mw_limits_start(struct mw_amount limit);

/* The threshold, and the usage that is held against it: an absolute limit is this process's (RSS), a share of the
 * cgroup's limit is the whole group's (working set). */
struct mw_limiter_readings mw_limits_now(const struct memwatch_stats *stats);

/* From now on this limit, from 0 to INT64_MAX (none). */
void mw_limits_set(int64_t limit_bytes);

#endif
