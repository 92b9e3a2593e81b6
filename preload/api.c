/* SPDX-License-Identifier: MIT
 *
 * What include/memwatch.h promises.
 */
#include "memwatch.h"

#include "memory_limit.h"
#include "monitor.h"
#include "pressure_level.h"
#include "readings.h"
#include "reclaimer.h"
#include "trim.h"

#define EXPORT __attribute__((visibility("default")))

/* stats_bytes: what the caller's version of the struct holds; a longer one is filled up with 0. */
EXPORT int memwatch_v1_read_stats(struct memwatch_stats *stats, size_t stats_bytes)
{
    struct memwatch_stats now;
    struct mw_probe probe = {0};
    mw_readings_take(&probe, &now);
    memcpy(stats, &now, stats_bytes < sizeof now ? stats_bytes : sizeof now);
    if (stats_bytes > sizeof now)
        memset((char *)stats + sizeof now, 0, stats_bytes - sizeof now);
    return 0;
}

EXPORT int64_t memwatch_v1_trim(void)
{
    struct mw_trim_event event;
    int error = mw_trim(MW_TRIM_FORCED, 0, &event);
    if (!error)
        mw_monitor_tell(&event);
    return error ? error : (int64_t)event.returned_bytes;
}

EXPORT int64_t memwatch_v1_set_memory_limit(int64_t limit_bytes)
{
    struct memwatch_stats now;
    struct mw_probe probe = {0};
    mw_readings_take(&probe, &now);
    uint64_t before = mw_memory_limit_now(&now, probe.rss_anon_bytes).limit_bytes;
    if (limit_bytes >= 0) {
        mw_memory_limit_set(limit_bytes);
        mw_monitor_wake();
    }
    return before && before <= INT64_MAX ? (int64_t)before : INT64_MAX;
}

/* Off is below 0 on this side, and on that one what no percentage reaches: there a negative value is an error. */
static int percent_or_max(int percent)
{
    return percent < 0 ? INT_MAX : percent;
}

EXPORT int memwatch_v1_set_trim_percent(int percent)
{
    int bounded = percent < MW_LARGEST_PERCENT ? percent : MW_LARGEST_PERCENT;
    int before = mw_memory_limit_set_percent(percent == INT_MAX ? -1 : bounded);
    mw_monitor_wake();
    return percent_or_max(before);
}

EXPORT int memwatch_v1_get_trim_percent(void)
{
    return percent_or_max(mw_memory_limit_percent());
}

EXPORT int memwatch_v1_on_pressure(enum memwatch_pressure_level level, memwatch_pressure_callback *callback,
                                   void *context)
{
    int saved = errno;
    int handle = mw_pressure_level_add(level, callback, context);
    if (handle > 0 && (!mw_monitor_is_there() || !mw_reclaimer_demand())) {
        mw_pressure_level_remove(handle);
        handle = -ENOTSUP;
    }
    errno = saved;
    return handle;
}

EXPORT int memwatch_v1_remove_pressure(int handle)
{
    return mw_pressure_level_remove(handle);
}

EXPORT int memwatch_v1_pressure(void)
{
    return mw_monitor_is_there() ? (int)mw_pressure_level_now() : -ENOTSUP;
}
