/* SPDX-License-Identifier: MIT
 *
 * The allocation functions that the program calls. Each forwards to the one beneath with its arguments unchecked and
 * its result, errno included, untouched, and counts what was set aside: the usable size, on both sides.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "real.h"
#include "threads.h"

#define EXPORT              __attribute__((visibility("default")))
#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

void free_sized(void *block, size_t size); /* C23; not in glibc's headers before 2.43 */
void free_aligned_sized(void *block, size_t alignment, size_t size);

static inline void *counted(void *block)
{
    if (LIKELY(block) && LIKELY(!mw_bootstrap_owns(block)))
        mw_count_allocated(mw_real.malloc_usable_size(block));
    return block;
}

EXPORT void *malloc(size_t size)
{
    return counted(mw_real.malloc(size));
}

EXPORT void *calloc(size_t count, size_t size)
{
    return counted(mw_real.calloc(count, size));
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    return counted(mw_real.memalign(alignment, size));
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return counted(mw_real.aligned_alloc(alignment, size));
}

EXPORT void *valloc(size_t size)
{
    return counted(mw_real.valloc(size));
}

EXPORT void *pvalloc(size_t size)
{
    return counted(mw_real.pvalloc(size));
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    int error = mw_real.posix_memalign(out, alignment, size);
    if (LIKELY(error == 0))
        counted(*out);
    return error;
}

/* Counts a block that is about to be freed. False: there is nothing to free. */
static inline bool uncounted(void *block)
{
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return false;
    mw_count_freed(mw_real.malloc_usable_size(block));
    return true;
}

EXPORT void free(void *block)
{
    if (uncounted(block))
        mw_real.free(block);
}

EXPORT void free_sized(void *block, size_t size)
{
    if (uncounted(block))
        mw_real.free_sized(block, size);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (uncounted(block))
        mw_real.free_aligned_sized(block, alignment, size);
}

/* A block of the bootstrap arena cannot be grown by the allocator: it moves there. */
static void *move_from_bootstrap(const void *block, size_t size)
{
    size_t old = mw_bootstrap_usable_size(block);
    void *moved = malloc(size);
    if (moved)
        memcpy(moved, block, old < size ? old : size);
    return moved;
}

EXPORT void *realloc(void *block, size_t size)
{
    if (UNLIKELY(mw_bootstrap_owns(block)))
        return move_from_bootstrap(block, size);
    size_t old = block ? mw_real.malloc_usable_size(block) : 0;
    void *moved = mw_real.realloc(block, size);
    /* NULL means that the old block lives on, but for a size of 0, where the allocator has freed it. */
    if (block && (moved || size == 0))
        mw_count_freed(old);
    return counted(moved);
}

/* Not forwarded: libc's own would call our realloc and count there, an allocator's own would not. */
EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, bytes);
}

EXPORT size_t malloc_usable_size(void *block)
{
    return UNLIKELY(mw_bootstrap_owns(block)) ? mw_bootstrap_usable_size(block) : mw_real.malloc_usable_size(block);
}
