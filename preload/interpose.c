/* SPDX-License-Identifier: MIT
 *
 * The allocation functions that the program calls. Each forwards to the one beneath with its arguments unchecked and
 * its result, errno included, untouched, and counts what was set aside, on both sides.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "arenas.h"
#include "bootstrap.h"
#include "count.h"
#include "real.h"

#define EXPORT              __attribute__((visibility("default")))
#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

void free_sized(void *block, size_t size); /* C23; not in glibc's headers before 2.43 */
void free_aligned_sized(void *block, size_t alignment, size_t size);

EXPORT void *malloc(size_t size)
{
    return mw_count_allocated(mw_real_malloc(size), size, MW_ASKED_PLAIN);
}

/* Apart, so that the fast half below needs no stack. */
static __attribute__((noinline)) void free_slow(void *block)
{
    if (mw_count_freed_other(block) != MW_FREED_NOTHING)
        mw_real_free(block);
}

/* Above another allocator than glibc's. */
static __attribute__((noinline)) void free_elsewhere(void *block)
{
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return;
    mw_count_freed_elsewhere(block, mw_real_malloc_usable_size(block));
    mw_real_free(block);
}

EXPORT void free(void *block)
{
    if (UNLIKELY(!mw_count_has_header(block)))
        free_elsewhere(block);
    else if (LIKELY(mw_count_freed_fast(block)))
        mw_real_free(block);
    else
        free_slow(block);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return mw_count_allocated(mw_real_calloc(count, size), count * size, MW_ASKED_ZEROED);
}

EXPORT void *realloc(void *block, size_t size)
{
    if (!block)
        return mw_count_allocated(mw_real_realloc(block, size), size, MW_ASKED_PLAIN);
    if (UNLIKELY(mw_bootstrap_owns(block)))
        return mw_bootstrap_move(block, size, malloc);
    struct mw_seen old = mw_count_before_resize(block);
    return mw_count_resized(old, block, mw_real_realloc(block, size), size);
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

EXPORT void *memalign(size_t alignment, size_t size)
{
    return mw_count_allocated(mw_real_memalign(alignment, size), size, alignment);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    return mw_count_allocated(mw_real_aligned_alloc(alignment, size), size, alignment);
}

EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
    int error = mw_real_posix_memalign(out, alignment, size);
    if (LIKELY(error == 0))
        *out = mw_count_allocated(*out, size, alignment);
    return error;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

EXPORT void *valloc(size_t size)
{
    return mw_count_allocated(mw_real_valloc(size), size, page_bytes());
}

EXPORT void *pvalloc(size_t size)
{
    size_t rounded = (size + page_bytes() - 1) & ~(page_bytes() - 1); /* which the program may use */
    return mw_count_allocated(mw_real_pvalloc(size), rounded, page_bytes());
}

EXPORT void free_sized(void *block, size_t size)
{
    enum mw_freed freed = mw_count_freed_fast(block) ? MW_FREED_BLOCK : mw_count_freed_other(block);
    if (freed == MW_FREED_BLOCK)
        mw_real_free_sized(block, size);
    else if (freed == MW_FREED_SAMPLED)
        mw_real_free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    enum mw_freed freed = mw_count_freed_fast(block) ? MW_FREED_BLOCK : mw_count_freed_other(block);
    if (freed == MW_FREED_BLOCK)
        mw_real_free_aligned_sized(block, alignment, size);
    else if (freed == MW_FREED_SAMPLED)
        mw_real_free(block);
}

EXPORT size_t malloc_usable_size(void *block)
{
    if (UNLIKELY(mw_bootstrap_owns(block)))
        return mw_bootstrap_usable_size(block);
    return block ? mw_count_look(block).usable_bytes : 0;
}

EXPORT int mallopt(int parameter, int value)
{
    static int (*real)(int, int);
    if (!real)
        real = mw_real_find("mallopt");
    if (parameter == M_MMAP_THRESHOLD && value >= 0)
        mw_count_mapping_threshold((size_t)value);
    mw_arenas_see_mallopt(parameter);
    return real ? real(parameter, value) : 0;
}
