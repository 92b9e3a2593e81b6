/* SPDX-License-Identifier: MIT */
#include "count.h"

#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "real.h"
#include "trim.h"

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The largest weight that a fast path may count: that of the last class. */
#define HEADER_GRANT (16 * (MW_ALLOCATED_CLASSES - 1))
#define USABLE_GRANT (8 * (MW_ALLOCATED_CLASSES - 1))

uintptr_t mw_count_header_from = UINTPTR_MAX;

/* The header's size has its own 8 bytes in it; a mapped chunk keeps another 8. */
static uint64_t usable_by_header(uint64_t header)
{
    return (header & ~MW_HEADER_FLAGS) - (header & MW_HEADER_IS_MAPPED ? 16 : 8);
}

/* Common allocators' sizes are multiples of 8; what is not gets a class that no table has. */
static uint64_t class_by_usable(uint64_t usable_bytes)
{
    return usable_bytes >> 3 | usable_bytes << 61;
}

static bool has_header(const void *block)
{
    return (uintptr_t)block >= mw_count_header_from;
}

struct mw_seen mw_count_look(void *block)
{
    if (has_header(block)) {
        uint64_t header = mw_header(block);
        /* The class of a mapped chunk does not tell its usable size. */
        uint64_t class = header & MW_HEADER_IS_MAPPED ? UINT64_MAX : mw_header_class(header);
        return (struct mw_seen){.class = class, .usable_bytes = usable_by_header(header)};
    }
    uint64_t usable_bytes = mw_real_malloc_usable_size(block);
    return (struct mw_seen){.class = class_by_usable(usable_bytes), .usable_bytes = usable_bytes};
}

/* The block's weight has been taken from the countdown, which may have fallen below 0. */
static void count_allocated(struct mw_counters *counters, struct mw_seen seen, bool is_below)
{
    if (is_below && !mw_threads_renew_grant(counters))
        mw_threads_allocated_slow(seen.class, seen.usable_bytes);
    else if (LIKELY(seen.class < MW_ALLOCATED_CLASSES))
        mw_counter_add(&counters->allocated[seen.class], 1);
    else
        mw_others_count(&counters->allocated_others, seen.usable_bytes, false);
    mw_trim_serve();
}

void *mw_count_allocated_slow(void *block)
{
    if (UNLIKELY(mw_bootstrap_owns(block))) /* give back what its header took */
        __atomic_fetch_add(&mw_thread.counters->countdown, (int64_t)mw_header(block), __ATOMIC_RELAXED);
    else
        count_allocated(mw_thread.counters, mw_count_look(block), true);
    return block;
}

void *mw_count_allocated_other(void *block)
{
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return block;
    struct mw_seen seen = mw_count_look(block);
    struct mw_counters *counters = mw_thread.counters;
    bool is_below = mw_counter_take(&counters->countdown, seen.usable_bytes);
    if (LIKELY(!is_below) && LIKELY(seen.class < MW_ALLOCATED_CLASSES))
        mw_counter_add(&counters->allocated[seen.class], 1);
    else
        count_allocated(counters, seen, is_below);
    return block;
}

static void count_freed(struct mw_seen seen)
{
    struct mw_counters *counters = mw_thread.counters;
    if (LIKELY(seen.class < counters->freed_classes))
        mw_counter_add(&counters->freed[seen.class], 1);
    else
        mw_threads_freed_slow(seen.class, seen.usable_bytes);
}

bool mw_count_freed_other(void *block)
{
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return false;
    count_freed(mw_count_look(block));
    mw_trim_serve();
    return true;
}

void mw_count_resized(struct mw_seen old, void *moved)
{
    count_freed(old);
    if (!moved)
        return;
    struct mw_seen seen = mw_count_look(moved);
    struct mw_counters *counters = mw_thread.counters;
    count_allocated(counters, seen, mw_counter_take(&counters->countdown, seen.usable_bytes));
}

/* ---- which way ---- */

/* Does the header of a block of that size say what malloc_usable_size says? */
static bool header_fits(size_t size)
{
    void *block = mw_real_malloc(size);
    if (!block)
        return false;
    uint64_t header = mw_header(block);
    bool same = !(header & MW_HEADER_IS_MAPPED) && usable_by_header(header) == mw_real_malloc_usable_size(block);
    mw_real_free(block);
    return same;
}

/* Those of valgrind's tools that stand in for malloc; it puts them there. They would call the look a stray read. */
static bool is_under_valgrind(void)
{
    static const char *const tools[] = {"memcheck", "dhat", "massif", "helgrind", "drd"};
    const char *preloaded = getenv("LD_PRELOAD");
    const char *valgrind = preloaded ? strstr(preloaded, "/vgpreload_") : NULL;
    for (; valgrind; valgrind = strstr(valgrind + 1, "/vgpreload_"))
        for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++)
            if (strncmp(valgrind + strlen("/vgpreload_"), tools[i], strlen(tools[i])) == 0)
                return true;
    return false;
}

/* Is glibc's malloc right beneath us, with headers as we read them? */
static bool headers_fit(void)
{
    /* Below the sizes that are mapped: freeing one of those would move glibc's threshold for it. */
    static const size_t sizes[] = {0, 1, 24, 25, 40, 100, 520, 1000, 1032, 1033, 2000, 5000, 16000, 60000};
    if ((void *)mw_real_malloc != mw_real_find("__libc_malloc") || is_under_valgrind())
        return false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!header_fits(sizes[i]))
            return false;
    return true;
}

void mw_count_start(void)
{
    if (headers_fit()) {
        mw_threads_measure((struct mw_measure){.scale_bytes = 16, .overhead_bytes = 8}, HEADER_GRANT);
        __atomic_store_n(&mw_count_header_from, 1, __ATOMIC_RELEASE);
    } else {
        mw_threads_measure((struct mw_measure){.scale_bytes = 8}, USABLE_GRANT);
    }
}

void mw_count_mapping_threshold(size_t threshold_bytes)
{
    if (threshold_bytes <= HEADER_GRANT)
        mw_threads_lower_grant(4095);
}

void mw_count_read_environment(char *const *environment)
{
    for (; environment && *environment; environment++)
        if (strncmp(*environment, "MALLOC_MMAP_THRESHOLD_=", 23) == 0 ||
            (strncmp(*environment, "GLIBC_TUNABLES=", 15) == 0 && strstr(*environment, "mmap_threshold")))
            mw_count_mapping_threshold(0); /* whatever it says: such programs are rare, and the price is small */
}
