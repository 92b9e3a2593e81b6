/* SPDX-License-Identifier: MIT
 *
 * jemalloc, from 5.0 on (jemalloc(3), "MALLCTL NAMESPACE").
 */
#include <errno.h>
#include <stddef.h>

#include "allocators.h"

typedef int mallctl_function(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

static mallctl_function *mallctl_of(const struct mw_allocator *allocator)
{
    return (mallctl_function *)allocator->functions[0];
}

/* 4096 is MALLCTL_ARENAS_ALL. Free pages of all arenas come back, also such as are to wait (dirty_decay_ms); what lies
 * in other threads' caches stays. An older jemalloc has no such name. */
static int purge(const struct mw_allocator *allocator)
{
    mallctl_function *mallctl = mallctl_of(allocator);
    mallctl("thread.tcache.flush", NULL, NULL, NULL, 0); /* fails where the thread has none */
    int error = mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
    return error == ENOENT ? -ENOTSUP : -error;
}

static bool read_statistic(mallctl_function *mallctl, const char *name, uint64_t *out)
{
    size_t value;
    size_t bytes = sizeof value;
    if (mallctl(name, &value, &bytes, NULL, 0) || bytes != sizeof value)
        return false;
    *out = value;
    return true;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* stats.allocated: what is handed out; stats.resident: pages with memory behind them, free ones and jemalloc's own too,
 * at most; stats.mapped: address space but for stats.retained, which is kept without memory behind it. (The manual has
 * stats.mapped as that of active extents; 5.3 counts free ones in as well, and the sum of the two stays the same over a
 * purge.) */
static bool figures(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
    mallctl_function *mallctl = mallctl_of(allocator);
    uint64_t epoch = 1; /* any value: the statistics are those of the last time it was written */
    uint64_t allocated;
    uint64_t resident;
    uint64_t mapped;
    uint64_t retained;
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) || !read_statistic(mallctl, "stats.allocated", &allocated) ||
        !read_statistic(mallctl, "stats.resident", &resident) || !read_statistic(mallctl, "stats.mapped", &mapped) ||
        !read_statistic(mallctl, "stats.retained", &retained))
        return false; /* it was built without statistics */
    out->Sys = mapped + retained;
    out->Inuse = allocated;
    out->Idle = less(mapped + retained, allocated);
    out->Released = less(mapped + retained, resident);
    out->Resident = resident;
    return true;
}

const struct mw_allocator_kind mw_allocator_jemalloc = {
    .name = "jemalloc",
    .symbols = {"mallctl"},
    .beside = MW_BESIDE_INSTEAD,
    .purge = purge,
    .figures = figures,
};

const struct mw_allocator_kind mw_allocator_jemalloc_prefixed = {
    .name = "jemalloc",
    .symbols = {"je_mallctl"},
    .beside = MW_BESIDE_TOO,
    .purge = purge,
    .figures = figures,
};

/* The prefix that the crate tikv-jemalloc-sys gives it. */
const struct mw_allocator_kind mw_allocator_jemalloc_of_rust = {
    .name = "jemalloc",
    .symbols = {"_rjem_mallctl"},
    .beside = MW_BESIDE_TOO,
    .purge = purge,
    .figures = figures,
};
