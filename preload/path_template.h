/* SPDX-License-Identifier: MIT
 *
 * The functions of a path (path.h). To be included once by a file that has defined
 *
 *   static inline uint64_t weigh(const void *block)              a live block's weight
 *   static inline uint64_t class_of(uint64_t weight)             its class
 *   static inline uint64_t usable_bytes(uint64_t weight)         what malloc_usable_size says of it
 *   static inline bool has_class(uint64_t class)                 does a weight within the grant have that class at all?
 *   static inline bool is_of_another_kind(uint64_t weight)       does the class not tell the usable size?
 *   PATH                                                         the struct mw_path to be defined
 *   PATH_MEASURE, PATH_GRANT                                     its other members
 *
 * weigh is also asked about blocks of the bootstrap arena, and must give them a class that is never freed fast.
 *
 * The malloc path is here; it fits on a screen.
 */
#include <string.h>

#include "bootstrap.h"
#include "path.h"
#include "threads.h"
#include "trim.h"

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The slow halves weigh anew, so that the fast ones need to keep nothing for them, and end in a jump to them. */

static __attribute__((noinline)) void *counted_slow(void *block)
{
    uint64_t weight = weigh(block);
    uint64_t class = class_of(weight);
    struct mw_counters *counters = mw_thread.counters;
    if (UNLIKELY(!mw_threads_renew_grant(counters)))
        mw_threads_allocated_slow(class, usable_bytes(weight));
    else if (LIKELY(class < MW_ALLOCATED_CLASSES && !is_of_another_kind(weight)))
        mw_counter_add(&counters->allocated[class], 1);
    else
        mw_others_count(&counters->allocated_others, usable_bytes(weight), false);
    mw_trim_serve();
    return block;
}

static inline void *counted(void *block)
{
    if (UNLIKELY(!block))
        return block;
    uint64_t weight = weigh(block);
    struct mw_counters *counters = mw_thread.counters;
    if (UNLIKELY(mw_counter_take(&counters->countdown, weight)))
        return counted_slow(block);
    uint64_t class = class_of(weight);
    if (UNLIKELY(!has_class(class)))
        return counted_slow(block);
    mw_counter_add(&counters->allocated[class], 1);
    return block;
}

/* realloc may shrink a block of any kind to any size. */
static inline void *counted_resized(void *block)
{
    if (UNLIKELY(block && is_of_another_kind(weigh(block)))) {
        mw_counter_take(&mw_thread.counters->countdown, weigh(block));
        return counted_slow(block);
    }
    return counted(block);
}

static void *path_malloc(size_t size)
{
    return counted(mw_real_malloc(size));
}

/* Counts a block that is about to be freed. */
static inline void count_freed(uint64_t weight)
{
    struct mw_counters *counters = mw_thread.counters;
    uint64_t class = class_of(weight);
    if (LIKELY(class < counters->freed_classes))
        mw_counter_add(&counters->freed[class], 1);
    else
        mw_threads_freed_slow(class, usable_bytes(weight));
}

static __attribute__((noinline)) void free_slow(void *block)
{
    if (mw_bootstrap_owns(block))
        return;
    count_freed(weigh(block));
    mw_real_free(block);
    mw_trim_serve();
}

static void path_free(void *block)
{
    if (UNLIKELY(!block))
        return;
    struct mw_counters *counters = mw_thread.counters;
    uint64_t class = class_of(weigh(block));
    if (UNLIKELY(class >= counters->freed_classes)) {
        free_slow(block);
        return;
    }
    mw_counter_add(&counters->freed[class], 1);
    mw_real_free(block);
}

static void *path_calloc(size_t count, size_t size)
{
    return counted(mw_real_calloc(count, size));
}

static void *path_realloc(void *block, size_t size)
{
    if (UNLIKELY(mw_bootstrap_owns(block)))
        return mw_bootstrap_move(block, size, path_malloc);
    uint64_t weight = block ? weigh(block) : 0;
    void *moved = mw_real_realloc(block, size);
    /* NULL means that the old block lives on, but for a size of 0, where the allocator has freed it. */
    if (block && (moved || size == 0))
        count_freed(weight);
    return counted_resized(moved);
}

static void *path_memalign(size_t alignment, size_t size)
{
    return counted(mw_real_memalign(alignment, size));
}

static void *path_aligned_alloc(size_t alignment, size_t size)
{
    return counted(mw_real_aligned_alloc(alignment, size));
}

static int path_posix_memalign(void **out, size_t alignment, size_t size)
{
    int error = mw_real_posix_memalign(out, alignment, size);
    if (LIKELY(error == 0))
        counted(*out);
    return error;
}

static void *path_valloc(size_t size)
{
    return counted(mw_real_valloc(size));
}

static void *path_pvalloc(size_t size)
{
    return counted(mw_real_pvalloc(size));
}

static void path_free_sized(void *block, size_t size)
{
    if (!block || mw_bootstrap_owns(block))
        return;
    count_freed(weigh(block));
    mw_real_free_sized(block, size);
}

static void path_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (!block || mw_bootstrap_owns(block))
        return;
    count_freed(weigh(block));
    mw_real_free_aligned_sized(block, alignment, size);
}

static size_t path_malloc_usable_size(void *block)
{
    return UNLIKELY(mw_bootstrap_owns(block)) ? mw_bootstrap_usable_size(block) : mw_real_malloc_usable_size(block);
}

const struct mw_path PATH = {
#define PATH_MEMBER(result, name, parameters, arguments) .name = path_##name,
    MW_HEAP_FUNCTIONS(PATH_MEMBER)
#undef PATH_MEMBER
        .measure = PATH_MEASURE,
    .grant = PATH_GRANT,
};
