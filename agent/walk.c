/* SPDX-License-Identifier: MIT */
#include "walk.h"

#include <limits.h>
#include <string.h>

/* By the beginning of the file's name. */
static const char *const plumbing_modules[] = {
    "libmemwatch.so", "libc.so.",     "libc-2.",    "ld-linux",      "ld-2.",       "libc.musl",   "ld-musl",
    "libstdc++.so.",  "libgcc_s.so.", "libc++.so.", "libc++abi.so.", "libjemalloc", "libtcmalloc", "libmimalloc",
};

/* By the whole of the function's name. */
static const char *const plumbing_functions[] = {
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "aligned_alloc",
    "memalign",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "strdup",
    "strndup",
    "operator new",
    "operator new[]",
    "g_malloc",
    "g_malloc0",
    "g_malloc_n",
    "g_malloc0_n",
    "g_realloc",
    "g_realloc_n",
    "g_try_malloc",
    "g_try_realloc",
    "g_slice_alloc",
    "g_slice_alloc0",
    "g_strdup",
    "g_memdup2",
    "mmap",
    "mmap64",
    "_start",
    "start_thread",
    "__libc_start_main",
    "clone",
    "clone3",
    "mremap",
    /* allocators of well-known programs, which lead to malloc or mmap */
    "sqlite3MemMalloc",
    "sqlite3Malloc",
    "sqlite3_malloc64",
    "sqlite3DbMallocRaw",
    "sqlite3DbMallocRawNN",
    "sqlite3DbRealloc",
    "sqlite3MemRealloc",
    "sqlite3Realloc",
    "mallocWithAlarm",
    "zmalloc",
    "zcalloc",
    "zrealloc",
    "ztrymalloc_usable_internal",
    "ztrymalloc_usable",
    "zmalloc_usable",
    "ztryrealloc_usable",
    "_PyMem_RawMalloc",
    "PyMem_RawMalloc",
    "PyMem_Malloc",
    "PyMem_Realloc",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "_PyObject_Malloc",
    "_PyObject_Calloc",
    "_PyObject_Realloc",
    "pymalloc_alloc",
    "_PyObject_ArenaMmap",
    "new_arena",
    "allocate_from_new_pool",
    "arena_map_get",
    "arena_map_mark_used",
    "pymalloc_realloc",
    "xmalloc",
    "xcalloc",
    "xrealloc",
};

/* By its beginning. */
static const char *const plumbing_prefixes[] = {
    "std::",  "__gnu_cxx::", "__rust_", "__rdl_",      "__rg_",        "alloc::",
    "core::", "<alloc::",    "<core::", "hashbrown::", "<hashbrown::",
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_plumbing(const struct mw_step *step)
{
    const char *module = step->module ? mw_symbols_base_name(step->module) : "";
    for (size_t i = 0; i < COUNT(plumbing_modules); i++)
        if (begins_with(module, plumbing_modules[i]))
            return true;
    for (size_t i = 0; i < COUNT(plumbing_functions); i++)
        if (strcmp(step->frame->function, plumbing_functions[i]) == 0)
            return true;
    for (size_t i = 0; i < COUNT(plumbing_prefixes); i++)
        if (begins_with(step->frame->function, plumbing_prefixes[i]))
            return true;
    return false;
}

static const struct mw_symbol *find_in_symbols(void *context, uint64_t return_address)
{
    return mw_symbols_find(context, return_address);
}

struct mw_namer mw_namer_of(struct mw_symbols *symbols)
{
    return (struct mw_namer){find_in_symbols, symbols};
}

struct mw_walk mw_walk_all(const struct mw_profile *profile, size_t stack, struct mw_namer namer)
{
    return (struct mw_walk){.profile = profile, .stack = &profile->stacks[stack], .namer = namer, .left = UINT_MAX};
}

struct mw_walk mw_walk_user(const struct mw_profile *profile, size_t stack, struct mw_namer namer)
{
    struct mw_walk all = mw_walk_all(profile, stack, namer);
    struct mw_walk user = all;
    struct mw_walk here = all;
    struct mw_step step;
    unsigned frames = 0; /* since the first of the user's */
    bool found = false;
    for (struct mw_walk next = all; mw_walk_next(&next, &step); here = next) {
        bool is_user = !is_plumbing(&step);
        if (is_user && !found)
            user = here;
        found = found || is_user;
        frames += found;
        if (is_user)
            user.left = frames;
    }
    return found ? user : all;
}

bool mw_walk_next(struct mw_walk *walk, struct mw_step *step)
{
    if (walk->depth >= walk->stack->depth || !walk->left)
        return false;
    walk->left--;
    step->symbol = walk->namer.find(walk->namer.context, walk->stack->frames[walk->depth]);
    step->frame = &step->symbol->frames[walk->inlined];
    step->module =
        step->symbol->module < walk->profile->module_count ? walk->profile->modules[step->symbol->module].path : NULL;
    if (++walk->inlined == step->symbol->count) {
        walk->inlined = 0;
        walk->depth++;
    }
    return true;
}
