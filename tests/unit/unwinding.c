/* SPDX-License-Identifier: MIT */
#include "unwinding.h"

#include "real.h"
#include "store.h"
#include "threads.h"
#include "unwind_rules.h"

/* What the unwinder needs of its neighbours. */
struct mw_counters mw_threads_nobody;
__thread struct mw_thread mw_thread = {.counters = &mw_threads_nobody};

void mw_real_forget_error(void)
{
}

void unwinding_start(void)
{
    mw_unwind_start(MW_UNWIND_AUTO);
}

void unwinding_forget(void)
{
    mw_unwind_forget();
}

uint64_t unwinding_both(struct mw_unwind_memory *memory, struct unwound *whole, struct unwound *again)
{
    whole->depth = mw_unwind(whole->frames, MW_UNWIND_DEPTH, &whole->is_truncated);
    uint64_t key = mw_unwind_again(memory);
    again->depth = mw_unwind_remembered(memory, again->frames, &again->is_truncated);
    return key;
}
