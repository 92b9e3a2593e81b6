/* SPDX-License-Identifier: MIT
 *
 * Profiles made by hand, with names for their addresses: what the tests of rankings and formats are about.
 */
#ifndef MW_PROFILE_BUILDER_H
#define MW_PROFILE_BUILDER_H

#include "profile.h"
#include "walk.h"

#define PROFILE_BUILDER_MOST 64

/* An address's frame, in a module by number, or MW_SYMBOL_NO_MODULE. */
struct built_name {
    uint64_t address;
    size_t module;
    const char *function;
    const char *file; /* NULL: not known */
    unsigned line;
    const char *inlined; /* a function inlined there; NULL: none */
};

struct profile_builder {
    struct mw_profile profile;
    struct mw_profile_stack stacks[PROFILE_BUILDER_MOST];
    struct mw_profile_sample samples[PROFILE_BUILDER_MOST];
    struct mw_symbol *symbols[PROFILE_BUILDER_MOST];
    const struct built_name *names;
    size_t name_count;
};

/* names and modules are the caller's. */
void profile_builder_start(struct profile_builder *builder, const struct built_name *names, size_t name_count,
                           struct mw_profile_module *modules, size_t module_count);
void profile_builder_free(struct profile_builder *builder);

/* A stack with that much live, of as many objects; twice as much was allocated. frames end with 0. */
struct mw_profile_stack *profile_builder_stack(struct profile_builder *builder, const uint64_t *frames,
                                               uint64_t live_objects, uint64_t live_bytes);

/* A live block that stands for `objects`. */
void profile_builder_sample(struct profile_builder *builder, unsigned stack, uint64_t bytes, double objects);

struct mw_namer profile_builder_namer(struct profile_builder *builder);

#endif
