/* SPDX-License-Identifier: MIT */
#include "places.h"

#include <math.h>

#include "holders.h"
#include "interned.h"
#include "memory.h"

static void add_amount(struct mw_profile_amount *to, const struct mw_profile_amount *amount)
{
    to->objects += amount->objects;
    to->bytes += amount->bytes;
    to->samples += amount->samples;
}

static void add_stack(struct mw_profile_stack *place, const struct mw_profile_stack *stack, uint64_t *most_bytes)
{
    if (!place->frames || stack->live.bytes > *most_bytes) {
        place->frames = stack->frames;
        place->depth = stack->depth;
        place->is_truncated = stack->is_truncated;
        place->is_mmap = stack->is_mmap;
        *most_bytes = stack->live.bytes;
    }
    add_amount(&place->allocated, &stack->allocated);
    add_amount(&place->live, &stack->live);
    place->live_bytes_error = hypot(place->live_bytes_error, stack->live_bytes_error);
    for (unsigned i = 0; i < MW_SEGMENT_HISTORY; i++)
        place->history_bytes[i] += stack->history_bytes[i];
}

struct mw_places mw_places_make(const struct mw_profile *profile, struct mw_namer namer)
{
    struct mw_places places = {.profile = *profile};
    struct mw_interned keys = {0};
    size_t *place_of = mw_memory_new(profile->stack_count, sizeof *place_of);
    uint64_t *most_bytes = mw_memory_new(profile->stack_count, sizeof *most_bytes);
    places.profile.stacks = mw_memory_new(profile->stack_count, sizeof *places.profile.stacks);
    places.profile.samples = mw_memory_new(profile->sample_count, sizeof *places.profile.samples);
    places.stacks = mw_memory_new(profile->stack_count, sizeof *places.stacks);
    for (size_t i = 0; i < profile->stack_count; i++) {
        char buffer[MW_HOLDERS_KEY_BYTES];
        struct mw_text key = MW_TEXT(buffer);
        mw_text_char(&key, profile->stacks[i].is_mmap ? 'm' : 'h');
        mw_holders_key(mw_walk_user(profile, i, namer), MW_HOLDERS_BY_CALL, &key);
        place_of[i] = mw_interned_add(&keys, buffer);
        add_stack(&places.profile.stacks[place_of[i]], &profile->stacks[i], &most_bytes[place_of[i]]);
        places.stacks[place_of[i]]++;
    }
    for (size_t i = 0; i < profile->sample_count; i++) {
        places.profile.samples[i] = profile->samples[i];
        places.profile.samples[i].stack = (unsigned)place_of[profile->samples[i].stack];
    }
    places.profile.stack_count = keys.count;
    mw_interned_free(&keys);
    free(place_of);
    free(most_bytes);
    return places;
}

void mw_places_free(struct mw_places *places)
{
    free(places->profile.stacks);
    free(places->profile.samples);
    free(places->stacks);
    *places = (struct mw_places){0};
}
