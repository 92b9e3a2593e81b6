/* SPDX-License-Identifier: MIT
 *
 * A profile by places instead of stacks: those stacks become one whose first two frames that are no plumbing are the
 * same, with their lines. However many ways lead to a place, what it does shows in all of its samples together. Pure.
 *
 * The struct owns its stacks and samples, until mw_places_free; all else is the original's, which must outlive it.
 */
#ifndef MW_PLACES_H
#define MW_PLACES_H

#include <stddef.h>

#include "profile.h"
#include "walk.h"

struct mw_places {
    struct mw_profile profile; /* its stacks are the places; each has the frames of the stack that holds the most */
    size_t *stacks;            /* how many stacks each is made of */
};

struct mw_places mw_places_make(const struct mw_profile *profile, struct mw_namer namer);
void mw_places_free(struct mw_places *places);

#endif
