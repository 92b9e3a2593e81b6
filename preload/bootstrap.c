/* SPDX-License-Identifier: MIT */
#include "bootstrap.h"

#include <errno.h>
#include <string.h>

#define LEAST_ALIGNMENT 16

_Alignas(4096) char mw_bootstrap_arena[MW_BOOTSTRAP_BYTES];

static size_t used_bytes;

/* Stands right before each block. */
struct header {
    size_t size;
};

void *mw_bootstrap_allocate(size_t alignment, size_t size)
{
    if (alignment < LEAST_ALIGNMENT)
        alignment = LEAST_ALIGNMENT;
    size_t used = __atomic_load_n(&used_bytes, __ATOMIC_RELAXED);
    size_t start;
    do {
        start = (used + sizeof(struct header) + alignment - 1) & ~(alignment - 1);
        if (alignment > MW_BOOTSTRAP_BYTES || size > MW_BOOTSTRAP_BYTES || start + size > MW_BOOTSTRAP_BYTES) {
            errno = ENOMEM;
            return NULL;
        }
    } while (!__atomic_compare_exchange_n(&used_bytes, &used, start + size, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    ((struct header *)(void *)(mw_bootstrap_arena + start))[-1].size = size | MW_BOOTSTRAP_MARK;
    return mw_bootstrap_arena + start;
}

size_t mw_bootstrap_usable_size(const void *block)
{
    return ((const struct header *)block)[-1].size & ~MW_BOOTSTRAP_MARK;
}

void *mw_bootstrap_move(const void *block, size_t size, void *(*allocate)(size_t size))
{
    size_t old = mw_bootstrap_usable_size(block);
    void *moved = allocate(size);
    if (moved)
        memcpy(moved, block, old < size ? old : size);
    return moved;
}
