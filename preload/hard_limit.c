/* SPDX-License-Identifier: MIT */
#include "hard_limit.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <time.h>

#include "counters.h"
#include "heap_profile.h"
#include "monitor.h"
#include "pressure_level.h"
#include "real.h"
#include "record.h"
#include "syscall.h"
#include "text.h"
#include "threads.h"
#include "trim.h"
#include "units.h"

#define AGAIN_NS   UINT64_C(100000000) /* a purge in vain is not repeated sooner, but for what has been freed */
#define LONGEST_NS 50000000            /* that somebody waits for another's purge, or for the line to be printed */

bool mw_hard_limit_is_set;

static uint64_t limit_bytes;
static int64_t budget_bytes;
static uint64_t failures;
static uint64_t told_ns; /* when the last of them became an event */

/* The purge. One thread at a time; the others wait for it. */
static struct {
    uint32_t is_under_way;
    const struct mw_thread *thread;
    uint64_t done_ns;
    uint64_t freed_bytes; /* that had been freed by then */
} purge;

static struct {
    bool is_taken;
    uint32_t state;
    char text[256];
} news;
enum { NO_NEWS, NEWS, SAID };

static void wait_while(uint32_t *word, uint32_t value)
{
    const struct timespec a_moment = {.tv_nsec = LONGEST_NS};
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
        mw_syscall6(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&a_moment, 0, 0);
}

static void set_and_wake(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
}

/* Reads RSS; if there is room for so much, the budget is what is left then. */
static bool renew(size_t bytes, uint64_t *rss_bytes)
{
    *rss_bytes = mw_trim_rss_bytes();
    if (*rss_bytes > limit_bytes || bytes > limit_bytes - *rss_bytes)
        return false;
    __atomic_store_n(&budget_bytes, (int64_t)(limit_bytes - *rss_bytes - bytes), __ATOMIC_RELAXED);
    return true;
}

static uint64_t freed_bytes(void)
{
    struct mw_totals totals;
    mw_threads_sum(&totals);
    return totals.freed_bytes;
}

/* Has enough been freed since the last one, or is it long ago? */
static bool is_purge_worth_it(uint64_t missing_bytes, uint64_t now_ns)
{
    return !purge.done_ns || now_ns - purge.done_ns >= AGAIN_NS || freed_bytes() - purge.freed_bytes >= missing_bytes;
}

static void reclaim(uint64_t missing_bytes)
{
    uint32_t nobody = 0;
    if (!__atomic_compare_exchange_n(&purge.is_under_way, &nobody, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        wait_while(&purge.is_under_way, 1);
        return;
    }
    if (is_purge_worth_it(missing_bytes, mw_clock_ns(CLOCK_MONOTONIC))) {
        struct mw_trim_event event;
        __atomic_store_n(&purge.thread, &mw_thread, __ATOMIC_RELAXED);
        if (mw_trim(MW_TRIM_HARD_LIMIT, limit_bytes, &event) == 0)
            mw_monitor_tell(&event);
        __atomic_store_n(&purge.thread, NULL, __ATOMIC_RELAXED);
        purge.freed_bytes = freed_bytes();
        purge.done_ns = mw_clock_ns(CLOCK_MONOTONIC);
    }
    set_and_wake(&purge.is_under_way, 0);
}

/* Once, and so that it is printed before the program ends for it. */
static void make_news(size_t bytes, uint64_t rss_bytes)
{
    if (__atomic_exchange_n(&news.is_taken, true, __ATOMIC_ACQ_REL) || !mw_monitor_is_there())
        return;
    struct mw_text line = MW_TEXT(news.text);
    mw_text_string(&line, "an allocation of ");
    mw_text_size(&line, bytes);
    mw_text_string(&line, " has failed: it would have taken this process past its hard limit of ");
    mw_text_size(&line, limit_bytes);
    mw_text_string(&line, " (RSS ");
    mw_text_size(&line, rss_bytes);
    mw_text_string(&line, "); others like it are told in the segment alone");
    __atomic_store_n(&news.state, NEWS, __ATOMIC_RELEASE);
    mw_monitor_wake();
    wait_while(&news.state, NEWS);
}

static void tell(size_t bytes, uint64_t rss_bytes)
{
    uint64_t count = __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t before_ns = __atomic_load_n(&told_ns, __ATOMIC_RELAXED);
    mw_pressure_level_hit_hard_limit();
    if (before_ns && now_ns - before_ns < AGAIN_NS)
        return;
    __atomic_store_n(&told_ns, now_ns, __ATOMIC_RELAXED);
    const uint64_t values[] = {bytes, rss_bytes, limit_bytes, mw_profile_current_stack(), count};
    mw_record_event(MW_SEGMENT_HARD_LIMIT, (uint32_t)mw_syscall6(SYS_gettid, 0, 0, 0, 0, 0, 0), values,
                    sizeof values / sizeof values[0]);
    make_news(bytes, rss_bytes);
}

/* The budget is used up. */
static __attribute__((noinline)) bool admits_after_a_look(size_t bytes)
{
    uint64_t rss_bytes;
    if (__atomic_load_n(&purge.thread, __ATOMIC_RELAXED) == &mw_thread || mw_thread.resolving)
        return true; /* what the purge, or the search for a function, needs itself */
    if (renew(bytes, &rss_bytes))
        return true;
    if (bytes < limit_bytes) { /* no purge makes room for more */
        reclaim(rss_bytes + bytes - limit_bytes);
        if (renew(bytes, &rss_bytes))
            return true;
    }
    tell(bytes, rss_bytes);
    return false;
}

bool mw_hard_limit_admits(size_t bytes)
{
    if (bytes > INT64_MAX / 2)
        return true; /* the allocator's to refuse */
    if (__atomic_sub_fetch(&budget_bytes, (int64_t)bytes, __ATOMIC_RELAXED) >= 0)
        return true;
    int saved = errno;
    bool is_admitted = admits_after_a_look(bytes);
    errno = saved;
    return is_admitted;
}

bool mw_hard_limit_has_news(void)
{
    return __atomic_load_n(&news.state, __ATOMIC_ACQUIRE) == NEWS;
}

const char *mw_hard_limit_news(void)
{
    return mw_hard_limit_has_news() ? news.text : NULL;
}

void mw_hard_limit_has_said(void)
{
    set_and_wake(&news.state, SAID);
}

void mw_hard_limit_after_fork(void)
{
    purge.is_under_way = 0;
    purge.thread = NULL;
    budget_bytes = 0;
}

/* ---- what stands before the functions beneath ---- */

static void *(*unchecked_malloc)(size_t size);
static void *(*unchecked_calloc)(size_t count, size_t size);
static void *(*unchecked_realloc)(void *block, size_t size);
static void *(*unchecked_memalign)(size_t alignment, size_t size);
static void *(*unchecked_aligned_alloc)(size_t alignment, size_t size);
static int (*unchecked_posix_memalign)(void **out, size_t alignment, size_t size);
static void *(*unchecked_valloc)(size_t size);
static void *(*unchecked_pvalloc)(size_t size);

static void *refuse(void)
{
    errno = ENOMEM;
    return NULL;
}

static void *checked_malloc(size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_malloc(size) : refuse();
}

static void *checked_calloc(size_t count, size_t size)
{
    size_t bytes;
    bool is_any = !__builtin_mul_overflow(count, size, &bytes);
    return !is_any || mw_hard_limit_admits(bytes) ? unchecked_calloc(count, size) : refuse();
}

/* Only what it grows by: where the block has to move, the old one goes. */
static void *checked_realloc(void *block, size_t size)
{
    size_t before = block ? mw_real_malloc_usable_size(block) : 0;
    return size <= before || mw_hard_limit_admits(size - before) ? unchecked_realloc(block, size) : refuse();
}

static void *checked_memalign(size_t alignment, size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_memalign(alignment, size) : refuse();
}

static void *checked_aligned_alloc(size_t alignment, size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_aligned_alloc(alignment, size) : refuse();
}

static int checked_posix_memalign(void **out, size_t alignment, size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_posix_memalign(out, alignment, size) : ENOMEM;
}

static void *checked_valloc(size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_valloc(size) : refuse();
}

static void *checked_pvalloc(size_t size)
{
    return mw_hard_limit_admits(size) ? unchecked_pvalloc(size) : refuse();
}

void mw_hard_limit_start(uint64_t limit)
{
    if (!limit)
        return;
    limit_bytes = limit < INT64_MAX / 2 ? limit : INT64_MAX / 2;
    mw_hard_limit_is_set = true;
#define CHECK(name)                                                                                                    \
    do {                                                                                                               \
        unchecked_##name = mw_real_##name;                                                                             \
        mw_real_##name = checked_##name;                                                                               \
    } while (0)
    CHECK(malloc);
    CHECK(calloc);
    CHECK(realloc);
    CHECK(memalign);
    CHECK(aligned_alloc);
    CHECK(posix_memalign);
    CHECK(valloc);
    CHECK(pvalloc);
#undef CHECK
}
