/* SPDX-License-Identifier: MIT
 *
 * The stacks of a profile, found by their frames in another profile of the same segment: addresses mean the same in
 * both. Pure. The index belongs to its maker, and the profile must outlive it.
 */
#ifndef MW_PROFILE_INDEX_H
#define MW_PROFILE_INDEX_H

#include "profile.h"

struct mw_profile_index {
    const struct mw_profile_stack **stacks; /* in order */
    size_t count;
};

struct mw_profile_index mw_profile_index_make(const struct mw_profile *profile);
void mw_profile_index_free(struct mw_profile_index *index);

/* The same stack; NULL: there is none. */
const struct mw_profile_stack *mw_profile_index_find(const struct mw_profile_index *index,
                                                     const struct mw_profile_stack *stack);

#endif
