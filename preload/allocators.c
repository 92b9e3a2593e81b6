/* SPDX-License-Identifier: MIT */
#include "allocators.h"

#include <errno.h>
#include <string.h>

#define GLIBC_ARENAS_PER_CPU 8 /* where pointers have 64 bits (malloc/arena.c, NARENAS_FROM_NCORES) */

/* glibc comes last: others have a malloc_trim, too (Google's tcmalloc), for programs that call it. */
static const struct mw_allocator_kind *const kinds[] = {
    &mw_allocator_jemalloc, &mw_allocator_jemalloc_prefixed, &mw_allocator_jemalloc_of_rust, &mw_allocator_tcmalloc,
    &mw_allocator_google,   &mw_allocator_google_cxx,        &mw_allocator_mimalloc,         &mw_allocator_glibc,
};

static mw_allocator_function look_up(mw_allocator_lookup *lookup, const char *name)
{
    mw_allocator_function function = NULL;
    void *found = name ? lookup(name) : NULL;
    if (found)
        memcpy(&function, &found, sizeof function); /* ISO C has no cast from object to function */
    return function;
}

static bool find(struct mw_allocator *out, const struct mw_allocator_kind *kind, mw_allocator_lookup *lookup)
{
    struct mw_allocator found = {.kind = kind, .functions = {look_up(lookup, kind->symbols[0])}};
    if (!found.functions[0])
        return false;
    for (unsigned i = 1; i < MW_ALLOCATOR_SYMBOLS; i++)
        found.functions[i] = look_up(lookup, kind->symbols[i]);
    *out = found;
    return true;
}

void mw_allocators_find(struct mw_allocators *out, mw_allocator_lookup *beneath, mw_allocator_lookup *beside)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0] && !out->beneath.kind; i++)
        find(&out->beneath, kinds[i], beneath);
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0] && !out->beside.kind; i++)
        if (kinds[i]->beside != MW_BESIDE_NEVER)
            find(&out->beside, kinds[i], beside);
}

unsigned mw_allocators_choose(const struct mw_allocators *allocators, bool passes,
                              const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE])
{
    const struct mw_allocator_kind *beside = allocators->beside.kind;
    unsigned count = 0;
    for (unsigned i = 0; i < MW_ALLOCATORS_AT_ONCE; i++)
        chosen[i] = NULL;
    if (passes && allocators->beneath.kind)
        chosen[count++] = &allocators->beneath;
    if (beside && (!passes || beside->beside == MW_BESIDE_TOO))
        chosen[count++] = &allocators->beside;
    return count;
}

int mw_allocator_purge(const struct mw_allocator *allocator)
{
    return allocator->kind ? allocator->kind->purge(allocator) : -ENOTSUP;
}

bool mw_allocator_read(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
#define UNKNOWN(Name, help) .Name = MW_ALLOCATOR_UNKNOWN,
    *out = (struct memwatch_allocator){MEMWATCH_ALLOCATOR_FIGURES(UNKNOWN)};
#undef UNKNOWN
    if (!allocator->kind)
        return false;
    strncpy(out->Name, allocator->kind->name, sizeof out->Name - 1);
    return allocator->kind->figures && allocator->kind->figures(allocator, out);
}

int mw_allocator_cap_arenas(const struct mw_allocator *allocator, unsigned arenas)
{
    return allocator->kind && allocator->kind->cap_arenas ? allocator->kind->cap_arenas(allocator, arenas) : -ENOTSUP;
}

unsigned mw_allocator_arenas_for(uint64_t quota_us, uint64_t period_us, unsigned online_cpus)
{
    uint64_t cpus = online_cpus ? online_cpus : 1;
    if (quota_us && period_us) {
        uint64_t by_quota = quota_us / period_us + (quota_us % period_us != 0);
        cpus = by_quota < cpus ? by_quota : cpus;
    }
    return GLIBC_ARENAS_PER_CPU * (unsigned)cpus;
}
