/* SPDX-License-Identifier: MIT */
#include "heap_profile.h"

#include "counters.h"
#include "modules.h"
#include "sampler.h"
#include "store.h"
#include "syscall.h"
#include "threads.h"
#include "unwind.h"

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define LONGEST_CHAIN 4096 /* beyond it a stack is dropped: the table is too full to be of use */

static bool is_exact;
static bool is_started;

/* Where stacks are looked for again and again: what a thread has seen last. A stack that is known by its key is taken
 * for the same without a look at its frames: among a million stacks two keys are the same with a chance of 10^-7. */
#define KNOWN_STACKS 512 /* a power of two */
struct memory {
    bool is_busy; /* this thread is at it, and a signal handler has come in between */
    struct mw_unwind_memory unwinding;
    struct known_stack {
        uint64_t key;
        uint32_t number; /* 0: none */
    } known[KNOWN_STACKS];
};
static struct memory *memories; /* by slot */

void mw_profile_start(bool exact)
{
    is_exact = exact;
    if (exact) { /* as many as there are slots; only those of threads that live are ever touched */
        void *memory = mw_sys_mmap(NULL, mw_store.slots_capacity * sizeof *memories, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        memories = memory == MAP_FAILED ? NULL : memory;
    }
    __atomic_store_n(&is_started, true, __ATOMIC_RELEASE);
}

/* ---- stacks ---- */

static uint32_t hash_of(const uint64_t *frames, unsigned depth)
{
    uint64_t hash = depth;
    for (unsigned i = 0; i < depth; i++)
        hash = (hash ^ frames[i]) * UINT64_C(0x9e3779b97f4a7c15) >> 7 | hash << 57;
    return (uint32_t)(hash ^ hash >> 32);
}

static struct mw_segment_stack *stack_at(uint32_t number)
{
    return (struct mw_segment_stack *)(void *)&mw_store.stacks[number];
}

static bool is_same(const struct mw_segment_stack *stack, uint32_t hash, const uint64_t *frames, unsigned depth,
                    uint16_t flags)
{
    return stack->hash == hash && stack->depth == depth && stack->flags == flags &&
           memcmp(stack->frames, frames, depth * sizeof *frames) == 0;
}

static uint32_t find_in_chain(uint32_t first, uint32_t hash, const uint64_t *frames, unsigned depth, uint16_t flags)
{
    unsigned steps = 0;
    for (uint32_t number = first; number && steps < LONGEST_CHAIN; number = stack_at(number)->next, steps++)
        if (is_same(stack_at(number), hash, frames, depth, flags))
            return number;
    return 0;
}

/* Room for a stack, at the end of the section. */
static uint32_t claim(unsigned depth)
{
    uint64_t words = MW_SEGMENT_STACK_WORDS(depth);
    uint64_t *used = &mw_store.header->stacks_used;
    uint64_t number = __atomic_load_n(used, __ATOMIC_RELAXED);
    do {
        if (number + words > mw_store.stacks_capacity ||
            !mw_store_ready(&mw_store.stacks[number], words * sizeof *mw_store.stacks))
            return 0;
    } while (!__atomic_compare_exchange_n(used, &number, number + words, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return (uint32_t)number;
}

/* Publishes it in front of its chain: what `next` names is older, so that a reader's way has an end. */
static uint32_t publish(uint32_t number, uint32_t *bucket, uint32_t first)
{
    struct mw_segment_stack *stack = stack_at(number);
    do {
        if (first > number) { /* one that was claimed later stands there already: its place in the order is taken */
            uint32_t same = find_in_chain(first, stack->hash, stack->frames, stack->depth, stack->flags);
            if (same)
                return same;
            return 0;
        }
        stack->next = first;
    } while (!__atomic_compare_exchange_n(bucket, &first, number, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE));
    return number;
}

static uint32_t intern(const uint64_t *frames, unsigned depth, uint16_t flags)
{
    uint32_t hash = hash_of(frames, depth);
    if (!mw_store.buckets_capacity)
        return 0;
    uint32_t *bucket = &mw_store.buckets[hash & (mw_store.buckets_capacity - 1)]; /* a power of two */
    if (!mw_store_is_ready(bucket) && !mw_store_ready(bucket, sizeof *bucket))
        return 0;
    for (unsigned tries = 0; tries < 3; tries++) {
        uint32_t first = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
        uint32_t number = find_in_chain(first, hash, frames, depth, flags);
        if (number)
            return number;
        number = claim(depth);
        if (!number)
            return 0;
        struct mw_segment_stack *stack = stack_at(number);
        stack->hash = hash;
        stack->depth = (uint16_t)depth; /* before the flags: one of the two is not 0 once it is known (next_stack) */
        __atomic_store_n(&stack->flags, depth ? flags : flags | MW_SEGMENT_STACK_TRUNCATED, __ATOMIC_RELEASE);
        memcpy(stack->frames, frames, depth * sizeof *frames);
        mw_modules_note(frames, depth);
        number = publish(number, bucket, first);
        if (number)
            return number;
    }
    return 0;
}

/* Of the thread whose slot it is; NULL where stacks are looked at seldom. */
static struct memory *memory_of_thread(void)
{
    uint32_t index = mw_threads_index();
    return memories && index && !memories[index].is_busy ? &memories[index] : NULL;
}

static uint32_t intern_cut(const uint64_t *frames, unsigned depth, bool truncated, uint16_t flags)
{
    return intern(frames, depth, truncated ? flags | MW_SEGMENT_STACK_TRUNCATED : flags);
}

/* Not known yet, or not any more. */
static __attribute__((noinline)) uint32_t learn_stack(struct memory *memory, uint64_t key)
{
    uint64_t frames[MW_UNWIND_DEPTH];
    bool truncated;
    unsigned depth = mw_unwind_remembered(&memory->unwinding, frames, &truncated);
    uint32_t number = intern_cut(frames, depth, truncated, 0);
    memory->known[key % KNOWN_STACKS] = (struct known_stack){key, number};
    return number;
}

static inline __attribute__((always_inline)) uint32_t known_stack(struct memory *memory)
{
    memory->is_busy = true;
    uint64_t key = mw_unwind_again(&memory->unwinding);
    const struct known_stack *known = &memory->known[key % KNOWN_STACKS];
    uint32_t number = known->key == key && known->number ? known->number : learn_stack(memory, key);
    memory->is_busy = false;
    return number;
}

static __attribute__((noinline)) uint32_t unknown_stack(uint16_t flags)
{
    uint64_t frames[MW_SEGMENT_DEPTH];
    bool truncated;
    unsigned depth = mw_unwind(frames, MW_SEGMENT_DEPTH, &truncated);
    return intern_cut(frames, depth, truncated, flags);
}

/* The calling thread's. 0: no room. */
static inline __attribute__((always_inline)) uint32_t current_stack(uint16_t flags)
{
    struct memory *memory = flags ? NULL : memory_of_thread();
    return memory ? known_stack(memory) : unknown_stack(flags);
}

uint32_t mw_profile_current_stack(void)
{
    return unknown_stack(0);
}

/* To a counter of a stack. */
static inline void add_to(uint64_t *counter, uint64_t value, bool is_alone)
{
    if (is_alone)
        mw_counter_add(counter, value);
    else
        mw_counter_add_shared(counter, value);
}

static inline void add(uint32_t number, uint64_t objects, uint64_t bytes)
{
    struct mw_segment_stack *stack = stack_at(number);
    bool is_alone = mw_threads_is_alone();
    add_to(&stack->allocated_objects, objects, is_alone);
    add_to(&stack->allocated_bytes, bytes, is_alone);
    add_to(&stack->allocated_samples, 1, is_alone);
}

static inline void take_away(uint32_t number, uint64_t objects, uint64_t bytes)
{
    struct mw_segment_stack *stack = stack_at(number);
    bool is_alone = mw_threads_is_alone();
    add_to(&stack->freed_objects, objects, is_alone);
    add_to(&stack->freed_bytes, bytes, is_alone);
    add_to(&stack->freed_samples, 1, is_alone);
}

/* ---- samples ---- */

static struct mw_segment_sample *sample_at(uint64_t index)
{
    return &mw_store.samples[index];
}

static uint64_t list_word(uint64_t old, uint64_t first)
{
    return ((old >> 32) + 1) << 32 | first;
}

static bool take_sample(uint64_t *index)
{
    uint64_t *list = &mw_store.header->samples_free;
    uint64_t old = __atomic_load_n(list, __ATOMIC_ACQUIRE);
    while ((uint32_t)old) {
        uint32_t next = __atomic_load_n(&sample_at((uint32_t)old - 1)->next_free, __ATOMIC_RELAXED);
        if (__atomic_compare_exchange_n(list, &old, list_word(old, next), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            *index = (uint32_t)old - 1;
            return true;
        }
    }
    uint64_t *used = &mw_store.header->samples_used;
    *index = __atomic_load_n(used, __ATOMIC_RELAXED);
    do {
        if (*index >= mw_store.samples_capacity || !mw_store_ready(sample_at(*index), sizeof *mw_store.samples))
            return false;
    } while (!__atomic_compare_exchange_n(used, index, *index + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void give_sample(uint64_t index)
{
    uint64_t *list = &mw_store.header->samples_free;
    uint64_t old = __atomic_load_n(list, __ATOMIC_RELAXED);
    do
        __atomic_store_n(&sample_at(index)->next_free, (uint32_t)old, __ATOMIC_RELAXED);
    while (
        !__atomic_compare_exchange_n(list, &old, list_word(old, index + 1), false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

/* Bytes that a block of that size stands for. */
static uint64_t scale(uint64_t bytes, uint64_t objects)
{
    return (uint64_t)(((unsigned __int128)bytes * objects + MW_SEGMENT_OBJECT / 2) / MW_SEGMENT_OBJECT);
}

static uint32_t drop(uint64_t bytes, bool had_stack)
{
    mw_counter_add_shared(had_stack ? &mw_store.header->dropped_samples : &mw_store.header->dropped_stacks, 1);
    mw_counter_add_shared(&mw_store.header->dropped_bytes, bytes);
    return 0;
}

static uint32_t note_sample(const void *block, uint64_t usable_bytes, uint64_t objects, uint32_t stack)
{
    uint64_t index;
    if (!take_sample(&index))
        return drop(scale(usable_bytes, objects), true);
    struct mw_segment_sample *sample = sample_at(index);
    sample->bytes = usable_bytes;
    sample->objects = objects;
    sample->stack = stack;
    sample->born_ns = mw_clock_ns(CLOCK_MONOTONIC_COARSE); /* to a few ms, without a look at the hardware's clock */
    add(stack, objects, scale(usable_bytes, objects));
    __atomic_store_n(&sample->address, (uint64_t)(uintptr_t)block, __ATOMIC_RELEASE);
    return (uint32_t)index + 1;
}

/* Is anything noted? A process that was forked past libc gets a segment of its own first. */
static inline __attribute__((always_inline)) bool is_on(void)
{
    if (UNLIKELY(!__atomic_load_n(&is_started, __ATOMIC_ACQUIRE)) || (!is_exact && mw_sampler_mean() == 0))
        return false;
    if (UNLIKELY(mw_store_is_anothers()))
        mw_store_after_fork();
    return true;
}

uint32_t mw_profile_allocated_exactly(uint64_t own_bytes)
{
    if (UNLIKELY(!is_on()))
        return 0;
    uint32_t stack = current_stack(0);
    if (UNLIKELY(!stack))
        return drop(own_bytes, false);
    add(stack, MW_SEGMENT_OBJECT, own_bytes);
    return stack;
}

uint32_t mw_profile_allocated(const void *block, uint64_t usable_bytes, uint64_t weight)
{
    if (is_exact)
        return mw_profile_allocated_exactly(usable_bytes);
    if (!is_on())
        return 0;
    uint64_t objects = mw_sampler_objects(weight);
    uint32_t stack = current_stack(0);
    return stack ? note_sample(block, usable_bytes, objects, stack) : drop(scale(usable_bytes, objects), false);
}

void mw_profile_freed(uint32_t number, uint64_t usable_bytes)
{
    if (is_exact) {
        take_away(number, MW_SEGMENT_OBJECT, usable_bytes);
        return;
    }
    struct mw_segment_sample *sample = sample_at(number - 1);
    uint64_t objects = sample->objects;
    uint64_t bytes = scale(sample->bytes, objects);
    uint32_t stack = sample->stack;
    __atomic_store_n(&sample->address, 0, __ATOMIC_RELEASE);
    take_away(stack, objects, bytes);
    give_sample(number - 1);
}

/* ---- mappings ---- */

uint32_t mw_profile_mapped(uint64_t bytes)
{
    if (!is_on())
        return 0;
    uint32_t stack = current_stack(MW_SEGMENT_STACK_MMAP);
    if (!stack)
        return drop(bytes, false);
    add(stack, MW_SEGMENT_OBJECT, bytes);
    return stack;
}

void mw_profile_remapped(uint32_t owner, uint64_t bytes)
{
    add(owner, MW_SEGMENT_OBJECT, bytes);
}

/* Mappings lose pieces, and neighbours become one: how many go with these bytes is known only as a share. */
void mw_profile_unmapped(uint32_t owner, uint64_t bytes)
{
    const struct mw_segment_stack *stack = stack_at(owner);
    uint64_t live_bytes = mw_counter_read(&stack->allocated_bytes) - mw_counter_read(&stack->freed_bytes);
    uint64_t live_objects = mw_counter_read(&stack->allocated_objects) - mw_counter_read(&stack->freed_objects);
    uint64_t objects = live_bytes ? (uint64_t)((unsigned __int128)live_objects * bytes / live_bytes) : 0;
    take_away(owner, objects, bytes);
}

/* ---- tails ---- */

uint8_t mw_profile_filter[1 << MW_PROFILE_FILTER_BITS];

void mw_profile_filter_add(const void *block, int change)
{
    uint8_t *place = mw_profile_filter_place(block);
    uint8_t count = __atomic_load_n(place, __ATOMIC_RELAXED);
    while (count != UINT8_MAX && !__atomic_compare_exchange_n(place, &count, (uint8_t)(count + change), false,
                                                              __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

uint32_t mw_profile_number(const void *block, uint64_t tail)
{
    uint32_t number = (uint32_t)tail;
    if (!mw_profile_is_tail(block, tail) || !number)
        return 0;
    if (is_exact)
        return number < mw_store.stacks_capacity ? number : 0;
    if (number > mw_store.samples_capacity ||
        __atomic_load_n(&sample_at(number - 1)->address, __ATOMIC_ACQUIRE) != (uint64_t)(uintptr_t)block)
        return 0;
    return number;
}

/* ---- all stacks, one behind the other; their histories ---- */

static uint32_t live_kib(const struct mw_segment_stack *stack)
{
    uint64_t freed = mw_counter_read(&stack->freed_bytes);
    uint64_t allocated = mw_counter_read(&stack->allocated_bytes);
    uint64_t kib = allocated > freed ? (allocated - freed) / 1024 : 0;
    return kib < UINT32_MAX ? (uint32_t)kib : UINT32_MAX;
}

/* Half of the points go, every second one, so that the rest lie twice as far apart. */
static void thin(uint32_t *points)
{
    for (unsigned i = 0; i < MW_SEGMENT_HISTORY / 2; i++)
        points[i] = points[2 * i + 1];
}

/* The one that lies behind this one in the section; 0: none, or this one is just being written. */
static uint64_t next_stack(uint64_t number)
{
    const struct mw_segment_stack *stack = stack_at((uint32_t)number);
    uint16_t flags = __atomic_load_n(&stack->flags, __ATOMIC_ACQUIRE);
    uint16_t depth = __atomic_load_n(&stack->depth, __ATOMIC_RELAXED);
    return depth || flags ? number + MW_SEGMENT_STACK_WORDS(depth) : 0;
}

static uint64_t stacks_used(void)
{
    return __atomic_load_n(&mw_store.header->stacks_used, __ATOMIC_ACQUIRE);
}

/* For those behind one that is being written the next time is soon enough. */
static void note_live(unsigned at, bool is_full)
{
    uint64_t used = stacks_used();
    uint64_t next;
    for (uint64_t number = MW_SEGMENT_FIRST_STACK; number < used; number = next) {
        struct mw_segment_stack *stack = stack_at((uint32_t)number);
        next = next_stack(number);
        if (!next)
            return;
        if (is_full)
            thin(stack->history_kib);
        stack->history_kib[at] = live_kib(stack);
    }
}

/* What another thread had taken room for and not begun to write: zeros, up to the next stack. They become one that
 * nobody refers to. */
static void bridge_gap(uint64_t number, uint64_t used)
{
    uint64_t end = number + MW_SEGMENT_STACK_WORDS(0);
    while (end < used && !mw_store.stacks[end])
        end++;
    struct mw_segment_stack *stack = stack_at((uint32_t)number);
    stack->depth = (uint16_t)(end - number - MW_SEGMENT_STACK_WORDS(0));
    stack->flags |= MW_SEGMENT_STACK_TRUNCATED;
}

void mw_profile_after_fork(void)
{
    uint64_t used = stacks_used();
    for (uint64_t number = MW_SEGMENT_FIRST_STACK; number < used; number = next_stack(number))
        if (!next_stack(number))
            bridge_gap(number, used);
}

void mw_profile_note_history(uint64_t now_ns)
{
    struct mw_segment_header *header = mw_store.header;
    bool is_full = header->history_used == MW_SEGMENT_HISTORY;
    mw_counter_add_shared(&header->history_sequence, 1);
    if (is_full) {
        for (unsigned i = 0; i < MW_SEGMENT_HISTORY / 2; i++)
            header->history_ns[i] = header->history_ns[2 * i + 1];
        header->history_used = MW_SEGMENT_HISTORY / 2;
    }
    note_live((unsigned)header->history_used, is_full);
    header->history_ns[header->history_used] = now_ns;
    header->history_used++;
    mw_counter_add_shared(&header->history_sequence, 1);
}
