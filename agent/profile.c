/* SPDX-License-Identifier: MIT */
#include "profile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KIB         1024
#define KNOWN_FLAGS (MW_SEGMENT_STACK_MMAP | MW_SEGMENT_STACK_TRUNCATED)

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t whole_objects(uint64_t parts)
{
    return parts / MW_SEGMENT_OBJECT + (parts % MW_SEGMENT_OBJECT >= MW_SEGMENT_OBJECT / 2);
}

/* ---- stacks ---- */

/* Sorts places in view->stacks so that equal stacks stand beside each other. */
static int compare_stacks(const void *left, const void *right, void *view)
{
    const struct mw_segment_view *in = view;
    const struct mw_segment_stack *a = mw_segment_view_stack(in, in->stacks[*(const uint32_t *)left]);
    const struct mw_segment_stack *b = mw_segment_view_stack(in, in->stacks[*(const uint32_t *)right]);
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    if ((a->flags ^ b->flags) & KNOWN_FLAGS)
        return (a->flags & KNOWN_FLAGS) < (b->flags & KNOWN_FLAGS) ? -1 : 1;
    return memcmp(a->frames, b->frames, a->depth * sizeof a->frames[0]);
}

/* One stack's figures in the segment's units. */
struct figures {
    uint64_t allocated_objects;
    uint64_t allocated_bytes;
    uint64_t allocated_samples;
    uint64_t freed_objects;
    uint64_t freed_bytes;
    uint64_t freed_samples;
    uint64_t history_kib[MW_SEGMENT_HISTORY];
};

static void add_figures(struct figures *sum, const struct mw_segment_stack *stack)
{
    sum->allocated_objects += stack->allocated_objects;
    sum->allocated_bytes += stack->allocated_bytes;
    sum->allocated_samples += stack->allocated_samples;
    sum->freed_objects += stack->freed_objects;
    sum->freed_bytes += stack->freed_bytes;
    sum->freed_samples += stack->freed_samples;
    for (unsigned i = 0; i < MW_SEGMENT_HISTORY; i++)
        sum->history_kib[i] += stack->history_kib[i];
}

static void put_figures(struct mw_profile_stack *stack, const struct figures *sum, unsigned history_used)
{
    stack->allocated = (struct mw_profile_amount){
        .objects = whole_objects(sum->allocated_objects),
        .bytes = sum->allocated_bytes,
        .samples = sum->allocated_samples,
    };
    stack->live = (struct mw_profile_amount){
        .objects = whole_objects(less(sum->allocated_objects, sum->freed_objects)),
        .bytes = less(sum->allocated_bytes, sum->freed_bytes),
        .samples = less(sum->allocated_samples, sum->freed_samples),
    };
    for (unsigned i = 0; i < history_used; i++)
        stack->history_bytes[i] = sum->history_kib[i] * KIB;
}

/* Fills profile->stacks, with frames behind `frames`, and merged[i]: where view->stacks[i] has gone. */
static void load_stacks(const struct mw_segment_view *view, struct mw_profile *profile, uint64_t *frames,
                        uint32_t *order, uint32_t *merged)
{
    for (uint32_t i = 0; i < view->stack_count; i++)
        order[i] = i;
    qsort_r(order, view->stack_count, sizeof *order, compare_stacks, (void *)view);
    for (size_t i = 0; i < view->stack_count;) {
        const struct mw_segment_stack *first = mw_segment_view_stack(view, view->stacks[order[i]]);
        struct mw_profile_stack *stack = &profile->stacks[profile->stack_count];
        struct figures sum = {0};
        size_t from = i;
        for (; i < view->stack_count && compare_stacks(&order[i], &order[from], (void *)view) == 0; i++) {
            add_figures(&sum, mw_segment_view_stack(view, view->stacks[order[i]]));
            merged[order[i]] = (uint32_t)profile->stack_count;
        }
        memcpy(frames, first->frames, first->depth * sizeof *frames);
        *stack = (struct mw_profile_stack){
            .frames = frames,
            .depth = first->depth,
            .is_mmap = first->flags & MW_SEGMENT_STACK_MMAP,
            .is_truncated = first->flags & MW_SEGMENT_STACK_TRUNCATED,
        };
        put_figures(stack, &sum, profile->history_used);
        frames += first->depth;
        profile->stack_count++;
    }
}

/* ---- samples ---- */

/* What a live sample adds to the estimated variance of its stack's live bytes (Horvitz and Thompson): a block of s
 * bytes that is kept with probability p counts as s / p, and adds s^2 (1 - p) / p^2 where it is kept. In the w = 1 / p
 * objects that it stands for that is s^2 w (w - 1): nothing in exact mode, where w is 1. */
static double variance(const struct mw_profile_sample *sample)
{
    double bytes = (double)sample->bytes;
    return sample->objects > 1 ? bytes * bytes * sample->objects * (sample->objects - 1) : 0;
}

static void load_samples(const struct mw_segment_view *view, struct mw_profile *profile, const uint32_t *merged)
{
    for (size_t i = 0; i < view->sample_count; i++) {
        const struct mw_segment_sample *from = &view->samples[i];
        struct mw_profile_sample *to = &profile->samples[i];
        *to = (struct mw_profile_sample){
            .address = from->address,
            .bytes = from->bytes,
            .objects = (double)from->objects / (double)MW_SEGMENT_OBJECT,
            .born_ns = less(from->born_ns, view->header.started_ns),
            .stack = merged[mw_segment_view_find(view, from->stack)],
        };
        profile->stacks[to->stack].live_bytes_error += variance(to);
        if (to->born_ns > profile->age_ns)
            profile->age_ns = to->born_ns;
    }
    profile->sample_count = view->sample_count;
    for (size_t i = 0; i < profile->stack_count; i++)
        profile->stacks[i].live_bytes_error = sqrt(profile->stacks[i].live_bytes_error);
}

/* ---- modules ---- */

static void load_modules(const struct mw_segment_view *view, struct mw_profile *profile,
                         struct mw_segment_module *copies)
{
    memcpy(copies, view->modules, view->module_count * sizeof *copies);
    for (size_t i = 0; i < view->module_count; i++) {
        struct mw_profile_module module = {
            .start = copies[i].start,
            .end = copies[i].end,
            .bias = copies[i].bias,
            .path = copies[i].path,
            .build_id = copies[i].build_id,
            .build_id_bytes = copies[i].build_id_bytes,
        };
        profile->modules[i] = module;
        if (strcmp(module.path, view->header.program) == 0) {
            memmove(profile->modules + 1, profile->modules, i * sizeof module);
            profile->modules[0] = module;
        }
    }
    profile->module_count = view->module_count;
}

/* ---- all of it ---- */

static size_t frames_in(const struct mw_segment_view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->stack_count; i++)
        count += mw_segment_view_stack(view, view->stacks[i])->depth;
    return count;
}

/* calloc, but of nothing there is a pointer too. */
static void *allocate(size_t count, size_t item_bytes)
{
    return calloc(count ? count : 1, item_bytes);
}

static void load_header(const struct mw_segment_view *view, struct mw_profile *profile)
{
    const struct mw_segment_header *header = &view->header;
    profile->sample_mean_bytes = header->sample_mean_bytes;
    profile->started_unix_ns = header->started_unix_ns;
    profile->age_ns = less(view->moment_unix_ns, header->started_unix_ns);
    profile->dropped_samples = header->dropped_samples;
    profile->dropped_bytes = header->dropped_bytes;
    profile->dropped_stacks = header->dropped_stacks;
    profile->dropped_modules = header->dropped_modules;
    profile->dropped_threads = header->dropped_slots;
    profile->history_used = (unsigned)header->history_used;
    for (unsigned i = 0; i < profile->history_used; i++)
        profile->history_ns[i] = less(header->history_ns[i], header->started_ns);
}

bool mw_profile_load(const struct mw_segment_view *view, struct mw_profile *profile, struct mw_error *error)
{
    size_t module_bytes = view->module_count * sizeof(struct mw_segment_module);
    uint32_t *order = allocate(view->stack_count, sizeof *order);
    uint32_t *merged = allocate(view->stack_count, sizeof *merged);
    *profile = (struct mw_profile){
        .stacks = allocate(view->stack_count, sizeof *profile->stacks),
        .modules = allocate(view->module_count, sizeof *profile->modules),
        .samples = allocate(view->sample_count, sizeof *profile->samples),
        .memory = allocate(1, module_bytes + frames_in(view) * sizeof(uint64_t) + 1),
    };
    bool done = order && merged && profile->stacks && profile->modules && profile->samples && profile->memory;
    if (done) {
        load_header(view, profile);
        load_modules(view, profile, profile->memory);
        load_stacks(view, profile, (uint64_t *)(void *)((char *)profile->memory + module_bytes), order, merged);
        load_samples(view, profile, merged);
    } else {
        mw_profile_free(profile);
        mw_error_set(error, ENOMEM, "the profile cannot be taken out of the segment");
    }
    free(order);
    free(merged);
    return done;
}

void mw_profile_free(struct mw_profile *profile)
{
    free(profile->stacks);
    free(profile->modules);
    free(profile->samples);
    free(profile->memory);
    *profile = (struct mw_profile){0};
}
