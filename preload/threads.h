/* SPDX-License-Identifier: MIT
 *
 * Which counters a thread writes. The malloc path's half that is not the allocator's.
 *
 * Counters stand in slots, a page each, that a thread takes at its first allocation and leaves behind, counts and all,
 * when it ends: a count belongs to the process, so that a sum over all slots is right whoever wrote them, and a
 * hundred thousand short threads need as many slots as ever lived at once. What a thread does after its slot is gone,
 * or where none can be had, goes to a slot that all share, with atomic additions.
 *
 * Any thread, no lock, async-signal-safe; errno is left alone.
 */
#ifndef MW_THREADS_H
#define MW_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"

/* All of a thread's state, in the static TLS block: small, without a destructor. */
struct mw_thread {
    struct mw_counters *counters; /* NULL: none yet, or none any more */
    bool ended;                   /* its slot is given back */
    bool resolving;               /* in dlsym on our behalf */
    bool in_maps;                 /* holds the lock of maps.c */
    bool holds_maps_over_fork;
};

extern __thread struct mw_thread mw_thread __attribute__((tls_model("initial-exec")));

/* For a thread without counters: takes a slot, or counts in the shared one. */
void mw_threads_count_allocated_slow(uint64_t usable_bytes);
void mw_threads_count_freed_slow(uint64_t usable_bytes);

static inline void mw_count_allocated(uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    if (__builtin_expect(counters != NULL, 1))
        mw_flow_count(&counters->allocated, usable_bytes);
    else
        mw_threads_count_allocated_slow(usable_bytes);
}

static inline void mw_count_freed(uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    if (__builtin_expect(counters != NULL, 1))
        mw_flow_count(&counters->freed, usable_bytes);
    else
        mw_threads_count_freed_slow(usable_bytes);
}

/* Makes threads give their slots back when they end. Once, before the program starts threads. */
void mw_threads_start(void);

/* In the child of a fork: only the calling thread is left. */
void mw_threads_after_fork(void);

/* The sums over all threads, those that ended too. */
void mw_threads_sum(struct mw_totals *totals);

#endif
