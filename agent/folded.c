/* SPDX-License-Identifier: MIT */
#include "folded.h"

#include <math.h>
#include <stdio.h>

#include "memory.h"

#define MMAP_FRAME "[mmap]" /* as the innermost */

static void put_name(FILE *line, const char *name)
{
    for (; *name; name++)
        putc_unlocked(*name == ';' ? ',' : *name, line);
}

static void add_amount(struct mw_profile_amount *to, const struct mw_profile_amount *amount)
{
    to->objects += amount->objects;
    to->bytes += amount->bytes;
    to->samples += amount->samples;
}

void mw_folded_add(struct mw_folded *folded, const char *stack, const struct mw_folded_row *row)
{
    size_t had = folded->stacks.count;
    size_t index = mw_interned_add(&folded->stacks, stack);
    if (index == had) {
        if ((had & (had - 1)) == 0)
            folded->rows = mw_memory_resize(folded->rows, had ? 2 * had : 1, sizeof *folded->rows);
        folded->rows[index] = (struct mw_folded_row){0};
    }
    add_amount(&folded->rows[index].allocated, &row->allocated);
    add_amount(&folded->rows[index].live, &row->live);
    folded->rows[index].live_bytes_error = hypot(folded->rows[index].live_bytes_error, row->live_bytes_error);
}

/* Frames come from the inside out, names go from the outside in. */
static char *line_of(struct mw_walk walk)
{
    struct mw_step step;
    const char **names = NULL;
    size_t count = 0;
    char *text;
    size_t length;
    FILE *line = open_memstream(&text, &length);
    if (!line)
        abort();
    while (mw_walk_next(&walk, &step)) {
        if ((count & (count - 1)) == 0)
            names = mw_memory_resize(names, count ? 2 * count : 1, sizeof *names);
        names[count++] = step.frame->function;
    }
    for (size_t i = count; i-- > 0;) {
        put_name(line, names[i]);
        if (i)
            putc_unlocked(';', line);
    }
    if (walk.stack->is_mmap)
        fprintf(line, "%s" MMAP_FRAME, count ? ";" : "");
    fclose(line);
    free(names);
    return text;
}

void mw_folded_add_profile(struct mw_folded *folded, const struct mw_profile *profile, struct mw_namer namer,
                           bool without_plumbing)
{
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct mw_profile_stack *stack = &profile->stacks[i];
        char *line = line_of((without_plumbing ? mw_walk_user : mw_walk_all)(profile, i, namer));
        mw_folded_add(folded, line,
                      &(struct mw_folded_row){.allocated = stack->allocated,
                                              .live = stack->live,
                                              .live_bytes_error = stack->live_bytes_error});
        free(line);
    }
}

void mw_folded_free(struct mw_folded *folded)
{
    mw_interned_free(&folded->stacks);
    free(folded->rows);
    *folded = (struct mw_folded){0};
}
