/* SPDX-License-Identifier: MIT
 *
 * One thread's heap counters: a single increment a call, from which count, bytes and histogram all derive.
 *
 * A block has a weight, its size as the allocator itself notes it, and small weights are counted by class: the weight
 * shifted right is the index of the counter. struct mw_measure says what a class means in bytes; a process weighs in
 * one way from its start to its end (preload/count.h). All else is counted out of line, by the API's classes and with
 * its bytes.
 *
 * Threads: written by one thread, read by any, without a lock: every counter only grows, and each increment is one
 * instruction, so that a signal handler that allocates cannot lose one (where the machine has such an instruction).
 * Readers see each counter whole; mw_totals_add_freed says in which order to read.
 */
#ifndef MW_COUNTERS_H
#define MW_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memwatch.h"

#define MW_ALLOCATED_CLASSES 1153
#define MW_FREED_CLASSES     129

/* Blocks that are counted out of line. */
struct mw_others {
    uint64_t count[MEMWATCH_SIZE_CLASSES];
    uint64_t bytes;
};

/* Ordered by heat. */
struct mw_counters {
    /* How much weight may still be allocated before the slow path is due: the fast path only looks at the sign, so a
     * grant also bounds the weight, and with it the class, that it ever counts. Below 0 before the thread has begun. */
    int64_t countdown;
    uint64_t freed_classes; /* classes below it are freed on the fast path: MW_FREED_CLASSES, or 0 before the start */
    int64_t sample_left;    /* weight from the end of this grant to the next sample */
    uint64_t random;
    uint64_t samples; /* blocks that the countdown has chosen */

    uint64_t freed[MW_FREED_CLASSES];
    struct mw_others freed_others;
    struct mw_others allocated_others;
    uint64_t allocated[MW_ALLOCATED_CLASSES]; /* last: its far end is seldom touched */
};

/* What the classes mean: class i holds blocks of i * scale_bytes - overhead_bytes usable bytes. */
struct mw_measure {
    uint64_t scale_bytes;
    uint64_t overhead_bytes;
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

/* Takes from a counter that only this thread writes. Returns whether it fell below 0. */
static inline bool mw_counter_take(int64_t *counter, uint64_t value)
{
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
    bool below;
    __asm__("subq %2, %1" : "=@ccs"(below), "+m"(*counter) : "er"(value));
    return below;
#else
    return __atomic_sub_fetch(counter, (int64_t)value, __ATOMIC_RELAXED) < 0;
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

/* Counts a block out of line; `shared` where several threads write. */
void mw_others_count(struct mw_others *others, uint64_t usable_bytes, bool shared);

/* Takes over what has been counted by class. Only where nobody counts meanwhile. */
void mw_others_take(struct mw_others *others, uint64_t *counts, unsigned classes, struct mw_measure measure);

/* Sums over threads, in the API's classes. */
struct mw_totals {
    uint64_t allocated_bytes;
    uint64_t freed_bytes;
    uint64_t allocated_objects;
    uint64_t freed_objects;
    struct memwatch_size_class by_size[MEMWATCH_SIZE_CLASSES];
};

/* Adds what one thread freed. To be called for every thread before mw_totals_add_allocated is for the first: a block
 * is allocated before it is freed, so that live = allocated - freed never comes out below 0. */
void mw_totals_add_freed(struct mw_totals *totals, const struct mw_counters *counters, struct mw_measure measure);
void mw_totals_add_allocated(struct mw_totals *totals, const struct mw_counters *counters, struct mw_measure measure);

/* The API's class of a size, and the largest usable size of a class. */
unsigned mw_size_class(uint64_t usable_bytes);
uint64_t mw_size_class_bytes(unsigned index);

#endif
