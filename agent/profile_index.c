/* SPDX-License-Identifier: MIT */
#include "profile_index.h"

#include "memory.h"

static int compare(const void *left, const void *right)
{
    const struct mw_profile_stack *a = *(const struct mw_profile_stack *const *)left;
    const struct mw_profile_stack *b = *(const struct mw_profile_stack *const *)right;
    if (a->depth != b->depth)
        return a->depth < b->depth ? -1 : 1;
    if (a->is_mmap != b->is_mmap)
        return a->is_mmap ? 1 : -1;
    return memcmp(a->frames, b->frames, a->depth * sizeof *a->frames);
}

struct mw_profile_index mw_profile_index_make(const struct mw_profile *profile)
{
    struct mw_profile_index index = {.count = profile->stack_count};
    index.stacks = mw_memory_new(index.count, sizeof(struct mw_profile_stack *));
    for (size_t i = 0; i < index.count; i++)
        index.stacks[i] = &profile->stacks[i];
    qsort(index.stacks, index.count, sizeof(struct mw_profile_stack *), compare);
    return index;
}

void mw_profile_index_free(struct mw_profile_index *index)
{
    free(index->stacks);
    *index = (struct mw_profile_index){0};
}

const struct mw_profile_stack *mw_profile_index_find(const struct mw_profile_index *index,
                                                     const struct mw_profile_stack *stack)
{
    const struct mw_profile_stack *const *found =
        index->count ? bsearch(&stack, index->stacks, index->count, sizeof(struct mw_profile_stack *), compare) : NULL;
    return found ? *found : NULL;
}
