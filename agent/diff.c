/* SPDX-License-Identifier: MIT */
#include "diff.h"

#include <math.h>

#include "memory.h"

static int compare(const void *left, const void *right)
{
    const struct mw_diff_row *a = left;
    const struct mw_diff_row *b = right;
    if (a->change_bytes != b->change_bytes)
        return a->change_bytes > b->change_bytes ? -1 : 1;
    return strcmp(a->stack, b->stack);
}

static void add(struct mw_diff *diff, const char *stack, const struct mw_folded_row *before,
                const struct mw_folded_row *after)
{
    struct mw_diff_row row = {.stack = stack,
                              .before = before->live,
                              .after = after->live,
                              .change_bytes = (double)after->live.bytes - (double)before->live.bytes,
                              .change_error = hypot(before->live_bytes_error, after->live_bytes_error)};
    if (row.change_bytes == 0)
        return;
    diff->change_bytes += row.change_bytes;
    diff->change_error = hypot(diff->change_error, row.change_error);
    diff->rows[diff->count++] = row;
}

struct mw_diff mw_diff_make(const struct mw_folded *before, const struct mw_folded *after)
{
    static const struct mw_folded_row nothing;
    struct mw_diff diff = {0};
    struct mw_interned stacks = {0}; /* numbers of `before` as they are */
    diff.rows = mw_memory_new(before->stacks.count + after->stacks.count, sizeof *diff.rows);
    bool *is_in_both = mw_memory_new(before->stacks.count, sizeof *is_in_both);
    for (size_t i = 0; i < before->stacks.count; i++)
        mw_interned_add(&stacks, before->stacks.strings[i]);
    for (size_t i = 0; i < after->stacks.count; i++) {
        const char *stack = after->stacks.strings[i];
        size_t number = mw_interned_add(&stacks, stack);
        bool was = number < before->stacks.count;
        if (was)
            is_in_both[number] = true;
        add(&diff, stack, was ? &before->rows[number] : &nothing, &after->rows[i]);
    }
    for (size_t i = 0; i < before->stacks.count; i++)
        if (!is_in_both[i])
            add(&diff, before->stacks.strings[i], &before->rows[i], &nothing);
    qsort(diff.rows, diff.count, sizeof *diff.rows, compare);
    free(is_in_both);
    mw_interned_free(&stacks);
    return diff;
}

void mw_diff_free(struct mw_diff *diff)
{
    free(diff->rows);
    *diff = (struct mw_diff){0};
}
