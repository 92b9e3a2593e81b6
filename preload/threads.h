/* SPDX-License-Identifier: MIT
 *
 * Which counters a thread writes. The malloc path's half that is not the allocator's.
 *
 * Counters stand in slots of the segment, pages of their own, that a thread takes at its first heap call and leaves
 * behind, counts and all, when it ends: a count belongs to the process, so that a sum over all slots is right whoever
 * wrote them, and a hundred thousand short threads need as many slots as ever lived at once. What a thread does after
 * its slot is gone, or where none can be had, goes to a slot that all share, with atomic additions.
 *
 * Any thread, no lock, async-signal-safe; errno is left alone.
 */
#ifndef MW_THREADS_H
#define MW_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "store.h"

/* All of a thread's state, in the static TLS block: small, without a destructor. */
struct mw_thread {
    struct mw_counters *counters; /* never NULL; until the thread has begun, and after its end, mw_threads_nobody */
    bool ended;                   /* its slot is given back */
    bool slotless;                /* it asked for one in vain */
    bool resolving;               /* in dlsym on our behalf */
    bool in_maps;                 /* holds the lock of maps.c */
    bool holds_maps_over_fork;
    char *fork_copy; /* store.c's, over a fork */
    /* Pages of the thread's stack that are known to be readable (unwind.c). */
    uintptr_t stack_low;
    uintptr_t stack_high;
};

#pragma GCC visibility push(hidden) /* or the compiler would look for them in the global offset table */
extern __thread struct mw_thread mw_thread __attribute__((tls_model("initial-exec")));

/* Counters that send every call to the slow path. */
extern struct mw_counters mw_threads_nobody;

extern int64_t mw_threads_grant;

extern bool mw_threads_several; /* there has been a second thread, or one has ended */
#pragma GCC visibility pop

/* The calling thread is about to start another. */
void mw_threads_become_several(void);

/* Is this the only thread that ever counted? Then what all share can be added to as what is its own (counters.h). */
static inline bool mw_threads_is_alone(void)
{
    return !__atomic_load_n(&mw_threads_several, __ATOMIC_RELAXED) && mw_thread.counters != &mw_threads_nobody;
}

/* The common reason for the slow path: the grant is used up, and the next sample still to come. False: it is not that.
 * The block's weight has been taken from the countdown already. Never grants more than the grant, whatever a signal
 * handler does in between: it bounds the classes that the fast path counts. */
static inline bool mw_threads_renew_grant(struct mw_counters *counters)
{
    int64_t left = __atomic_load_n(&counters->countdown, __ATOMIC_RELAXED) +
                   __atomic_load_n(&counters->sample_left, __ATOMIC_RELAXED);
    if (left < 0)
        return false;
    int64_t grant = __atomic_load_n(&mw_threads_grant, __ATOMIC_RELAXED);
    int64_t next = left < grant ? left : grant;
    __atomic_store_n(&counters->sample_left, left - next, __ATOMIC_RELAXED);
    __atomic_store_n(&counters->countdown, next, __ATOMIC_RELAXED);
    return true;
}

/* All other reasons: the thread has not begun (then it begins), has ended, or the block, of that weight, is due to be
 * sampled: true. */
bool mw_threads_is_sample_due(uint64_t weight);

/* Counts a block, whatever the thread's state. */
void mw_threads_allocated_slow(uint64_t class, uint64_t usable_bytes);
void mw_threads_freed_slow(uint64_t class, uint64_t usable_bytes);

/* Which slot this thread has; 0, the shared one: none of its own. */
static inline uint32_t mw_threads_index(void)
{
    return mw_thread.counters == &mw_threads_nobody
               ? 0
               : (uint32_t)((const struct mw_segment_slot *)(const void *)mw_thread.counters - mw_store.slots);
}

/* What the classes mean, how much weight the fast path may count, and classes of which it may count frees. Before the
 * first call is counted. */
void mw_threads_measure(struct mw_measure measure, int64_t grant, uint64_t freed_classes);

/* From now on no fast path counts more than that weight at a time. */
void mw_threads_lower_grant(int64_t grant);

/* Makes threads give their slots back when they end, and lets sampling begin. Once, before the program starts threads.
 */
void mw_threads_start(void);

/* Every block is sampled: every free, too, goes the slow way. What has been counted is counted anew, out of line, and
 * classes mean this. Once, before the program starts threads. */
void mw_threads_be_exact(struct mw_measure measure);

/* In the child of a fork: only the calling thread is left. */
void mw_threads_after_fork(void);

/* The sums over all threads, those that ended too. */
void mw_threads_sum(struct mw_totals *totals);

/* Blocks that sampling has chosen. */
uint64_t mw_threads_samples(void);

#endif
