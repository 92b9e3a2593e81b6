/* SPDX-License-Identifier: MIT */
#include "limiter.h"

#define FIRST_BACKOFF_NS   UINT64_C(1000000000)
#define LONGEST_BACKOFF_NS (300 * UINT64_C(1000000000))

static bool is_worth_it(struct mw_limiter_readings readings, uint64_t returned_bytes)
{
    return returned_bytes > readings.usage_bytes / 32; /* allocators keep a per cent or two for themselves */
}

enum mw_limiter_action mw_limiter_step(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t now_ns)
{
    if (!readings.limit_bytes || readings.usage_bytes <= readings.limit_bytes) {
        *limiter = (struct mw_limiter){0}; /* what was futile then may be worth it when usage comes back */
        return MW_LIMITER_REST;
    }
    if (!is_worth_it(readings, readings.retained_bytes))
        return MW_LIMITER_REST;
    return now_ns < limiter->not_before_ns ? MW_LIMITER_REST : MW_LIMITER_TRIM;
}

void mw_limiter_trimmed(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t returned_bytes,
                        uint64_t now_ns)
{
    if (is_worth_it(readings, returned_bytes)) {
        limiter->backoff_ns = 0;
    } else {
        limiter->backoff_ns = limiter->backoff_ns ? limiter->backoff_ns * 2 : FIRST_BACKOFF_NS;
        if (limiter->backoff_ns > LONGEST_BACKOFF_NS)
            limiter->backoff_ns = LONGEST_BACKOFF_NS;
    }
    limiter->not_before_ns = now_ns + limiter->backoff_ns;
}
