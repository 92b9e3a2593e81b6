/* SPDX-License-Identifier: MIT
 *
 * The older format of heap profiles, a text, of which pprof reads all that is not behind a #.
 */
#include <inttypes.h>

#include "pprof.h"

/* "live objects: live bytes [allocated objects: allocated bytes]" */
static void print_amounts(const struct mw_profile_amount *live, const struct mw_profile_amount *allocated, FILE *out)
{
    fprintf(out, "%" PRIu64 ": %" PRIu64 " [%" PRIu64 ": %" PRIu64 "] @", live->objects, live->bytes,
            allocated->objects, allocated->bytes);
}

static void print_names(const struct mw_profile_stack *stack, struct mw_symbols *symbols, FILE *out)
{
    for (unsigned i = 0; i < stack->depth; i++) {
        const struct mw_symbol *symbol = mw_symbols_find(symbols, stack->frames[i]);
        for (unsigned k = 0; k < symbol->count; k++) {
            const struct mw_frame *frame = &symbol->frames[k];
            fprintf(out, "#\t0x%" PRIx64 "\t%s\t%s:%u\n", stack->frames[i], frame->function,
                    frame->file ? frame->file : "", frame->line);
        }
    }
    putc('\n', out);
}

void mw_pprof_print(const struct mw_profile *profile, struct mw_symbols *symbols, FILE *out)
{
    struct mw_profile_amount live = {0};
    struct mw_profile_amount allocated = {0};
    for (size_t i = 0; i < profile->stack_count; i++) {
        live.objects += profile->stacks[i].live.objects;
        live.bytes += profile->stacks[i].live.bytes;
        allocated.objects += profile->stacks[i].allocated.objects;
        allocated.bytes += profile->stacks[i].allocated.bytes;
    }
    fputs("heap profile: ", out);
    print_amounts(&live, &allocated, out);
    fputs(" heapprofile\n", out); /* by which pprof knows that the values are scaled up already */
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct mw_profile_stack *stack = &profile->stacks[i];
        print_amounts(&stack->live, &stack->allocated, out);
        for (unsigned k = 0; k < stack->depth; k++)
            fprintf(out, " 0x%" PRIx64, stack->frames[k]);
        putc('\n', out);
        print_names(stack, symbols, out);
    }
}
