/* SPDX-License-Identifier: MIT
 *
 * Stacks as one line each, "main;handle_request;cache_insert", as flame graphs want them: the outermost frame first.
 * By their names, stacks of different runs and builds can be compared. Pure.
 *
 * The struct owns its strings and starts zeroed. One thread at a time.
 */
#ifndef MW_FOLDED_H
#define MW_FOLDED_H

#include "interned.h"
#include "profile.h"
#include "walk.h"

struct mw_folded_row {
    struct mw_profile_amount allocated;
    struct mw_profile_amount live;
    double live_bytes_error;
};

struct mw_folded {
    struct mw_interned stacks;
    struct mw_folded_row *rows; /* one a stack, by its number */
};

/* Adds what is said of a stack to the row of it, and makes that where it is new. */
void mw_folded_add(struct mw_folded *folded, const char *stack, const struct mw_folded_row *row);

/* Adds a profile's stacks; each from its first frame that is no plumbing, where that is asked. */
void mw_folded_add_profile(struct mw_folded *folded, const struct mw_profile *profile, struct mw_namer namer,
                           bool without_plumbing);

void mw_folded_free(struct mw_folded *folded);

#endif
