/* SPDX-License-Identifier: MIT
 *
 * mimalloc (mimalloc.h).
 */
#include <stddef.h>

#include "allocators.h"

enum { COLLECT, INFO };

/* Reaches the calling thread's heap, and what threads that have ended have left: another thread's heap is its own.
 * Whole segments that are free come back (32 MiB each in 2.0). For free pages within a segment 2.0 has a delay of its
 * own (MIMALLOC_DECOMMIT_DELAY, 25 ms) that a forced collection does not cut short: they go when further ones are
 * freed. */
static int purge(const struct mw_allocator *allocator)
{
    ((void (*)(bool))allocator->functions[COLLECT])(true);
    return 0;
}

/* On Linux mi_process_info knows no RSS: what it calls so is what is committed, the memory that mimalloc has made
 * accessible and has not given back. Threads that live keep their part of the account to themselves, so that it is near
 * the truth, no more. What is handed out it counts only in debug builds. */
static bool figures(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
    size_t committed = 0;
    if (!allocator->functions[INFO])
        return false;
    ((void (*)(size_t *, size_t *, size_t *, size_t *, size_t *, size_t *, size_t *,
               size_t *))allocator->functions[INFO])(NULL, NULL, NULL, NULL, NULL, &committed, NULL, NULL);
    out->Resident = committed;
    return true;
}

const struct mw_allocator_kind mw_allocator_mimalloc = {
    .name = "mimalloc",
    .symbols = {[COLLECT] = "mi_collect", [INFO] = "mi_process_info"},
    .beside = MW_BESIDE_TOO,
    .purge = purge,
    .figures = figures,
};
