/* SPDX-License-Identifier: MIT */
#include "trim.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <unistd.h>

#include "counters.h"
#include "fileio.h"
#include "monitor.h"
#include "real.h"
#include "reclaimer.h"
#include "record.h"
#include "syscall.h"
#include "threads.h"

#define LONGEST_WAIT_NS 50000000 /* that an allocation is held up, at a time */

static struct mw_allocators allocators; /* written once, at the start */
static uint64_t started_ns;

static struct {
    uint64_t count;
    uint64_t by_reason[MW_TRIM_REASON_COUNT];
    uint64_t last_unix_ns;
    uint64_t total_ns;
    uint64_t cpu_ns;
    uint64_t released_bytes;
    uint64_t pause_ns[MEMWATCH_PAUSES];
} account;

/* What the allocators said after the last trim, each in its place: first the one beneath us. */
static struct memwatch_allocator told[MW_ALLOCATORS_AT_ONCE];

static void *find_beside(const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);
    return mw_real_is_allocators(found) ? NULL : found;
}

void mw_trim_start(void)
{
    started_ns = mw_clock_ns(CLOCK_MONOTONIC);
    mw_allocators_find(&allocators, mw_real_find_allocators, find_beside);
    mw_real_forget_error();
}

const struct mw_allocator *mw_trim_beneath(void)
{
    return &allocators.beneath;
}

static unsigned choose(const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE])
{
    struct mw_totals totals;
    mw_threads_sum(&totals);
    return mw_allocators_choose(&allocators, totals.allocated_objects > 0, chosen);
}

/* The second field of /proc/self/statm, in pages. */
uint64_t mw_trim_rss_bytes(void)
{
    char text[128];
    uint64_t pages = 0;
    if (mw_file_read_whole("/proc/self/statm", text, sizeof text) <= 0)
        return 0;
    const char *s = text;
    while (*s && *s != ' ')
        s++;
    for (s += *s == ' '; *s >= '0' && *s <= '9'; s++)
        pages = pages * 10 + (uint64_t)(*s - '0');
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const struct mw_allocator *allocator_at(unsigned place)
{
    return place ? &allocators.beside : &allocators.beneath;
}

/* Two threads may have trimmed at once: each figure is whole, and they may be of the one and of the other. */
static void keep_figures(const struct mw_allocator *allocator, uint64_t now_unix_ns)
{
    struct memwatch_allocator *kept = &told[allocator == allocator_at(1)];
    struct memwatch_allocator now;
    mw_allocator_read(allocator, &now);
#define STORE(Name, help) __atomic_store_n(&kept->Name, now.Name, __ATOMIC_RELAXED);
    MEMWATCH_ALLOCATOR_FIGURES(STORE)
#undef STORE
    __atomic_store_n(&kept->LastTrim, now_unix_ns, __ATOMIC_RELEASE);
}

static void read_figures(struct memwatch_allocator out[MW_ALLOCATORS_AT_ONCE])
{
    for (unsigned i = 0; i < MW_ALLOCATORS_AT_ONCE; i++) {
        out[i] = (struct memwatch_allocator){.LastTrim = __atomic_load_n(&told[i].LastTrim, __ATOMIC_ACQUIRE)};
        if (!out[i].LastTrim)
            continue;
        strncpy(out[i].Name, allocator_at(i)->kind->name, sizeof out[i].Name - 1);
#define LOAD(Name, help) out[i].Name = __atomic_load_n(&told[i].Name, __ATOMIC_RELAXED);
        MEMWATCH_ALLOCATOR_FIGURES(LOAD)
#undef LOAD
    }
}

/* Trims and accounts for it, but for what came back. Returns 0, having set the time that it took, and the CPU time of
 * it: on a busy machine most of the former may be waiting. Or why no allocator has done it. The figures are asked for
 * once the clock has been read: what that takes is not the trim's. */
static int trim_now(uint64_t *pause_ns, uint64_t *cpu_ns)
{
    const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE];
    unsigned count = choose(chosen);
    int result = -ENOTSUP;
    int saved = errno;
    uint64_t start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t start_cpu_ns = mw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < count; i++) {
        int error = mw_allocator_purge(chosen[i]);
        if (result)
            result = error;
    }
    *cpu_ns = mw_clock_ns(CLOCK_THREAD_CPUTIME_ID) - start_cpu_ns;
    *pause_ns = mw_clock_ns(CLOCK_MONOTONIC) - start_ns;
    uint64_t now_unix_ns = mw_clock_ns(CLOCK_REALTIME);
    for (unsigned i = 0; i < count && !result; i++)
        keep_figures(chosen[i], now_unix_ns);
    errno = saved;
    if (result)
        return result;
    mw_counter_add_shared(&account.total_ns, *pause_ns);
    mw_counter_add_shared(&account.cpu_ns, *cpu_ns);
    __atomic_store_n(&account.last_unix_ns, now_unix_ns, __ATOMIC_RELAXED);
    uint64_t index = __atomic_fetch_add(&account.count, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&account.pause_ns[index % MEMWATCH_PAUSES], *pause_ns, __ATOMIC_RELAXED);
    return 0;
}

int mw_trim(enum mw_trim_reason reason, uint64_t limit_bytes, struct mw_trim_event *event)
{
    uint64_t pause_ns;
    uint64_t cpu_ns;
    uint64_t before = mw_trim_rss_bytes();
    int error = trim_now(&pause_ns, &cpu_ns);
    if (error)
        return error;
    uint64_t after = mw_trim_rss_bytes();
    *event = (struct mw_trim_event){
        .reason = reason,
        .thread = (uint32_t)mw_syscall6(SYS_gettid, 0, 0, 0, 0, 0, 0),
        .limit_bytes = limit_bytes,
        .rss_before_bytes = before,
        .rss_after_bytes = after,
        .returned_bytes = before > after ? before - after : 0,
        .pause_ns = pause_ns,
        .cpu_ns = cpu_ns,
    };
    mw_counter_add_shared(&account.by_reason[reason], 1);
    mw_counter_add_shared(&account.released_bytes, event->returned_bytes);
    const uint64_t values[] = {limit_bytes, before, after, event->returned_bytes, pause_ns, reason};
    mw_record_event(MW_SEGMENT_TRIM, event->thread, values, sizeof values / sizeof values[0]);
    return 0;
}

int mw_trim_request_state = MW_TRIM_IDLE;

/* The asker's until the state says that it is asked, the server's until it says that it is done, then the asker's. */
static struct {
    enum mw_trim_reason reason;
    uint64_t limit_bytes;
    bool is_urgent;
    const struct mw_thread *server; /* who must not wait for himself */
    int error;
    struct mw_trim_event event;
} request;

/* Moves the state on; false: somebody else has. */
static bool move_on(int from, int to)
{
    return __atomic_compare_exchange_n(&mw_trim_request_state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* What the reclaimer sleeps on: it changes with each request, and each time that it is to look up. */
static uint32_t calls;

void mw_trim_wake(void)
{
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)&calls, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
}

void mw_trim_wait(bool (*is_called)(void))
{
    uint32_t seen = __atomic_load_n(&calls, __ATOMIC_ACQUIRE);
    int state = __atomic_load_n(&mw_trim_request_state, __ATOMIC_ACQUIRE);
    if (state != MW_TRIM_ASSIGNED && state != MW_TRIM_REQUESTED && !is_called())
        mw_syscall6(SYS_futex, (long)&calls, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0);
}

static bool is_forbidden; /* to the program's threads */

void mw_trim_withdraw(bool for_ever)
{
    if (for_ever)
        __atomic_store_n(&is_forbidden, true, __ATOMIC_RELEASE);
    if (!move_on(MW_TRIM_REQUESTED, MW_TRIM_RUNNING))
        return;
    request.error = -EPERM;
    move_on(MW_TRIM_RUNNING, MW_TRIM_DONE);
}

int mw_trim_request(enum mw_trim_reason reason, uint64_t limit_bytes, bool is_urgent)
{
    const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE];
    if (!choose(chosen))
        return -ENOTSUP;
    if (__atomic_load_n(&is_forbidden, __ATOMIC_ACQUIRE) && !mw_reclaimer_is_there())
        return -EPERM;
    move_on(MW_TRIM_DONE, MW_TRIM_IDLE); /* of a request that nobody waits for any more */
    if (__atomic_load_n(&mw_trim_request_state, __ATOMIC_ACQUIRE) != MW_TRIM_IDLE)
        return 0;
    request.reason = reason;
    request.limit_bytes = limit_bytes;
    request.is_urgent = is_urgent;
    request.server = NULL;
    if (move_on(MW_TRIM_IDLE, mw_reclaimer_is_there() ? MW_TRIM_ASSIGNED : MW_TRIM_REQUESTED))
        mw_trim_wake();
    return 0;
}

static void wake_waiters(void)
{
    mw_syscall6(SYS_futex, (long)&mw_trim_request_state, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
}

static void serve(void)
{
    __atomic_store_n(&request.server, &mw_thread, __ATOMIC_RELAXED);
    request.error = mw_trim(request.reason, request.limit_bytes, &request.event);
    bool is_urgent = request.is_urgent;
    move_on(MW_TRIM_RUNNING, MW_TRIM_DONE);
    if (is_urgent)
        wake_waiters();
    mw_monitor_wake();
}

/* Bounded: whoever allocates may hold what the reclaimer needs. */
static void wait_while_urgent(void)
{
    const struct timespec a_moment = {.tv_nsec = LONGEST_WAIT_NS};
    int state = __atomic_load_n(&mw_trim_request_state, __ATOMIC_ACQUIRE);
    if ((state == MW_TRIM_ASSIGNED || state == MW_TRIM_RUNNING) && request.is_urgent &&
        __atomic_load_n(&request.server, __ATOMIC_RELAXED) != &mw_thread)
        mw_syscall6(SYS_futex, (long)&mw_trim_request_state, FUTEX_WAIT_PRIVATE, state, (long)&a_moment, 0, 0);
}

void mw_trim_meet_request(void)
{
    if (mw_reclaimer_is_me())
        mw_trim_serve_assigned(); /* from one of the program's callbacks */
    else if (move_on(MW_TRIM_REQUESTED, MW_TRIM_RUNNING))
        serve();
    else
        wait_while_urgent();
}

bool mw_trim_serve_assigned(void)
{
    bool is_asked = move_on(MW_TRIM_ASSIGNED, MW_TRIM_RUNNING) || move_on(MW_TRIM_REQUESTED, MW_TRIM_RUNNING);
    if (is_asked)
        serve();
    return is_asked;
}

bool mw_trim_is_done(void)
{
    return __atomic_load_n(&mw_trim_request_state, __ATOMIC_ACQUIRE) == MW_TRIM_DONE;
}

bool mw_trim_fetch(int *error, struct mw_trim_event *event)
{
    if (!mw_trim_is_done())
        return false;
    *error = request.error;
    *event = request.event;
    return move_on(MW_TRIM_DONE, MW_TRIM_IDLE);
}

void mw_trim_after_fork(void)
{
    __atomic_store_n(&mw_trim_request_state, MW_TRIM_IDLE, __ATOMIC_RELAXED);
}

void mw_trim_read(struct memwatch_stats *stats)
{
    uint64_t lived_ns = mw_clock_ns(CLOCK_MONOTONIC) - started_ns;
    stats->NumTrim = mw_counter_read(&account.count);
#define BY_REASON(NAME, Statistic, key, text) stats->Statistic = mw_counter_read(&account.by_reason[MW_TRIM_##NAME]);
    MW_TRIM_REASONS(BY_REASON)
#undef BY_REASON
    stats->LastTrim = mw_counter_read(&account.last_unix_ns);
    stats->PauseTotalNs = mw_counter_read(&account.total_ns);
    stats->TrimReleased = mw_counter_read(&account.released_bytes);
    stats->TrimCPUFraction = lived_ns ? (double)mw_counter_read(&account.cpu_ns) / (double)lived_ns : 0;
    for (unsigned i = 0; i < MEMWATCH_PAUSES; i++)
        stats->PauseNs[i] = mw_counter_read(&account.pause_ns[i]);
    read_figures(stats->Allocators);
}
