/* SPDX-License-Identifier: MIT
 *
 * The malloc path: what is done about a block beyond forwarding the call. It fits on a screen.
 *
 * A block has a weight. Right above glibc that is the word before it, the header of its chunk: the chunk's size, a
 * multiple of 16, with three flags in its low bits (malloc/malloc.c, "struct malloc_chunk"). Above any other allocator,
 * and where the header is not proven, it is what malloc_usable_size says (count.c). A process does the one or the other
 * from its start to its end.
 *
 * Any thread, no lock, async-signal-safe; errno is left alone.
 */
#ifndef MW_COUNT_H
#define MW_COUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "threads.h"

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
/* Blocks from this address on have a header that can be read: 1 where that is proven, else beyond all addresses. So one
 * comparison tells NULL, too. */
extern uintptr_t mw_count_header_from;
#pragma GCC visibility pop

#define MW_HEADER_FLAGS     UINT64_C(7)
#define MW_HEADER_IS_MAPPED UINT64_C(2) /* a chunk that is a mapping by itself */

static inline bool mw_count_has_header(const void *block)
{
    return (uintptr_t)block >= mw_count_header_from;
}

static inline uint64_t mw_header(const void *block)
{
    return ((const uint64_t *)block)[-1];
}

static inline uint64_t mw_header_class(uint64_t header)
{
    return header >> 4;
}

/* What the program asked for. A block that is sampled needs eight bytes more and may have to be allocated anew: it is
 * then to be so again. */
struct mw_asked {
    size_t size;
    size_t how; /* one of these, or the alignment that it was asked with */
};
enum { MW_ASKED_PLAIN, MW_ASKED_ZEROED, MW_ASKED_KEPT /* its content: it comes from a realloc */ };

/* The slow halves. They look at the block anew, so that the fast ones need to keep nothing for them. */
void *mw_count_allocated_other(void *block, struct mw_asked asked); /* no readable header; may be NULL */
void *mw_count_allocated_slow(void *block, struct mw_asked asked);  /* its header has been taken from the countdown */

/* Counts a block that the allocator has just handed out. Returns what the program is to have. */
static inline void *mw_count_allocated(void *block, size_t size, size_t how)
{
    if (__builtin_expect(!mw_count_has_header(block), 0))
        return mw_count_allocated_other(block, (struct mw_asked){size, how});
    uint64_t header = mw_header(block);
    struct mw_counters *counters = mw_thread.counters;
    if (__builtin_expect(mw_counter_take(&counters->countdown, header), 0))
        return mw_count_allocated_slow(block, (struct mw_asked){size, how});
    mw_counter_add(&counters->allocated[mw_header_class(header)], 1);
    return block;
}

/* Is it counted on the fast path? Then it is done. Before the block is freed. */
static inline bool mw_count_freed_fast(void *block)
{
    if (__builtin_expect(!mw_count_has_header(block), 0))
        return false;
    struct mw_counters *counters = mw_thread.counters;
    uint64_t class = mw_header_class(mw_header(block));
    if (__builtin_expect(class >= counters->freed_classes, 0))
        return false;
    mw_counter_add(&counters->freed[class], 1);
    return true;
}

/* Counts what the fast path does not. */
enum mw_freed {
    MW_FREED_NOTHING, /* the block is not the allocator's (NULL, or the bootstrap arena's): there is nothing to free */
    MW_FREED_BLOCK,
    MW_FREED_SAMPLED /* it is larger than the program knows: not to be freed by a size */
};
enum mw_freed mw_count_freed_other(void *block);

/* The same of a block that has no header to be read, whose usable size has been asked for. */
void mw_count_freed_elsewhere_slow(void *block, uint64_t usable_bytes);

/* Common allocators' sizes are multiples of 8; what is not gets a class that no table has. */
static inline uint64_t mw_count_usable_class(uint64_t usable_bytes)
{
    return usable_bytes >> 3 | usable_bytes << 61;
}

static inline void mw_count_freed_elsewhere(void *block, uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    uint64_t class = mw_count_usable_class(usable_bytes);
    if (__builtin_expect(class >= counters->freed_classes, 0))
        mw_count_freed_elsewhere_slow(block, usable_bytes);
    else
        mw_counter_add(&counters->freed[class], 1);
}

/* What a block weighs, whichever way that is known. */
struct mw_seen {
    uint64_t class; /* beyond every table where that does not tell the size */
    uint64_t usable_bytes;
    uint32_t number; /* of a sampled block (heap_profile.h), else 0 */
};
struct mw_seen mw_count_look(void *block); /* neither NULL nor the bootstrap arena's */

/* realloc frees one block and allocates another, but knows whether it has only when that is done: what the old block
 * was has to be seen before. moved may be NULL. The second returns what the program is to have. */
struct mw_seen mw_count_before_resize(void *block);
void *mw_count_resized(struct mw_seen old, void *block, void *moved, size_t size);

/* From now on blocks may be sampled; or all are, and have room for a tail from the start. Once, before the program
 * starts threads. Not under valgrind's tools: they would call the look for a tail a stray read. */
void mw_count_allow_samples(void);
void mw_count_be_exact(void);
bool mw_count_is_under_valgrind(void);

/* Chooses how to weigh. Once, when the functions beneath are known; allocates and frees some blocks. */
void mw_count_start(void);

/* glibc maps blocks from a threshold on, each by itself, and notes their size in another way, which the fast path does
 * not look for: it is kept from weights that can be such a block's. A mapped block weighs a page at least. To be called
 * when the threshold is set (mallopt) and at the start, for what the environment says of it. */
void mw_count_mapping_threshold(size_t threshold_bytes);
void mw_count_read_environment(char *const *environment);

#endif
