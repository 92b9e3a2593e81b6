/* SPDX-License-Identifier: MIT */
#include "count.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "count_exact.h"
#include "good_size.h"
#include "headroom.h"
#include "heap_profile.h"
#include "real.h"
#include "trim.h"

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The largest weight that a fast path may count: that of the last class. */
#define HEADER_GRANT (16 * (MW_ALLOCATED_CLASSES - 1))
#define USABLE_GRANT (8 * (MW_ALLOCATED_CLASSES - 1))

/* Blocks of these classes on are freed the slow way, for they may be sampled ones: from some 1 KiB on. glibc's tcache
 * ends right there: where it holds nothing a free costs more anyway, and sampled blocks of just that size are still
 * cheap to have. */
#define HEADER_TAIL_CLASS 65
#define USABLE_TAIL_CLASS 129
#define HEADER_TAIL_BYTES (16 * HEADER_TAIL_CLASS - 8) /* the least usable size of such a block */
#define USABLE_TAIL_BYTES (8 * USABLE_TAIL_CLASS)

uintptr_t mw_count_header_from = UINTPTR_MAX;

/* Classes from which on a block may have a tail (heap_profile.h): beyond all of them where nothing is sampled. */
static uint64_t tails_from = UINT64_MAX;
static bool is_exact;

/* The header's size has its own 8 bytes in it; a mapped chunk keeps another 8. */
static uint64_t usable_by_header(uint64_t header)
{
    return (header & ~MW_HEADER_FLAGS) - (header & MW_HEADER_IS_MAPPED ? 16 : 8);
}

static struct mw_seen see_elsewhere(uint64_t usable_bytes)
{
    uint64_t class = is_exact ? UINT64_MAX : mw_count_usable_class(usable_bytes);
    return (struct mw_seen){.class = class, .usable_bytes = usable_bytes};
}

static inline __attribute__((always_inline)) struct mw_seen look_at_size(void *block)
{
    if (mw_count_has_header(block)) {
        uint64_t header = mw_header(block);
        /* The class of a mapped chunk does not tell its usable size; in the exact mode it tells the program's. */
        uint64_t class = header & MW_HEADER_IS_MAPPED || is_exact ? UINT64_MAX : mw_header_class(header);
        return (struct mw_seen){.class = class, .usable_bytes = usable_by_header(header)};
    }
    return see_elsewhere(mw_real_malloc_usable_size(block));
}

static void *tail_of(void *block, uint64_t whole_bytes)
{
    return (char *)block + whole_bytes - MW_PROFILE_TAIL_BYTES;
}

/* Of a block whose size has been looked at. */
static struct mw_seen look_for_tail(void *block, struct mw_seen seen)
{
    uint64_t tail;
    if (LIKELY(seen.class < tails_from) || seen.usable_bytes < sizeof tail ||
        (!is_exact && LIKELY(!mw_profile_may_be_noted(block))))
        return seen;
    memcpy(&tail, tail_of(block, seen.usable_bytes), sizeof tail);
    seen.number = mw_profile_number(block, tail);
    if (UNLIKELY(seen.number)) {
        seen.class = UINT64_MAX;
        seen.usable_bytes -= MW_PROFILE_TAIL_BYTES;
    }
    return seen;
}

struct mw_seen mw_count_look(void *block)
{
    return look_for_tail(block, look_at_size(block));
}

/* number 0 takes a tail off that was there. */
static void put_tail(void *block, uint64_t whole_bytes, uint32_t number)
{
    if (!is_exact)
        mw_profile_filter_add(block, number ? 1 : -1);
    uint64_t tail = mw_profile_tail(block, number);
    memcpy(tail_of(block, whole_bytes), &tail, sizeof tail);
}

/* ---- sampled blocks ---- */

/* Has the block room for a tail behind what the program asked for, and is it looked at when it is freed? */
static bool has_room(struct mw_seen seen, size_t size)
{
    return seen.class >= tails_from && seen.usable_bytes >= size && seen.usable_bytes - size >= MW_PROFILE_TAIL_BYTES;
}

/* The same block once more, larger; the old one is gone then. NULL: there is none, and the old one stays. */
static void *allocate_roomy(void *block, struct mw_asked asked)
{
    size_t least = mw_count_has_header(block) ? HEADER_TAIL_BYTES : USABLE_TAIL_BYTES;
    size_t size;
    void *roomy;
    if (__builtin_add_overflow(asked.size, MW_PROFILE_TAIL_BYTES, &size))
        return NULL;
    if (!is_exact && size < least)
        size = least;
    bool is_mapped =
        mw_count_has_header(block) && mw_header(block) & MW_HEADER_IS_MAPPED; /* the kernel moves its pages */
    if (asked.how == MW_ASKED_KEPT || (is_mapped && asked.how < MW_ASKED_KEPT))
        return mw_real_realloc(block, size);
    if (asked.how == MW_ASKED_PLAIN)
        roomy = mw_real_malloc(size);
    else if (asked.how == MW_ASKED_ZEROED)
        roomy = mw_real_calloc(1, size);
    else
        roomy = mw_real_memalign(asked.how, size);
    if (roomy)
        mw_real_free(block);
    return roomy;
}

/* Notes the block in the profile, if there is room for that. Returns where it is now. */
static inline __attribute__((always_inline)) void *sample(void *block, struct mw_asked asked, struct mw_seen *seen,
                                                          uint64_t weight)
{
    uint64_t unsampled_bytes = seen->usable_bytes;
    int saved = errno;
    if (tails_from == UINT64_MAX)
        return block;
    if (!has_room(*seen, asked.size)) {
        void *roomy = allocate_roomy(block, asked);
        errno = saved;
        if (!roomy)
            return block;
        block = roomy;
        *seen = look_at_size(block);
        if (!has_room(*seen, asked.size))
            return block;
    }
    uint64_t own_bytes = seen->usable_bytes - MW_PROFILE_TAIL_BYTES;
    uint32_t number = mw_profile_allocated(block, is_exact ? own_bytes : unsampled_bytes, weight);
    if (number || is_exact) /* in the exact mode a tail is looked for in every block */
        put_tail(block, seen->usable_bytes, number);
    if (number)
        *seen = (struct mw_seen){.class = UINT64_MAX, .usable_bytes = own_bytes, .number = number};
    return block;
}

/* ---- counting ---- */

/* The block's weight has been taken from the countdown, which may have fallen below 0. */
static inline __attribute__((always_inline)) void *count_allocated(void *block, struct mw_asked asked,
                                                                   struct mw_seen seen, uint64_t weight, bool is_below)
{
    mw_headroom_take(seen.usable_bytes < HEADER_GRANT && !is_exact ? HEADER_GRANT : seen.usable_bytes);
    if (is_exact && LIKELY(has_room(seen, asked.size)) && LIKELY(mw_exact_allocated(block, seen.usable_bytes))) {
        mw_trim_serve();
        return block;
    }
    if (is_below && !mw_threads_renew_grant(mw_thread.counters) && mw_threads_is_sample_due(weight))
        block = sample(block, asked, &seen, weight);
    mw_threads_allocated_slow(seen.class, seen.usable_bytes);
    mw_trim_serve();
    return block;
}

/* Apart, so that what follows needs no stack. */
static __attribute__((noinline)) void *count_allocated_slowly(void *block, struct mw_asked asked)
{
    if (LIKELY(!mw_bootstrap_owns(block)))
        return count_allocated(block, asked, look_at_size(block), mw_header(block), true);
    /* give back what its header took */
    __atomic_fetch_add(&mw_thread.counters->countdown, (int64_t)mw_header(block), __ATOMIC_RELAXED);
    return block;
}

void *mw_count_allocated_slow(void *block, struct mw_asked asked)
{
    if (is_exact)
        return count_allocated_slowly(block, asked);
    struct mw_counters *counters = mw_thread.counters;
    uint64_t header = mw_header(block);
    bool is_common = mw_header_class(header) < MW_ALLOCATED_CLASSES && !(header & MW_HEADER_IS_MAPPED);
    if (UNLIKELY(!is_common) || UNLIKELY(!mw_threads_renew_grant(counters)))
        return count_allocated_slowly(block, asked);
    mw_counter_add(&counters->allocated[mw_header_class(header)], 1);
    mw_headroom_take(HEADER_GRANT);
    mw_trim_serve();
    return block;
}

/* Usable sizes by request, in steps of 8 bytes, of allocators that promise them (good_size.h); 0: not known yet. */
#define KNOWN_REQUEST_BYTES 1024
static uint16_t known_usable[KNOWN_REQUEST_BYTES / 8 + 1];

static uint16_t *known_place(struct mw_asked asked)
{
    bool is_plain = asked.how == MW_ASKED_PLAIN || asked.how == MW_ASKED_ZEROED;
    return is_plain && asked.size <= KNOWN_REQUEST_BYTES ? &known_usable[(asked.size + 7) / 8] : NULL;
}

/* weight: that has been taken from the countdown; 0: none yet. */
static __attribute__((noinline)) void *count_allocated_elsewhere(void *block, struct mw_asked asked, uint64_t weight)
{
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return block;
    struct mw_seen seen = look_at_size(block);
    uint16_t *known = known_place(asked);
    if (known && !*known && seen.class < MW_ALLOCATED_CLASSES && mw_good_size(asked.size) == seen.usable_bytes)
        *known = (uint16_t)seen.usable_bytes;
    bool is_below = weight || mw_counter_take(&mw_thread.counters->countdown, seen.usable_bytes);
    return count_allocated(block, asked, seen, seen.usable_bytes, is_below);
}

void *mw_count_allocated_other(void *block, struct mw_asked asked)
{
    const uint16_t *known = known_place(asked);
    if (UNLIKELY(!block) || UNLIKELY(!known) || UNLIKELY(!*known))
        return count_allocated_elsewhere(block, asked, 0);
    struct mw_counters *counters = mw_thread.counters;
    if (UNLIKELY(mw_counter_take(&counters->countdown, *known)))
        return count_allocated_elsewhere(block, asked, *known);
    mw_counter_add(&counters->allocated[*known >> 3], 1);
    return block;
}

static void count_freed(struct mw_seen seen)
{
    struct mw_counters *counters = mw_thread.counters;
    if (LIKELY(seen.class < counters->freed_classes))
        mw_counter_add(&counters->freed[seen.class], 1);
    else
        mw_threads_freed_slow(seen.class, seen.usable_bytes);
    if (UNLIKELY(seen.number))
        mw_profile_freed(seen.number, seen.usable_bytes);
}

/* Looks at a block that is about to be gone, and takes its tail off: whoever has the memory next must not find it. */
static struct mw_seen take_off(void *block, struct mw_seen size)
{
    struct mw_seen seen = look_for_tail(block, size);
    if (UNLIKELY(seen.number))
        put_tail(block, seen.usable_bytes + MW_PROFILE_TAIL_BYTES, 0);
    return seen;
}

/* The common case: a block of some KiB, which is no sampled one. */
static inline bool count_freed_plain(void *block)
{
    uint64_t header = mw_header(block);
    uint64_t class = mw_header_class(header);
    struct mw_counters *counters = mw_thread.counters;
    if (class >= MW_FREED_CLASSES || class < tails_from || !counters->freed_classes || header & MW_HEADER_IS_MAPPED ||
        mw_profile_may_be_noted(block))
        return false;
    mw_counter_add(&counters->freed[class], 1);
    return true;
}

static __attribute__((noinline)) enum mw_freed count_freed_slowly(void *block, struct mw_seen size)
{
    if (is_exact && LIKELY(mw_exact_freed(block, size.usable_bytes))) {
        mw_trim_serve();
        return MW_FREED_SAMPLED;
    }
    struct mw_seen seen = take_off(block, size);
    count_freed(seen);
    mw_trim_serve();
    return seen.number ? MW_FREED_SAMPLED : MW_FREED_BLOCK;
}

enum mw_freed mw_count_freed_other(void *block)
{
    if (mw_count_has_header(block) && LIKELY(count_freed_plain(block)))
        return MW_FREED_BLOCK;
    if (UNLIKELY(!block) || UNLIKELY(mw_bootstrap_owns(block)))
        return MW_FREED_NOTHING;
    struct mw_seen size = look_at_size(block);
    struct mw_counters *counters = mw_thread.counters;
    if (UNLIKELY(size.class >= counters->freed_classes))
        return count_freed_slowly(block, size);
    mw_counter_add(&counters->freed[size.class], 1);
    return MW_FREED_BLOCK;
}

void mw_count_freed_elsewhere_slow(void *block, uint64_t usable_bytes)
{
    count_freed_slowly(block, see_elsewhere(usable_bytes));
}

struct mw_seen mw_count_before_resize(void *block)
{
    return take_off(block, look_at_size(block));
}

void *mw_count_resized(struct mw_seen old, void *block, void *moved, size_t size)
{
    /* NULL means that the old block lives on, but for a size of 0, where the allocator has freed it. */
    if (UNLIKELY(!moved) && size) {
        if (old.number)
            put_tail(block, old.usable_bytes + MW_PROFILE_TAIL_BYTES, old.number);
        return NULL;
    }
    count_freed(old);
    if (!moved)
        return NULL;
    struct mw_seen seen = look_at_size(moved);
    bool is_below = mw_counter_take(&mw_thread.counters->countdown, seen.usable_bytes);
    return count_allocated(moved, (struct mw_asked){size, MW_ASKED_KEPT}, seen, seen.usable_bytes, is_below);
}

/* ---- what is sampled ---- */

void mw_count_allow_samples(void)
{
    if (!mw_count_is_under_valgrind())
        tails_from = mw_count_header_from == UINTPTR_MAX ? USABLE_TAIL_CLASS : HEADER_TAIL_CLASS;
}

void mw_count_be_exact(void)
{
    if (mw_count_is_under_valgrind())
        return;
    is_exact = true;
    tails_from = 0;
    mw_exact_start();
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
bool mw_count_is_under_valgrind(void)
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

/* Is it libc's own? An allocator may export libc's name for its function too (tcmalloc does). */
static bool is_of_libc(void *function)
{
    void *known = mw_real_find("gnu_get_libc_version");
    Dl_info its;
    Dl_info libcs;
    return function == mw_real_find("__libc_malloc") && known && dladdr(function, &its) && dladdr(known, &libcs) &&
           its.dli_fbase == libcs.dli_fbase;
}

/* Is glibc's malloc right beneath us, with headers as we read them? */
static bool headers_fit(void)
{
    /* Below the sizes that are mapped: freeing one of those would move glibc's threshold for it. */
    static const size_t sizes[] = {0, 1, 24, 25, 40, 100, 520, 1000, 1032, 1033, 2000, 5000, 16000, 60000};
    if (!is_of_libc((void *)mw_real_malloc) || mw_count_is_under_valgrind())
        return false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!header_fits(sizes[i]))
            return false;
    return true;
}

void mw_count_start(void)
{
    if (headers_fit()) {
        mw_threads_measure((struct mw_measure){.scale_bytes = 16, .overhead_bytes = 8}, HEADER_GRANT,
                           HEADER_TAIL_CLASS);
        __atomic_store_n(&mw_count_header_from, 1, __ATOMIC_RELEASE);
    } else {
        mw_threads_measure((struct mw_measure){.scale_bytes = 8}, USABLE_GRANT, USABLE_TAIL_CLASS);
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
