/* SPDX-License-Identifier: MIT
 *
 * Memory for the moment in which the allocator beneath us is not known yet: dlsym may allocate while we look it up.
 *
 * A bump arena; nothing is ever given back, and free of its blocks does nothing. They are not counted.
 * Any thread, no lock, async-signal-safe.
 */
#ifndef MW_BOOTSTRAP_H
#define MW_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* glibc needs some dozens of bytes, old ones some hundred. Untouched pages cost nothing. */
#define MW_BOOTSTRAP_BYTES ((size_t)128 * 1024)

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern char mw_bootstrap_arena[MW_BOOTSTRAP_BYTES];
#pragma GCC visibility pop

static inline bool mw_bootstrap_owns(const void *block)
{
    return (uintptr_t)block - (uintptr_t)mw_bootstrap_arena < MW_BOOTSTRAP_BYTES;
}

/* Zeroed. alignment is a power of two. NULL with errno ENOMEM when the arena is used up. */
void *mw_bootstrap_allocate(size_t alignment, size_t size);

/* What malloc_usable_size tells of a block of the arena. The word before the block is its size and a mark that makes
 * it too large for any path that takes it for the allocator's own note. */
#define MW_BOOTSTRAP_MARK ((size_t)1 << 62)
size_t mw_bootstrap_usable_size(const void *block);

/* What realloc does with one: it moves, and stays behind. */
void *mw_bootstrap_move(const void *block, size_t size, void *(*allocate)(size_t size));

#endif
