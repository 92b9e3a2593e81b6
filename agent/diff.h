/* SPDX-License-Identifier: MIT
 *
 * What grew and what shrank between two profiles, also of different processes and builds: stacks are the same where
 * their functions are called the same. Pure.
 */
#ifndef MW_DIFF_H
#define MW_DIFF_H

#include <stddef.h>

#include "folded.h"

struct mw_diff_row {
    const char *stack; /* as in the struct mw_folded that were compared, which own it */
    struct mw_profile_amount before;
    struct mw_profile_amount after;
    double change_bytes;
    double change_error; /* standard error of it; 0: exact, or not known */
};

struct mw_diff {
    struct mw_diff_row *rows; /* what grew most first, what shrank most last; without what is as it was */
    size_t count;
    double change_bytes; /* of all */
    double change_error;
};

struct mw_diff mw_diff_make(const struct mw_folded *before, const struct mw_folded *after);
void mw_diff_free(struct mw_diff *diff);

#endif
