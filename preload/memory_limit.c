/* SPDX-License-Identifier: MIT */
#include "memory_limit.h"

static struct mw_amount configured;
static int64_t set_bytes = -1; /* by the program; below 0: never */
static int percent = -1;
static uint64_t next_bytes;

void mw_memory_limit_start(const struct mw_options *options)
{
    configured = options->limit;
    mw_memory_limit_set_percent(options->trim_percent);
}

struct mw_limiter_readings mw_memory_limit_now(const struct memwatch_stats *stats, uint64_t rss_anon_bytes)
{
    int64_t own = __atomic_load_n(&set_bytes, __ATOMIC_RELAXED);
    struct mw_limiter_readings readings = {.live_bytes = stats->Alloc,
                                           .resident_bytes = rss_anon_bytes,
                                           .allocated_bytes = stats->TotalAlloc,
                                           .usage_bytes = stats->RSS,
                                           .percent = mw_memory_limit_percent()};
    if (own == INT64_MAX)
        return readings;
    if (own >= 0) {
        readings.limit_bytes = own ? (uint64_t)own : 1; /* 0 would stand for none */
        return readings;
    }
    readings.limit_bytes = mw_amount_bytes(configured, stats->CgroupLimit);
    if (configured.kind == MW_AMOUNT_SHARE) {
        readings.usage_bytes = stats->CgroupWorkingSet;
        readings.ceiling_bytes = stats->CgroupLimit;
    }
    return readings;
}

void mw_memory_limit_set(int64_t limit_bytes)
{
    __atomic_store_n(&set_bytes, limit_bytes, __ATOMIC_RELAXED);
}

int mw_memory_limit_set_percent(int new_percent)
{
    return __atomic_exchange_n(&percent, new_percent < 0 ? -1 : new_percent, __ATOMIC_RELAXED);
}

int mw_memory_limit_percent(void)
{
    return __atomic_load_n(&percent, __ATOMIC_RELAXED);
}

void mw_memory_limit_note_next(const struct mw_limiter_readings *readings, uint64_t next_trim_bytes)
{
    /* the limiter speaks of the resident heap, a person looks at the usage */
    uint64_t rest = next_trim_bytes > readings->resident_bytes ? next_trim_bytes - readings->resident_bytes : 0;
    bool is_never = next_trim_bytes == UINT64_MAX || readings->usage_bytes > UINT64_MAX - rest;
    __atomic_store_n(&next_bytes, is_never ? 0 : readings->usage_bytes + rest, __ATOMIC_RELAXED);
}

uint64_t mw_memory_limit_next(void)
{
    return __atomic_load_n(&next_bytes, __ATOMIC_RELAXED);
}
