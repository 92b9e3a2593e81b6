/* SPDX-License-Identifier: MIT */
#include "profile_builder.h"

#include <stdlib.h>

#include "check.h"

void profile_builder_start(struct profile_builder *builder, const struct built_name *names, size_t name_count,
                           struct mw_profile_module *modules, size_t module_count)
{
    assert_in_range(name_count, 0, PROFILE_BUILDER_MOST);
    *builder = (struct profile_builder){.names = names, .name_count = name_count};
    builder->profile = (struct mw_profile){.stacks = builder->stacks,
                                           .modules = modules,
                                           .module_count = module_count,
                                           .samples = builder->samples,
                                           .sample_mean_bytes = 512 << 10,
                                           .started_unix_ns = UINT64_C(1700000000000000000),
                                           .age_ns = UINT64_C(60000000000)};
    for (size_t i = 0; i < name_count; i++) {
        struct mw_symbol *symbol = calloc(1, sizeof *symbol + 2 * sizeof symbol->frames[0]);
        assert_non_null(symbol);
        struct mw_frame frame = {names[i].function, names[i].function, names[i].file, names[i].line, false};
        symbol->module = names[i].module;
        symbol->offset = names[i].address;
        symbol->is_known = true;
        if (names[i].inlined)
            symbol->frames[symbol->count++] =
                (struct mw_frame){names[i].inlined, names[i].inlined, names[i].file, 1, true};
        symbol->frames[symbol->count++] = frame;
        builder->symbols[i] = symbol;
    }
}

void profile_builder_free(struct profile_builder *builder)
{
    for (size_t i = 0; i < builder->name_count; i++)
        free(builder->symbols[i]);
}

struct mw_profile_stack *profile_builder_stack(struct profile_builder *builder, const uint64_t *frames,
                                               uint64_t live_objects, uint64_t live_bytes)
{
    assert_in_range(builder->profile.stack_count, 0, PROFILE_BUILDER_MOST - 1);
    struct mw_profile_stack *stack = &builder->stacks[builder->profile.stack_count++];
    *stack =
        (struct mw_profile_stack){.frames = frames,
                                  .live = {.objects = live_objects, .bytes = live_bytes, .samples = live_bytes != 0},
                                  .allocated = {.objects = 2 * live_objects, .bytes = 2 * live_bytes, .samples = 2}};
    while (frames[stack->depth])
        stack->depth++;
    return stack;
}

void profile_builder_sample(struct profile_builder *builder, unsigned stack, uint64_t bytes, double objects)
{
    assert_in_range(builder->profile.sample_count, 0, PROFILE_BUILDER_MOST - 1);
    builder->samples[builder->profile.sample_count++] =
        (struct mw_profile_sample){.bytes = bytes, .objects = objects, .stack = stack};
}

static const struct mw_symbol *find(void *context, uint64_t address)
{
    const struct profile_builder *builder = context;
    for (size_t i = 0; i < builder->name_count; i++)
        if (builder->names[i].address == address)
            return builder->symbols[i];
    fail_msg("there is no name for 0x%llx", (unsigned long long)address);
    return NULL;
}

struct mw_namer profile_builder_namer(struct profile_builder *builder)
{
    return (struct mw_namer){find, builder};
}
