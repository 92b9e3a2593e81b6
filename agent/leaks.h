/* SPDX-License-Identifier: MIT
 *
 * Which stacks leak: what grows, grew until the end, and whose blocks of all ages are still there. Pure.
 *
 * A single look cannot tell a leak from memory that will yet be freed; what it can tell is how a stack's live bytes
 * have gone since the start, and when the blocks that live were born. A cache that has filled grows no more. One that
 * is full and exchanges its entries, or memory that swings, has no old blocks left. Both are told apart from what only
 * ever grows, and every claim comes with its standard error: of the sampling, and of allocation being what it is.
 */
#ifndef MW_LEAKS_H
#define MW_LEAKS_H

#include <stddef.h>

#include "profile.h"

enum mw_leak_kind {
    MW_LEAK_GROWS,    /* steadily, until the end, and what was allocated long ago is still there */
    MW_LEAK_MAY_GROW, /* there is a doubt */
    MW_LEAK_STOPPED,  /* has grown, and does no more */
    MW_LEAK_STEADY,   /* comes and goes, or has been there from the start */
    MW_LEAK_KINDS
};

/* Of what may grow, why that is not sure. */
enum mw_leak_doubt {
    MW_LEAK_NO_DOUBT,
    MW_LEAK_NEAR_CHANCE,   /* the growth is not far above what chance can do */
    MW_LEAK_LOSES_OLDEST,  /* less is left of what came early than of what came later */
    MW_LEAK_SLOWS_DOWN,    /* as a cache that misses ever more rarely */
    MW_LEAK_BIRTHS_UNKNOWN /* much of it was freed, and it cannot be seen whether that was the oldest */
};

struct mw_leak {
    enum mw_leak_kind kind;
    enum mw_leak_doubt doubt;
    size_t stack;
    double bytes_per_s; /* over the last two thirds of the time; below 0: it shrinks */
    double bytes_per_s_error;
    double late_bytes_per_s; /* over the last third */
    double late_bytes_per_s_error;
    uint64_t samples;       /* live ones; 0: births are not known, but guessed from the history */
    uint64_t median_age_ns; /* of the live bytes; 0: not known */
};

struct mw_leaks {
    struct mw_leak *items; /* by kind, then by how fast they grow at least; free with mw_leaks_free */
    size_t count;          /* all stacks that hold something */
    uint64_t observed_ns;
    bool is_too_short; /* too little of the past is known to judge: all that is may grow, or is steady */
};

#define MW_LEAKS_LEAST_POINTS 4 /* for a slope */

struct mw_leaks mw_leaks_find(const struct mw_profile *profile);
void mw_leaks_free(struct mw_leaks *leaks);

#endif
