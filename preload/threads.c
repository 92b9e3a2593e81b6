/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "sampler.h"
#include "syscall.h"

/* One thread's pages: no line of them is written by two threads at a time. What is hot, and the counters of blocks up
 * to 2 KiB, are on the first. */
struct slot {
    struct mw_counters counters;
    uint32_t index;
    uint32_t next_free; /* index + 1 of the next in the free list; 0: the last */
} __attribute__((aligned(4096)));

_Static_assert(sizeof(struct slot) == 4 * 4096, "a slot is four pages");
_Static_assert(offsetof(struct mw_counters, allocated[128]) <= 4096, "small blocks need one page only");
_Static_assert(sizeof(struct mw_thread) <= 16, "little static TLS: programs have hardly any to spare");

/* Slots come in chunks that double: 16, 32, 64, … Chunks are never unmapped. */
#define FIRST_CHUNK_SLOTS 16
#define CHUNKS            20

int64_t mw_threads_grant; /* weight handed out at a time */

struct mw_counters mw_threads_nobody = {.countdown = INT64_MIN / 2};

__thread struct mw_thread mw_thread = {.counters = &mw_threads_nobody};

static struct slot *chunks[CHUNKS];
static uint32_t slots_used; /* slots ever handed out */
static uint64_t free_slots; /* index + 1 of the first free slot; above it, 32 bits that change with each change */
static struct slot shared;
static struct mw_measure measure;
static pthread_key_t end_key;
static bool end_key_made;

static unsigned chunk_of(uint32_t index)
{
    return 31 - (unsigned)__builtin_clz(index / FIRST_CHUNK_SLOTS + 1);
}

static uint32_t chunk_start(unsigned chunk)
{
    return FIRST_CHUNK_SLOTS * ((1U << chunk) - 1);
}

/* NULL: its chunk is not mapped. */
static struct slot *slot_at(uint32_t index)
{
    unsigned k = chunk_of(index);
    struct slot *chunk = __atomic_load_n(&chunks[k], __ATOMIC_ACQUIRE);
    return chunk ? &chunk[index - chunk_start(k)] : NULL;
}

static size_t chunk_bytes(unsigned k)
{
    return (FIRST_CHUNK_SLOTS * sizeof(struct slot)) << k;
}

static bool map_chunk(unsigned k)
{
    size_t bytes = chunk_bytes(k);
    struct slot *none = NULL;
    if (__atomic_load_n(&chunks[k], __ATOMIC_ACQUIRE))
        return true;
    struct slot *chunk = mw_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return false;
    if (!__atomic_compare_exchange_n(&chunks[k], &none, chunk, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        mw_sys_munmap(chunk, bytes); /* another thread was faster */
    return true;
}

static uint64_t free_list_word(uint64_t old, uint32_t first)
{
    return ((old >> 32) + 1) << 32 | first;
}

static void push_free(uint32_t index)
{
    struct slot *slot = slot_at(index);
    uint64_t old = __atomic_load_n(&free_slots, __ATOMIC_RELAXED);
    do
        __atomic_store_n(&slot->next_free, (uint32_t)old, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&free_slots, &old, free_list_word(old, index + 1), false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

static bool pop_free(uint32_t *index)
{
    uint64_t old = __atomic_load_n(&free_slots, __ATOMIC_ACQUIRE);
    uint32_t next;
    do {
        if (!(uint32_t)old)
            return false;
        next = __atomic_load_n(&slot_at((uint32_t)old - 1)->next_free, __ATOMIC_RELAXED);
    } while (!__atomic_compare_exchange_n(&free_slots, &old, free_list_word(old, next), false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    *index = (uint32_t)old - 1;
    return true;
}

static bool take_new(uint32_t *index)
{
    uint32_t used = __atomic_load_n(&slots_used, __ATOMIC_RELAXED);
    do {
        if (chunk_of(used) >= CHUNKS || !map_chunk(chunk_of(used)))
            return false;
    } while (!__atomic_compare_exchange_n(&slots_used, &used, used + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
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
    mw_thread.ended = true;
    mw_thread.counters = &mw_threads_nobody;
    if (counters != &mw_threads_nobody)
        push_free(((struct slot *)counters)->index);
}

static bool has_begun(void)
{
    return mw_thread.counters != &mw_threads_nobody;
}

/* Gives the thread a slot. False: it must do with the shared one. */
static bool begin_thread(void)
{
    uint32_t index;
    if (mw_thread.ended || (!pop_free(&index) && !take_new(&index)))
        return false;
    if (has_begun()) {
        push_free(index); /* a signal handler has allocated meanwhile */
        return true;
    }
    struct mw_counters *counters = &slot_at(index)->counters;
    if (!counters->freed_classes) { /* the slot's first thread */
        counters->random = mw_clock_ns(CLOCK_MONOTONIC) ^ (uint64_t)(uintptr_t)counters << 16;
        counters->sample_left = mw_sampler_next(&counters->random);
        counters->freed_classes = MW_FREED_CLASSES;
    }
    mw_thread.counters = counters;
    if (end_key_made) {
        int saved = errno;
        pthread_setspecific(end_key, (void *)1); /* may allocate: the slot is ready for it */
        errno = saved;
    }
    return true;
}

void mw_threads_allocated_slow(uint64_t class, uint64_t usable_bytes)
{
    bool had_begun = has_begun();
    if (!had_begun && !begin_thread()) {
        mw_others_count(&shared.counters.allocated_others, usable_bytes, true);
        return;
    }
    struct mw_counters *counters = mw_thread.counters;
    if (had_begun) {
        mw_counter_add(&counters->samples, 1);
        __atomic_store_n(&counters->countdown, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&counters->sample_left, mw_sampler_next(&counters->random), __ATOMIC_RELAXED);
    }
    mw_threads_renew_grant(counters);
    if (class < MW_ALLOCATED_CLASSES && usable_bytes == class * measure.scale_bytes - measure.overhead_bytes)
        mw_counter_add(&counters->allocated[class], 1);
    else
        mw_others_count(&counters->allocated_others, usable_bytes, false);
}

void mw_threads_freed_slow(uint64_t class, uint64_t usable_bytes)
{
    if (!has_begun() && !begin_thread()) {
        mw_others_count(&shared.counters.freed_others, usable_bytes, true);
        return;
    }
    struct mw_counters *counters = mw_thread.counters;
    if (class < MW_FREED_CLASSES)
        mw_counter_add(&counters->freed[class], 1);
    else
        mw_others_count(&counters->freed_others, usable_bytes, false);
}

void mw_threads_measure(struct mw_measure chosen, int64_t grant)
{
    measure = chosen;
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
    mw_thread.counters->sample_left = mw_sampler_next(&mw_thread.counters->random);
    mw_thread.counters->countdown = 0;
}

void mw_threads_after_fork(void)
{
    uint32_t used = slots_used;
    free_slots = free_list_word(free_slots, 0);
    for (uint32_t i = 0; i < used; i++)
        if (&slot_at(i)->counters != mw_thread.counters)
            push_free(i);
}

void mw_threads_sum(struct mw_totals *totals)
{
    *totals = (struct mw_totals){0};
    uint32_t used = __atomic_load_n(&slots_used, __ATOMIC_ACQUIRE);
    mw_totals_add_freed(totals, &shared.counters, measure);
    for (uint32_t i = 0; i < used; i++)
        mw_totals_add_freed(totals, &slot_at(i)->counters, measure);
    used = __atomic_load_n(&slots_used, __ATOMIC_ACQUIRE); /* a thread may have begun since, and its blocks be freed */
    mw_totals_add_allocated(totals, &shared.counters, measure);
    for (uint32_t i = 0; i < used; i++)
        mw_totals_add_allocated(totals, &slot_at(i)->counters, measure);
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
        totals->by_size[i].Size = mw_size_class_bytes(i);
}

uint64_t mw_threads_samples(void)
{
    uint32_t used = __atomic_load_n(&slots_used, __ATOMIC_ACQUIRE);
    uint64_t samples = 0;
    for (uint32_t i = 0; i < used; i++)
        samples += mw_counter_read(&slot_at(i)->counters.samples);
    return samples;
}

uint64_t mw_threads_mapped_bytes(void)
{
    uint64_t bytes = 0;
    for (unsigned k = 0; k < CHUNKS; k++)
        if (__atomic_load_n(&chunks[k], __ATOMIC_ACQUIRE))
            bytes += chunk_bytes(k);
    return bytes;
}
