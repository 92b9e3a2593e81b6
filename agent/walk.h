/* SPDX-License-Identifier: MIT
 *
 * The frames of a stack one by one, from the innermost out, inlined ones too. Pure: names come from a function of the
 * caller's.
 *
 * Plumbing is what stands between the allocator and whoever wanted memory: the allocator itself, operator new, the
 * language's own library; and what stands around main and around a thread's function. What is of interest is between.
 */
#ifndef MW_WALK_H
#define MW_WALK_H

#include <stdbool.h>

#include "profile.h"
#include "symbols.h"

/* Names addresses; mw_symbols_find, with context the struct mw_symbols, is one. */
struct mw_namer {
    const struct mw_symbol *(*find)(void *context, uint64_t return_address);
    void *context;
};

struct mw_namer mw_namer_of(struct mw_symbols *symbols);

struct mw_walk {
    const struct mw_profile *profile;
    const struct mw_profile_stack *stack;
    struct mw_namer namer;
    unsigned depth;   /* of the next frame */
    unsigned inlined; /* at that depth */
    unsigned left;    /* frames to go at most, inlined ones too */
};

struct mw_step {
    const struct mw_symbol *symbol;
    const struct mw_frame *frame;
    const char *module; /* its path; NULL: in none */
};

/* From the very innermost frame. */
struct mw_walk mw_walk_all(const struct mw_profile *profile, size_t stack, struct mw_namer namer);

/* From the first frame that is no plumbing to the last; all where all are. */
struct mw_walk mw_walk_user(const struct mw_profile *profile, size_t stack, struct mw_namer namer);

/* False: there are no more. */
bool mw_walk_next(struct mw_walk *walk, struct mw_step *step);

#endif
