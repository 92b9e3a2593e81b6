/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include <errno.h>
#include <pthread.h>

#include "sampler.h"
#include "store.h"
#include "syscall.h"

_Static_assert(sizeof(struct mw_thread) <= 48, "little static TLS: programs have hardly any to spare");

int64_t mw_threads_grant; /* weight handed out at a time */

struct mw_counters mw_threads_nobody = {.countdown = INT64_MIN / 2};

__thread struct mw_thread mw_thread = {.counters = &mw_threads_nobody};

static uint64_t free_slots; /* index of the first free slot, 0: none; above it, 32 bits that change with each change */
static pthread_key_t end_key;
static bool end_key_made;
static uint64_t freed_classes; /* of threads that begin */
static bool is_exact;

#define FIRST_SLOT 1 /* the one before it is shared */

bool mw_threads_several;

void mw_threads_become_several(void)
{
    __atomic_store_n(&mw_threads_several, true, __ATOMIC_RELEASE);
}

static struct mw_segment_slot *slot_at(uint32_t index)
{
    return &mw_store.slots[index];
}

/* Written by all that have no slot of their own. */
static struct mw_counters *shared(void)
{
    return &mw_store.slots[0].counters;
}

static struct mw_measure measure(void)
{
    return mw_store.header->measure;
}

static uint64_t free_list_word(uint64_t old, uint32_t first)
{
    return ((old >> 32) + 1) << 32 | first;
}

static void push_free(uint32_t index)
{
    struct mw_segment_slot *slot = slot_at(index);
    uint64_t old = __atomic_load_n(&free_slots, __ATOMIC_RELAXED);
    do
        __atomic_store_n(&slot->next_free, (uint32_t)old, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&free_slots, &old, free_list_word(old, index), false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

static bool pop_free(uint32_t *index)
{
    uint64_t old = __atomic_load_n(&free_slots, __ATOMIC_ACQUIRE);
    uint32_t next;
    do {
        if (!(uint32_t)old)
            return false;
        next = __atomic_load_n(&slot_at((uint32_t)old)->next_free, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&free_slots, &old, free_list_word(old, next), false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    *index = (uint32_t)old;
    return true;
}

static bool take_new(uint32_t *index)
{
    uint32_t *slots_used = &mw_store.header->slots_used;
    uint32_t used = __atomic_load_n(slots_used, __ATOMIC_RELAXED);
    do {
        if (used >= mw_store.slots_capacity || !mw_store_ready(slot_at(used), sizeof *slot_at(used)))
            return false;
    } while (!__atomic_compare_exchange_n(slots_used, &used, used + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    slot_at(used)->index = used;
    *index = used;
    return true;
}

/* pthread runs this when a thread ends. What other destructors allocate afterwards goes to the shared slot: to wait for
 * the last round is no way out, for the thread may have begun in one of them. */
static void end_thread(void *unused)
{
    (void)unused;
    struct mw_counters *counters = mw_thread.counters;
    mw_threads_become_several(); /* what it still counts, it counts as nobody */
    mw_thread.ended = true;
    mw_thread.counters = &mw_threads_nobody;
    if (counters != &mw_threads_nobody)
        push_free(((struct mw_segment_slot *)(void *)counters)->index);
}

static bool has_begun(void)
{
    return mw_thread.counters != &mw_threads_nobody;
}

static void note_slotless(void)
{
    if (!mw_thread.slotless && mw_store.slots != mw_store_early_slot)
        mw_counter_add_shared(&mw_store.header->dropped_slots, 1);
    mw_thread.slotless = mw_store.slots != mw_store_early_slot;
}

static uint64_t *drawn_for(struct mw_counters *counters)
{
    return &((struct mw_segment_slot *)(void *)counters)->drawn_for_bytes;
}

/* Where the next sample is. Whether it is one is known when it is due: by then the mean may be another. */
static void draw(struct mw_counters *counters)
{
    *drawn_for(counters) = mw_sampler_mean();
    __atomic_store_n(&counters->sample_left, mw_sampler_next(&counters->random), __ATOMIC_RELAXED);
}

/* Gives the thread a slot. False: it must do with the shared one. */
static bool begin_thread(void)
{
    uint32_t index;
    if (mw_thread.ended)
        return false;
    if (!pop_free(&index) && !take_new(&index)) {
        note_slotless();
        return false;
    }
    if (has_begun()) {
        push_free(index); /* a signal handler has allocated meanwhile */
        return true;
    }
    if (index != FIRST_SLOT)
        mw_threads_become_several(); /* where libc has started it past pthread_create, thrd_create for one */
    struct mw_counters *counters = &slot_at(index)->counters;
    if (!counters->random) { /* the slot's first thread */
        counters->random = (mw_clock_ns(CLOCK_MONOTONIC) ^ (uint64_t)(uintptr_t)counters << 16) | 1;
        draw(counters);
        counters->freed_classes = is_exact ? 0 : freed_classes;
    }
    mw_thread.counters = counters;
    if (end_key_made) {
        int saved = errno;
        pthread_setspecific(end_key, (void *)1); /* may allocate: the slot is ready for it */
        errno = saved;
    }
    return true;
}

bool mw_threads_is_sample_due(uint64_t weight)
{
    if (!has_begun()) {
        if (!begin_thread())
            return is_exact;
        if (!is_exact &&
            (!mw_counter_take(&mw_thread.counters->countdown, weight) || mw_threads_renew_grant(mw_thread.counters)))
            return false;
    }
    struct mw_counters *counters = mw_thread.counters;
    if (is_exact) { /* the countdown stays below 0 */
        mw_counter_add(&counters->samples, 1);
        return true;
    }
    /* Chosen by another mean it would stand for too much or too little. How far it is to the next one does not depend
     * on how far it was to here, so that nothing is lost by drawing anew. */
    uint64_t mean_bytes = mw_sampler_mean();
    bool is_on = mean_bytes != 0 && mean_bytes == *drawn_for(counters);
    if (is_on)
        mw_counter_add(&counters->samples, 1);
    __atomic_store_n(&counters->countdown, 0, __ATOMIC_RELAXED);
    draw(counters);
    mw_threads_renew_grant(counters);
    return is_on;
}

void mw_threads_allocated_slow(uint64_t class, uint64_t usable_bytes)
{
    if (!has_begun())
        mw_others_count(&shared()->allocated_others, usable_bytes, true);
    else if (class < MW_ALLOCATED_CLASSES)
        mw_counter_add(&mw_thread.counters->allocated[class], 1);
    else
        mw_others_count(&mw_thread.counters->allocated_others, usable_bytes, false);
}

void mw_threads_freed_slow(uint64_t class, uint64_t usable_bytes)
{
    if (!has_begun() && !begin_thread()) {
        mw_others_count(&shared()->freed_others, usable_bytes, true);
        return;
    }
    struct mw_counters *counters = mw_thread.counters;
    if (class < MW_FREED_CLASSES)
        mw_counter_add(&counters->freed[class], 1);
    else
        mw_others_count(&counters->freed_others, usable_bytes, false);
}

void mw_threads_measure(struct mw_measure chosen, int64_t grant, uint64_t fast_freed_classes)
{
    freed_classes = fast_freed_classes;
    mw_store.header->measure = chosen;
    __atomic_store_n(&mw_threads_grant, grant, __ATOMIC_RELAXED);
}

void mw_threads_lower_grant(int64_t lower)
{
    if (lower < __atomic_load_n(&mw_threads_grant, __ATOMIC_RELAXED))
        __atomic_store_n(&mw_threads_grant, lower, __ATOMIC_RELAXED);
}

void mw_threads_start(void)
{
    end_key_made = pthread_key_create(&end_key, end_thread) == 0;
    if (!has_begun())
        return;
    /* This thread has allocated before anyone knew how. */
    if (end_key_made)
        pthread_setspecific(end_key, (void *)1);
    draw(mw_thread.counters);
    mw_thread.counters->countdown = 0;
}

/* By what its classes mean until now. */
static void count_anew(struct mw_counters *counters)
{
    mw_others_take(&counters->freed_others, counters->freed, MW_FREED_CLASSES, measure());
    mw_others_take(&counters->allocated_others, counters->allocated, MW_ALLOCATED_CLASSES, measure());
}

void mw_threads_be_exact(struct mw_measure chosen)
{
    is_exact = true;
    for (uint32_t i = 0; i < mw_store.header->slots_used; i++) {
        count_anew(&slot_at(i)->counters);
        slot_at(i)->counters.freed_classes = 0;
    }
    if (mw_store.slots != mw_store_early_slot)
        count_anew(&mw_store_early_slot->counters);
    mw_store.header->measure = chosen;
}

void mw_threads_after_fork(void)
{
    free_slots = free_list_word(free_slots, 0);
    for (uint32_t i = 1; i < mw_store.header->slots_used; i++)
        if (&slot_at(i)->counters != mw_thread.counters)
            push_free(i);
}

static uint32_t slots_used(void)
{
    return __atomic_load_n(&mw_store.header->slots_used, __ATOMIC_ACQUIRE);
}

void mw_threads_sum(struct mw_totals *totals)
{
    *totals = (struct mw_totals){0};
    bool has_early = mw_store.slots != mw_store_early_slot;
    uint32_t used = slots_used();
    if (has_early)
        mw_totals_add_freed(totals, &mw_store_early_slot->counters, measure());
    for (uint32_t i = 0; i < used; i++)
        mw_totals_add_freed(totals, &slot_at(i)->counters, measure());
    used = slots_used(); /* a thread may have begun since, and its blocks be freed */
    if (has_early)
        mw_totals_add_allocated(totals, &mw_store_early_slot->counters, measure());
    for (uint32_t i = 0; i < used; i++)
        mw_totals_add_allocated(totals, &slot_at(i)->counters, measure());
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
        totals->by_size[i].Size = mw_size_class_bytes(i);
}

uint64_t mw_threads_samples(void)
{
    uint32_t used = slots_used();
    uint64_t samples = 0;
    for (uint32_t i = 0; i < used; i++)
        samples += mw_counter_read(&slot_at(i)->counters.samples);
    return samples;
}
