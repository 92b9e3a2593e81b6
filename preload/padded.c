/* SPDX-License-Identifier: MIT */
#include "padded.h"

#include <stddef.h>
#include <stdint.h>

#include "heap_profile.h"
#include "real.h"

static void *(*unpadded_malloc)(size_t size);
static void *(*unpadded_calloc)(size_t count, size_t size);
static void *(*unpadded_realloc)(void *block, size_t size);
static void *(*unpadded_memalign)(size_t alignment, size_t size);
static void *(*unpadded_aligned_alloc)(size_t alignment, size_t size);
static int (*unpadded_posix_memalign)(void **out, size_t alignment, size_t size);

/* A size with room for a tail. One that does not bear it is the allocator's to refuse. */
static size_t padded(size_t size)
{
    return size <= SIZE_MAX - MW_PROFILE_TAIL_BYTES ? size + MW_PROFILE_TAIL_BYTES : size;
}

static void *padded_malloc(size_t size)
{
    return unpadded_malloc(padded(size));
}

static void *padded_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return unpadded_calloc(count, size);
    return unpadded_calloc(1, padded(bytes));
}

static void *padded_realloc(void *block, size_t size)
{
    return unpadded_realloc(block, size || !block ? padded(size) : 0);
}

static void *padded_memalign(size_t alignment, size_t size)
{
    return unpadded_memalign(alignment, padded(size));
}

static void *padded_aligned_alloc(size_t alignment, size_t size)
{
    return unpadded_aligned_alloc(alignment, padded(size));
}

static int padded_posix_memalign(void **out, size_t alignment, size_t size)
{
    return unpadded_posix_memalign(out, alignment, padded(size));
}

void mw_padded_start(void)
{
#define PAD(name)                                                                                                      \
    do {                                                                                                               \
        unpadded_##name = mw_real_##name;                                                                              \
        mw_real_##name = padded_##name;                                                                                \
    } while (0)
    PAD(malloc);
    PAD(calloc);
    PAD(realloc);
    PAD(memalign);
    PAD(aligned_alloc);
    PAD(posix_memalign);
#undef PAD
}
