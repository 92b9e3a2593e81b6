/* SPDX-License-Identifier: MIT
 *
 * What include/memwatch.h promises.
 */
#include "memwatch.h"

#include "memory_limit.h"
#include "readings.h"
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
    int saved = errno;
    int error = mw_trim(true, &event);
    errno = saved;
    return error ? error : (int64_t)event.returned_bytes;
}

EXPORT int64_t memwatch_v1_set_memory_limit(int64_t limit_bytes)
{
    struct memwatch_stats now;
    struct mw_probe probe = {0};
    mw_readings_take(&probe, &now);
    if (limit_bytes >= 0)
        mw_memory_limit_set(limit_bytes);
    return now.NextTrim && now.NextTrim <= INT64_MAX ? (int64_t)now.NextTrim : INT64_MAX;
}
