/* SPDX-License-Identifier: MIT
 *
 * When to ask the allocator for memory back. Pure arithmetic: readings and time in, a decision out.
 * One thread at a time.
 */
#ifndef MW_LIMITER_H
#define MW_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

struct mw_limiter {
    uint64_t not_before_ns; /* CLOCK_MONOTONIC */
    uint64_t backoff_ns;    /* 0: the last trim was worth it */
};

struct mw_limiter_readings {
    uint64_t usage_bytes;
    uint64_t limit_bytes;    /* the threshold; 0: none */
    uint64_t retained_bytes; /* what a trim gives back at most */
};

enum mw_limiter_action { MW_LIMITER_REST, MW_LIMITER_TRIM };

/* A trim that would give back no more than a 32nd of the usage is not worth its time. */
enum mw_limiter_action mw_limiter_step(struct mw_limiter *limiter, struct mw_limiter_readings readings,
                                       uint64_t now_ns);

/* What the trim brought. A futile one doubles the wait before the next, from a
 * second to five minutes; a useful one forgets that. */
void mw_limiter_trimmed(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t returned_bytes,
                        uint64_t now_ns);

#endif
