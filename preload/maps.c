/* SPDX-License-Identifier: MIT */
#include "maps.h"

#include <linux/futex.h>

#include "heap_profile.h"
#include "ranges.h"
#include "syscall.h"
#include "threads.h"

#define LONGEST_WAIT_NS 100000000 /* then the call goes on unrecorded, rather than stand still */
#define PAGE_BYTES      4096      /* the least there is: rounding up less than the kernel does keeps the set a subset */

#define MOST_EARLY 16 /* mappings from before the allocator is known */

enum { FREE, HELD, CONTENDED };

static int lock;
static struct mw_ranges ranges = {.lost = mw_profile_unmapped};
static uint64_t mmaps;
static uint64_t munmaps;
static uint64_t drops;

static bool try_take(void)
{
    int expected = FREE;
    return __atomic_compare_exchange_n(&lock, &expected, HELD, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* A mutex on a futex (U. Drepper, "Futexes Are Tricky"), with an end to the waiting. */
static bool take(void)
{
    if (mw_thread.in_maps)
        return false; /* a signal handler has interrupted this very thread in here */
    mw_thread.in_maps = true;
    if (try_take())
        return true;
    struct timespec wait = {.tv_nsec = LONGEST_WAIT_NS};
    uint64_t give_up_ns = mw_clock_ns(CLOCK_MONOTONIC) + LONGEST_WAIT_NS;
    while (__atomic_exchange_n(&lock, CONTENDED, __ATOMIC_ACQUIRE) != FREE) {
        if (mw_clock_ns(CLOCK_MONOTONIC) >= give_up_ns) {
            mw_thread.in_maps = false;
            return false;
        }
        mw_syscall6(SYS_futex, (long)&lock, FUTEX_WAIT_PRIVATE, CONTENDED, (long)&wait, 0, 0);
    }
    return true;
}

static void give_back(void)
{
    if (__atomic_exchange_n(&lock, FREE, __ATOMIC_RELEASE) == CONTENDED)
        mw_syscall6(SYS_futex, (long)&lock, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
    mw_thread.in_maps = false;
}

static void drop(void)
{
    mw_counter_add_shared(&drops, 1);
}

static uintptr_t end_of(const void *address, size_t bytes)
{
    return ((uintptr_t)address + bytes + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1);
}

bool mw_maps_begin(void)
{
    bool begun = take();
    if (!begun)
        drop();
    return begun;
}

void mw_maps_end(bool begun)
{
    if (begun)
        give_back();
}

/* Puts a mapping into the set. Its owner has been told of it. */
static void add(const void *address, size_t bytes, uint32_t owner, bool is_data)
{
    uintptr_t start = (uintptr_t)address;
    uintptr_t end = end_of(address, bytes);
    if (mw_ranges_add(&ranges, (struct mw_range){start, end, owner, is_data}))
        return;
    drop();
    if (owner)
        mw_profile_unmapped(owner, end - start);
}

void mw_maps_mapped(const void *address, size_t bytes, bool is_data)
{
    uint64_t whole_bytes = end_of(address, bytes) - (uintptr_t)address;
    mw_counter_add_shared(&mmaps, 1);
    uint32_t owner = is_data ? mw_profile_mapped(whole_bytes) : 0; /* before the lock: it looks at the stack */
    bool begun = mw_maps_begin();
    if (begun)
        add(address, bytes, owner, is_data);
    else if (owner)
        mw_profile_unmapped(owner, whole_bytes);
    mw_maps_end(begun);
}

static struct early {
    const void *address;
    size_t bytes;
    const void *caller;
} early[MOST_EARLY];
static unsigned early_count;

void mw_maps_note_early(const void *address, size_t bytes, const void *caller)
{
    unsigned i = __atomic_fetch_add(&early_count, 1, __ATOMIC_RELAXED);
    if (i < MOST_EARLY)
        early[i] = (struct early){address, bytes, caller};
}

void mw_maps_settle_early(bool (*is_allocators)(const void *caller))
{
    bool begun = mw_maps_begin();
    for (unsigned i = 0; begun && i < early_count && i < MOST_EARLY; i++) {
        if (!is_allocators(early[i].caller))
            continue;
        mw_ranges_remove(&ranges, (uintptr_t)early[i].address, end_of(early[i].address, early[i].bytes));
        mw_counter_add_shared(&mmaps, UINT64_MAX); /* one less */
    }
    mw_maps_end(begun);
}

void mw_maps_unmapped(bool begun, const void *address, size_t bytes)
{
    mw_counter_add_shared(&munmaps, 1);
    if (begun && !mw_ranges_remove(&ranges, (uintptr_t)address, end_of(address, bytes)))
        drop();
}

void mw_maps_moved(bool begun, const void *old, size_t old_bytes, const void *address, size_t bytes)
{
    struct mw_range was = {0};
    if (!begun)
        return;
    const struct mw_range *found = mw_ranges_find(&ranges, (uintptr_t)old);
    if (found)
        was = *found;
    /* An old size of 0 asks for a second view of a shared mapping and removes nothing. */
    if (!mw_ranges_remove(&ranges, (uintptr_t)old, end_of(old, old_bytes)))
        drop();
    if (was.owner)
        mw_profile_remapped(was.owner, end_of(address, bytes) - (uintptr_t)address);
    add(address, bytes, was.owner, was.is_data);
}

void mw_maps_read(struct mw_maps_figures *out)
{
    *out = (struct mw_maps_figures){
        .bytes = mw_counter_read(&ranges.bytes),
        .data_bytes = mw_counter_read(&ranges.data_bytes),
        .mmaps = mw_counter_read(&mmaps),
        .munmaps = mw_counter_read(&munmaps),
        .drops = mw_counter_read(&drops),
    };
}

void mw_maps_before_fork(void)
{
    mw_thread.holds_maps_over_fork = mw_maps_begin();
}

void mw_maps_after_fork_in_parent(void)
{
    mw_maps_end(mw_thread.holds_maps_over_fork);
}

void mw_maps_after_fork_in_child(void)
{
    /* Where the lock was not ours the table may be half written: begin anew; the drop says that it is not exact. */
    if (!mw_thread.holds_maps_over_fork)
        ranges = (struct mw_ranges){.lost = mw_profile_unmapped};
    mw_thread.in_maps = false;
    __atomic_store_n(&lock, FREE, __ATOMIC_RELEASE);
}
