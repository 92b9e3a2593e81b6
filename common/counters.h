/* SPDX-License-Identifier: MIT
 *
 * One thread's heap counters: a single increment a call, from which count, bytes and histogram all derive.
 *
 * The usable sizes that allocators hand out below 1 KiB are multiples of 8: the block's size is the index of its
 * counter, and bytes = the sum over counter * size. Everything else is counted by power of two, with its bytes apart.
 *
 * Threads: written by one thread, read by any, without a lock: every counter only grows, and each increment is one
 * instruction, so that a signal handler that allocates cannot lose one (where the machine has such an instruction).
 * Readers see each counter whole; mw_totals_add says in which order to read.
 */
#ifndef MW_COUNTERS_H
#define MW_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memwatch.h"

#define MW_SMALL_CLASSES 128 /* usable sizes 0, 8, … 1016 */
#define MW_LARGE_CLASSES 38  /* (2^10, 2^11], (2^11, 2^12], … up to 2^48 */

/* Of one direction: blocks allocated, or blocks freed. */
struct mw_flow {
    uint64_t small[MW_SMALL_CLASSES];
    uint64_t large[MW_LARGE_CLASSES];
    uint64_t odd[64]; /* sizes up to 1 KiB that `small` has no place for, by 16 bytes */
    uint64_t large_bytes;
    uint64_t odd_bytes;
};

struct mw_counters {
    struct mw_flow allocated;
    struct mw_flow freed;
};

/* Adds to a counter that only this thread writes. */
static inline void mw_counter_add(uint64_t *counter, uint64_t value)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(value) : "cc");
#else
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
#endif
}

/* Adds to a counter that any thread may write. */
static inline void mw_counter_add_shared(uint64_t *counter, uint64_t value)
{
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
}

static inline uint64_t mw_counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}

/* usable_bytes / 8 where that is exact and below MW_SMALL_CLASSES, else something larger: one rotation, one compare. */
static inline uint64_t mw_small_class(uint64_t usable_bytes)
{
    return usable_bytes >> 3 | usable_bytes << 61;
}

/* 0 for sizes up to 2^11, 1 for (2^11, 2^12], … */
static inline unsigned mw_large_class(uint64_t usable_bytes)
{
    if (usable_bytes <= 2048)
        return 0;
    unsigned class = (unsigned)(63 - __builtin_clzll(usable_bytes - 1)) - 10;
    return class < MW_LARGE_CLASSES ? class : MW_LARGE_CLASSES - 1;
}

/* Counts a block that mw_small_class does not take. */
void mw_flow_count_other(struct mw_flow *flow, uint64_t usable_bytes);

/* Counts any block in counters that several threads write. */
void mw_flow_count_shared(struct mw_flow *flow, uint64_t usable_bytes);

static inline void mw_flow_count(struct mw_flow *flow, uint64_t usable_bytes)
{
    uint64_t class = mw_small_class(usable_bytes);
    if (__builtin_expect(class < MW_SMALL_CLASSES, 1))
        mw_counter_add(&flow->small[class], 1);
    else
        mw_flow_count_other(flow, usable_bytes);
}

/* Sums over threads, in Go's classes. */
struct mw_totals {
    uint64_t allocated_bytes;
    uint64_t freed_bytes;
    uint64_t allocated_objects;
    uint64_t freed_objects;
    struct memwatch_size_class by_size[MEMWATCH_SIZE_CLASSES];
};

/* Adds what one thread freed. To be called for every thread before mw_totals_add_allocated is for the first: a block
 * is allocated before it is freed, so that live = allocated - freed never comes out below 0. */
void mw_totals_add_freed(struct mw_totals *totals, const struct mw_counters *counters);
void mw_totals_add_allocated(struct mw_totals *totals, const struct mw_counters *counters);

/* The largest usable size of the class with that index, below MEMWATCH_SIZE_CLASSES. */
uint64_t mw_size_class_bytes(unsigned index);

#endif
