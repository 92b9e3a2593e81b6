/* SPDX-License-Identifier: MIT */
#include "holders.h"

#include <math.h>
#include <string.h>

#include "counters.h"
#include "interned.h"
#include "memory.h"

#define NO_MODULE "[unknown]"

static void add_amount(struct mw_profile_amount *to, const struct mw_profile_amount *amount)
{
    to->objects += amount->objects;
    to->bytes += amount->bytes;
    to->samples += amount->samples;
}

/* Errors are added as squares: the samples of different stacks are independent. */
static void add_stack(struct mw_holder *to, const struct mw_profile *profile, size_t stack)
{
    const struct mw_profile_stack *from = &profile->stacks[stack];
    if (!to->live.bytes || from->live.bytes > profile->stacks[to->stack].live.bytes)
        to->stack = stack;
    add_amount(&to->live, &from->live);
    add_amount(&to->allocated, &from->allocated);
    to->live_bytes_error = hypot(to->live_bytes_error, from->live_bytes_error);
}

const char *mw_holders_key(struct mw_walk walk, enum mw_holders_by by, struct mw_text *key)
{
    struct mw_step step;
    if (!mw_walk_next(&walk, &step)) {
        mw_text_string(key, NO_MODULE);
        return NO_MODULE;
    }
    const char *module = step.module ? step.module : NO_MODULE;
    mw_text_string(key, by == MW_HOLDERS_BY_MODULE ? module : step.frame->function);
    if (by == MW_HOLDERS_BY_CALL) {
        const char *name = step.frame->function;
        mw_text_char(key, ':');
        mw_text_u64(key, step.frame->line);
        if (mw_walk_next(&walk, &step)) {
            mw_text_char(key, '<');
            mw_text_string(key, step.frame->function);
            mw_text_char(key, ':');
            mw_text_u64(key, step.frame->line);
        }
        return name;
    }
    return by == MW_HOLDERS_BY_MODULE ? module : step.frame->function;
}

static void rank_stacks(struct mw_holders *holders, const struct mw_profile *profile)
{
    holders->items = mw_memory_new(profile->stack_count, sizeof *holders->items);
    for (size_t i = 0; i < profile->stack_count; i++) {
        struct mw_holder *holder = &holders->items[holders->count++];
        holder->name = "";
        add_stack(holder, profile, i);
    }
}

static void rank_names(struct mw_holders *holders, const struct mw_profile *profile, struct mw_namer namer,
                       enum mw_holders_by by)
{
    struct mw_interned names = {0};
    holders->items = mw_memory_new(profile->stack_count, sizeof *holders->items);
    for (size_t i = 0; i < profile->stack_count; i++) {
        char buffer[MW_HOLDERS_KEY_BYTES];
        struct mw_text key = MW_TEXT(buffer);
        const char *name = mw_holders_key(mw_walk_user(profile, i, namer), by, &key);
        struct mw_holder *holder = &holders->items[mw_interned_add(&names, buffer)];
        if (!holder->name)
            holder->name = name;
        add_stack(holder, profile, i);
    }
    holders->count = names.count;
    mw_interned_free(&names);
}

static uint64_t whole(double value)
{
    return value < 0x1p63 ? (uint64_t)(value + 0.5) : UINT64_MAX / 2;
}

static void rank_sizes(struct mw_holders *holders, const struct mw_profile *profile)
{
    double objects[MEMWATCH_SIZE_CLASSES] = {0};
    double bytes[MEMWATCH_SIZE_CLASSES] = {0};
    double variance[MEMWATCH_SIZE_CLASSES] = {0};
    holders->items = mw_memory_new(MEMWATCH_SIZE_CLASSES, sizeof *holders->items);
    holders->count = MEMWATCH_SIZE_CLASSES;
    for (size_t i = 0; i < profile->sample_count; i++) {
        const struct mw_profile_sample *sample = &profile->samples[i];
        unsigned class = mw_size_class(sample->bytes);
        double size = (double)sample->bytes;
        objects[class] += sample->objects;
        bytes[class] += sample->objects * size;
        variance[class] += sample->objects > 1 ? size * size * sample->objects * (sample->objects - 1) : 0;
        holders->items[class].live.samples++;
    }
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        struct mw_holder *holder = &holders->items[i];
        holder->name = "";
        holder->size_bytes = mw_size_class_bytes(i);
        holder->live.objects = whole(objects[i]);
        holder->live.bytes = whole(bytes[i]);
        holder->live_bytes_error = sqrt(variance[i]);
    }
}

static int compare(const void *left, const void *right)
{
    const struct mw_holder *a = left;
    const struct mw_holder *b = right;
    if (a->live.bytes != b->live.bytes)
        return a->live.bytes > b->live.bytes ? -1 : 1;
    if (a->size_bytes != b->size_bytes)
        return a->size_bytes < b->size_bytes ? -1 : 1;
    return a->stack < b->stack ? -1 : a->stack > b->stack;
}

struct mw_holders mw_holders_rank(const struct mw_profile *profile, struct mw_namer namer, enum mw_holders_by by)
{
    struct mw_holders holders = {0};
    switch (by) {
    case MW_HOLDERS_BY_STACK:
        rank_stacks(&holders, profile);
        break;
    case MW_HOLDERS_BY_CALL:
    case MW_HOLDERS_BY_FUNCTION:
    case MW_HOLDERS_BY_MODULE:
        rank_names(&holders, profile, namer, by);
        break;
    case MW_HOLDERS_BY_SIZE:
        rank_sizes(&holders, profile);
        break;
    }
    qsort(holders.items, holders.count, sizeof *holders.items, compare);
    for (size_t i = 0; i < holders.count; i++) {
        add_amount(&holders.live, &holders.items[i].live);
        holders.live_bytes_error = hypot(holders.live_bytes_error, holders.items[i].live_bytes_error);
    }
    while (holders.count && !holders.items[holders.count - 1].live.bytes)
        holders.count--;
    return holders;
}

void mw_holders_free(struct mw_holders *holders)
{
    free(holders->items);
    *holders = (struct mw_holders){0};
}
