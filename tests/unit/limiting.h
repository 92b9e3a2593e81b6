/* SPDX-License-Identifier: MIT
 *
 * What the tests of the limiter's rules share. The limiter lives through simulated time: no clock, no memory, only
 * readings.
 */
#ifndef MW_LIMITING_H
#define MW_LIMITING_H

#include "limiter.h"

#include "check.h"

#define MS  UINT64_C(1000000)
#define S   (1000 * MS)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define ALL UINT64_MAX
#define OFF (-1)

static inline enum mw_limiter_reason step(struct mw_limiter *limiter, struct mw_limiter_readings readings,
                                          uint64_t now_ns)
{
    return mw_limiter_step(limiter, &readings, now_ns).reason;
}

/* A trim that returns so much of what is resident and of the usage, and takes no time. */
static inline struct mw_limiter_readings trim(struct mw_limiter *limiter, enum mw_limiter_reason reason,
                                              struct mw_limiter_readings readings, uint64_t returned_bytes,
                                              uint64_t now_ns)
{
    struct mw_limiter_readings after = readings;
    after.resident_bytes -= returned_bytes;
    after.usage_bytes -= returned_bytes;
    mw_limiter_trimmed(limiter, reason, &readings, &after, 0, now_ns);
    return after;
}

/* A limiter that has just learned that of these readings nothing can be returned. */
static inline struct mw_limiter taught(struct mw_limiter_readings readings, uint64_t now_ns)
{
    struct mw_limiter limiter = {0};
    mw_limiter_step(&limiter, &readings, now_ns);
    mw_limiter_trimmed(&limiter, MW_LIMITER_NONE, &readings, &readings, 0, now_ns);
    return limiter;
}

/* A program and the monitor's loop around it: looks once a second, and each trim returns the same, which comes back
 * at once. The heap is turned over all the time. Counts the trims. */
static inline unsigned live(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t returned_bytes,
                            unsigned seconds, uint64_t *now_ns)
{
    unsigned trims = 0;
    for (unsigned i = 0; i < seconds; i++, *now_ns += S) {
        readings.allocated_bytes = *now_ns / S * readings.resident_bytes;
        enum mw_limiter_reason reason = step(limiter, readings, *now_ns);
        if (reason == MW_LIMITER_NONE)
            continue;
        trim(limiter, reason, readings, returned_bytes, *now_ns);
        trims++;
    }
    return trims;
}

/* Much is past the limit, and much could come back. */
static const struct mw_limiter_readings past = {.live_bytes = 50 * MIB,
                                                .resident_bytes = 200 * MIB,
                                                .usage_bytes = 200 * MIB,
                                                .limit_bytes = 100 * MIB,
                                                .percent = OFF};

#endif
