/* SPDX-License-Identifier: MIT */
#include "memory_limit.h"

static struct mw_amount configured;
static int64_t set_bytes = -1; /* by the program; below 0: never */

void mw_memory_limit_start(struct mw_amount limit)
{
    configured = limit;
}

struct mw_limiter_readings mw_memory_limit_now(const struct memwatch_stats *stats)
{
    int64_t own = __atomic_load_n(&set_bytes, __ATOMIC_RELAXED);
    struct mw_limiter_readings readings = {.live_bytes = stats->Alloc,
                                           .resident_bytes = stats->Alloc + stats->HeapRetained,
                                           .allocated_bytes = stats->TotalAlloc,
                                           .usage_bytes = stats->RSS,
                                           .percent = -1};
    if (own == INT64_MAX)
        return readings;
    if (own >= 0) {
        readings.limit_bytes = own ? (uint64_t)own : 1; /* 0 would stand for none */
        return readings;
    }
    if (configured.kind == MW_AMOUNT_SHARE)
        readings.usage_bytes = stats->CgroupWorkingSet;
    readings.limit_bytes = mw_amount_bytes(configured, stats->CgroupLimit);
    return readings;
}

void mw_memory_limit_set(int64_t limit_bytes)
{
    __atomic_store_n(&set_bytes, limit_bytes, __ATOMIC_RELAXED);
}
