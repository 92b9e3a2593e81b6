/* SPDX-License-Identifier: MIT
 *
 * glibc's malloc (malloc/malloc.c, and malloc_trim(3), mallinfo(3), mallopt(3)).
 */
#include <errno.h>
#include <malloc.h>

#include "allocators.h"

enum { MALLOC_TRIM, MALLINFO2, MALLOPT };

/* Goes through every arena, whosever it is; what lies in threads' caches stays. */
static int purge(const struct mw_allocator *allocator)
{
    ((int (*)(size_t))allocator->functions[MALLOC_TRIM])(0);
    return 0;
}

/* arena: what the arenas hold; hblkhd: blocks that are mappings of their own; uordblks and fordblks: handed out, and
 * free, in the arenas. Blocks in threads' caches count as handed out. glibc does not know what it has given back from
 * the midst of an arena, so Released and Resident are not told. */
static bool figures(const struct mw_allocator *allocator, struct memwatch_allocator *out)
{
    if (!allocator->functions[MALLINFO2]) /* before 2.33 there are figures of 32 bits only */
        return false;
    struct mallinfo2 info = ((struct mallinfo2(*)(void))allocator->functions[MALLINFO2])();
    out->Sys = info.arena + info.hblkhd;
    out->Inuse = info.uordblks + info.hblkhd;
    out->Idle = info.fordblks;
    return true;
}

static int cap_arenas(const struct mw_allocator *allocator, unsigned arenas)
{
    if (!allocator->functions[MALLOPT])
        return -ENOTSUP;
    return ((int (*)(int, int))allocator->functions[MALLOPT])(M_ARENA_MAX, (int)arenas) == 1 ? 0 : -EINVAL;
}

const struct mw_allocator_kind mw_allocator_glibc = {
    .name = "glibc",
    .symbols = {[MALLOC_TRIM] = "malloc_trim", [MALLINFO2] = "mallinfo2", [MALLOPT] = "mallopt"},
    .beside = MW_BESIDE_NEVER,
    .purge = purge,
    .figures = figures,
    .cap_arenas = cap_arenas,
};
