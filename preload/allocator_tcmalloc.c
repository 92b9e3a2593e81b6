/* SPDX-License-Identifier: MIT
 *
 * The two tcmallocs: that of gperftools, which distributions ship (gperftools/malloc_extension_c.h), and Google's own,
 * which is linked into programs (tcmalloc/malloc_extension.h).
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "allocators.h"

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void fill_in(struct memwatch_allocator *out, uint64_t sys, uint64_t released, uint64_t inuse)
{
    out->Sys = sys;
    out->Inuse = inuse;
    out->Idle = less(sys, inuse);
    out->Released = released;
    out->Resident = less(sys, released);
}

/* ---- gperftools' ---- */

enum { RELEASE, PROPERTY, IDLE };

/* First the calling thread's cache goes to the page heap, then the page heap's free spans to the kernel. Other threads'
 * caches stay (32 MiB together at most, by TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES). */
static int purge(const struct mw_allocator *allocator)
{
    if (allocator->functions[IDLE])
        allocator->functions[IDLE]();
    allocator->functions[RELEASE]();
    return 0;
}

static bool property(const struct mw_allocator *allocator, const char *name, uint64_t *out)
{
    size_t value;
    bool told = ((int (*)(const char *, size_t *))allocator->functions[PROPERTY])(name, &value);
    if (told)
        *out = value;
    return told;
}

/* generic.heap_size: what the page heap has from the kernel, what it has given back included (in 2.10; its own records
 * are not part of it); tcmalloc.pageheap_unmapped_bytes: what it has given back;
 * generic.current_allocated_bytes: the page heap less all free lists and caches. */
static bool figures(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
    uint64_t sys;
    uint64_t released;
    uint64_t inuse;
    if (!allocator->functions[PROPERTY] || !property(allocator, "generic.heap_size", &sys) ||
        !property(allocator, "tcmalloc.pageheap_unmapped_bytes", &released) ||
        !property(allocator, "generic.current_allocated_bytes", &inuse))
        return false;
    fill_in(out, sys, released, inuse);
    return true;
}

const struct mw_allocator_kind mw_allocator_tcmalloc = {
    .name = "tcmalloc",
    .symbols = {[RELEASE] = "MallocExtension_ReleaseFreeMemory",
                [PROPERTY] = "MallocExtension_GetNumericProperty",
                [IDLE] = "MallocExtension_MarkThreadTemporarilyIdle"},
    .beside = MW_BESIDE_INSTEAD,
    .purge = purge,
    .figures = figures,
};

/* ---- Google's ----
 *
 * Not tried: no distribution ships it. This rests on its sources of 2026-08 (tcmalloc/internal_malloc_extension.h and
 * global_stats.cc). The functions with "Internal" in their name are extern "C", and are what the C++ ones call. Of
 * those only the one that takes a number can be called from here: the others take a string_view and return an optional,
 * whose layouts are the C++ library's. Free pages come back; what lies in the caches of CPUs and threads stays. */

static int purge_google(const struct mw_allocator *allocator)
{
    ((size_t(*)(size_t))allocator->functions[RELEASE])(SIZE_MAX / 2); /* all there is, and nothing to overflow */
    return 0;
}

static bool property_google(const struct mw_allocator *allocator, const char *name, uint64_t *out)
{
    size_t value;
    bool told = ((bool (*)(const char *, size_t, size_t *))allocator->functions[PROPERTY])(name, strlen(name), &value);
    if (told)
        *out = value;
    return told;
}

/* generic.virtual_memory_used: with its own records; generic.physical_memory_used: the same less what it has given
 * back; generic.current_allocated_bytes as above. */
static bool figures_google(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
    uint64_t sys;
    uint64_t resident;
    uint64_t inuse;
    if (!allocator->functions[PROPERTY] || !property_google(allocator, "generic.virtual_memory_used", &sys) ||
        !property_google(allocator, "generic.physical_memory_used", &resident) ||
        !property_google(allocator, "generic.current_allocated_bytes", &inuse))
        return false;
    fill_in(out, sys, less(sys, resident), inuse);
    return true;
}

const struct mw_allocator_kind mw_allocator_google = {
    .name = "tcmalloc",
    .symbols = {[RELEASE] = "MallocExtension_Internal_ReleaseMemoryToSystem",
                [PROPERTY] = "MallocExtension_Internal_GetNumericProperty"},
    .beside = MW_BESIDE_INSTEAD,
    .purge = purge_google,
    .figures = figures_google,
};

/* Where only the C++ interface is exported: tcmalloc::MallocExtension::ReleaseMemoryToSystem(unsigned long), a static
 * member. What it returns, if anything, is not looked at. */
const struct mw_allocator_kind mw_allocator_google_cxx = {
    .name = "tcmalloc",
    .symbols = {[RELEASE] = "_ZN8tcmalloc15MallocExtension21ReleaseMemoryToSystemEm"},
    .beside = MW_BESIDE_INSTEAD,
    .purge = purge_google,
};
