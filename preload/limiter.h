/* SPDX-License-Identifier: MIT
 *
 * When to ask the allocator for memory back: Go's GOGC and GOMEMLIMIT for any program. Pure arithmetic: readings and
 * time in, a decision out. One thread at a time; all zeros is a limiter that has seen nothing yet.
 *
 *   retained    resident, but not live: what a trim gives back at most. It is a lower bound: a block that was allocated
 *               but never written, or was swapped out, is live without being resident, and hides as much of it.
 *   kept        what of it stayed after the last trim: fragments, static data, stacks, our own pages
 *   returnable  retained - kept
 *   stale       since the last trim a good part of the heap has been allocated anew or freed: what was kept then says
 *               little now, and it may be worth a try. Before the first trim all is stale.
 */
#ifndef MW_LIMITER_H
#define MW_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

enum mw_limiter_reason {
    MW_LIMITER_NONE,     /* rest */
    MW_LIMITER_PERCENT,  /* GOGC: more is returnable than this share of what is live */
    MW_LIMITER_QUIET,    /* the program neither allocates nor frees: once for each such time */
    MW_LIMITER_LIMIT,    /* GOMEMLIMIT: usage is past the limit */
    MW_LIMITER_PRESSURE, /* the kernel says that memory is short */
};

struct mw_limiter_readings {
    uint64_t live_bytes;      /* Alloc */
    uint64_t resident_bytes;  /* RssAnon */
    uint64_t allocated_bytes; /* TotalAlloc */
    uint64_t usage_bytes;     /* what is held against the limit and the ceiling */
    uint64_t limit_bytes;     /* the threshold; 0: none */
    uint64_t ceiling_bytes;   /* where the kernel kills, in terms of the same usage; 0: none or not known */
    int percent;              /* as GOGC; below 0: off, and QUIET with it. Off and no limit: always at rest */
    bool is_under_pressure;   /* the kernel has said so since the last step */
};

struct mw_limiter_decision {
    enum mw_limiter_reason reason;
    bool is_urgent;            /* LIMIT: what is allocated meanwhile may not fit any more: allocations are to wait */
    uint64_t next_look_ns;     /* step again after so long; sooner does no harm */
    uint64_t look_after_bytes; /* and when so much has been allocated; UINT64_MAX: whatever is */
    uint64_t next_trim_bytes;  /* as Go's NextGC: the resident heap past which PERCENT or LIMIT would trim, if nothing
                                  else changes; UINT64_MAX: never */
};

/* The limiter's own. */
struct mw_limiter_backoff {
    uint64_t wait_ns;       /* 0: the last trim was worth it */
    uint64_t not_before_ns; /* CLOCK_MONOTONIC, as all the times here */
};

struct mw_limiter {
    bool has_looked;
    bool has_trimmed;
    bool is_over;
    bool is_quiet_served;
    int percent; /* this, limit and usage as they were at the last look */
    uint64_t limit_bytes;
    uint64_t usage_bytes;
    uint64_t looked_ns;
    double growth_bytes_per_ns; /* of usage, the fastest in about the last second */

    uint64_t spent_ns;          /* the bucket for all reclaim */
    uint64_t elective_spent_ns; /* the one for what nobody needs in a hurry: PERCENT and QUIET */

    uint64_t trimmed_ns; /* the last trim … */
    uint64_t trimmed_allocated_bytes;
    uint64_t kept_bytes;
    uint64_t highest_live_bytes;     /* … and the most that was live since */
    struct mw_limiter_backoff known; /* after futile trims for what was returnable by all that is known … */
    struct mw_limiter_backoff hoped; /* … and after futile tries to get more of a stale heap */

    uint64_t over_since_ns;       /* where is_over: returnable is past the percentage since then … */
    uint64_t patience_ns;         /* … and for so long it has to be */
    uint64_t regret_until_ns;     /* 0: no PERCENT trim is being judged */
    uint64_t regret_beyond_bytes; /* it was of no use if the resident heap is past this again by then */

    uint64_t quiet_since_ns; /* nothing worth a mention was allocated or freed since, from these: */
    uint64_t quiet_allocated_bytes;
    uint64_t quiet_live_bytes;
};

/* Looks. For any reason but NONE the caller trims, or has it done, and tells of it when it is done. */
struct mw_limiter_decision mw_limiter_step(struct mw_limiter *limiter, const struct mw_limiter_readings *readings,
                                           uint64_t now_ns);

/* What came of a trim: the readings before and after it, and the CPU time it took. NONE: one that somebody else has
 * asked for; the limiter learns from it what stays, but it is not on its account. CPU time, as Go's limiter of its
 * collector counts: on a busy machine a trim that had to wait for a CPU for a second would be the last for a minute. */
void mw_limiter_trimmed(struct mw_limiter *limiter, enum mw_limiter_reason reason,
                        const struct mw_limiter_readings *before, const struct mw_limiter_readings *after,
                        uint64_t cpu_ns, uint64_t now_ns);

#endif
