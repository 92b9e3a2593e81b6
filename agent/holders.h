/* SPDX-License-Identifier: MIT
 *
 * Who holds the memory: a profile's live bytes, ranked. Pure.
 */
#ifndef MW_HOLDERS_H
#define MW_HOLDERS_H

#include <stddef.h>

#include "profile.h"
#include "walk.h"

enum mw_holders_by {
    MW_HOLDERS_BY_STACK,
    MW_HOLDERS_BY_CALL,     /* the first frame that is no plumbing and its caller, each with its line */
    MW_HOLDERS_BY_FUNCTION, /* of that first frame */
    MW_HOLDERS_BY_MODULE,   /* of that frame */
    MW_HOLDERS_BY_SIZE      /* of the single block, by the API's size classes; from the live samples */
};

struct mw_holder {
    const char *name;    /* the function, the module's path, ""; as long as the profile and what names it live */
    size_t stack;        /* the one of its stacks that holds the most */
    uint64_t size_bytes; /* BY_SIZE: the largest block of the class */
    struct mw_profile_amount live;
    struct mw_profile_amount allocated; /* not BY_SIZE */
    double live_bytes_error;            /* standard error of live.bytes */
};

struct mw_holders {
    struct mw_holder *items; /* the one that holds the most first; free with mw_holders_free */
    size_t count;
    struct mw_profile_amount live; /* the sum of all */
    double live_bytes_error;
};

struct mw_holders mw_holders_rank(const struct mw_profile *profile, struct mw_namer namer, enum mw_holders_by by);
/* What a stack is counted under BY_CALL, BY_FUNCTION or BY_MODULE: adds to `key` what tells it from others, and returns
 * how it is called. */
#define MW_HOLDERS_KEY_BYTES 8192 /* names that begin alike for so long are one */
const char *mw_holders_key(struct mw_walk walk, enum mw_holders_by by, struct mw_text *key);

void mw_holders_free(struct mw_holders *holders);

#endif
