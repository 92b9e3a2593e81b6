/* SPDX-License-Identifier: MIT */
#include "trim.h"

#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

#include "counters.h"
#include "fileio.h"
#include "real.h"
#include "syscall.h"

/* glibc's, where our malloc calls go to glibc; NULL: some other allocator. */
static int (*malloc_trim_beneath)(size_t pad_bytes);
static uint64_t started_ns;

static struct {
    uint64_t count;
    uint64_t forced;
    uint64_t last_unix_ns;
    uint64_t total_ns;
    uint64_t released_bytes;
    uint64_t pause_ns[MEMWATCH_PAUSES];
} account;

void mw_trim_start(void)
{
    started_ns = mw_clock_ns(CLOCK_MONOTONIC);
    void *found = dlsym(RTLD_NEXT, "malloc_trim");
    uintptr_t at = (uintptr_t)found;
    if (at >= mw_real_surveyed.allocator_start && at < mw_real_surveyed.allocator_end)
        malloc_trim_beneath = (int (*)(size_t))at; // NOLINT(performance-no-int-to-ptr)
}

/* The second field of /proc/self/statm, in pages. */
static uint64_t rss_bytes(void)
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

/* Trims and accounts for it, but for what came back. Returns the time it took. */
static uint64_t trim_now(void)
{
    uint64_t start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    malloc_trim_beneath(0);
    uint64_t pause_ns = mw_clock_ns(CLOCK_MONOTONIC) - start_ns;
    mw_counter_add_shared(&account.total_ns, pause_ns);
    __atomic_store_n(&account.last_unix_ns, mw_clock_ns(CLOCK_REALTIME), __ATOMIC_RELAXED);
    uint64_t index = __atomic_fetch_add(&account.count, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&account.pause_ns[index % MEMWATCH_PAUSES], pause_ns, __ATOMIC_RELAXED);
    return pause_ns;
}

void mw_trim_account_served(bool forced, uint64_t bytes)
{
    if (forced)
        mw_counter_add_shared(&account.forced, 1);
    mw_counter_add_shared(&account.released_bytes, bytes);
}

int mw_trim(bool forced, struct mw_trim_event *event)
{
    if (!malloc_trim_beneath)
        return -ENOTSUP;
    uint64_t before = rss_bytes();
    if (forced)
        mw_counter_add_shared(&account.forced, 1);
    uint64_t pause_ns = trim_now();
    uint64_t after = rss_bytes();
    *event = (struct mw_trim_event){
        .rss_before_bytes = before,
        .rss_after_bytes = after,
        .returned_bytes = before > after ? before - after : 0,
        .pause_ns = pause_ns,
    };
    mw_counter_add_shared(&account.released_bytes, event->returned_bytes);
    return 0;
}

int mw_trim_request_state = MW_TRIM_IDLE;
static uint64_t served_pause_ns; /* the server's until DONE, then the monitor's */

/* Moves the state on; false: somebody else has. */
static bool move_on(int from, int to)
{
    return __atomic_compare_exchange_n(&mw_trim_request_state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

int mw_trim_request(void)
{
    if (!malloc_trim_beneath)
        return -ENOTSUP;
    move_on(MW_TRIM_DONE, MW_TRIM_IDLE); /* of a request that nobody waits for any more */
    move_on(MW_TRIM_IDLE, MW_TRIM_REQUESTED);
    return 0;
}

void mw_trim_serve_request(void)
{
    int saved = errno;
    if (move_on(MW_TRIM_REQUESTED, MW_TRIM_RUNNING)) {
        served_pause_ns = trim_now();
        move_on(MW_TRIM_RUNNING, MW_TRIM_DONE);
    }
    errno = saved;
}

bool mw_trim_fetch(uint64_t *pause_ns)
{
    if (__atomic_load_n(&mw_trim_request_state, __ATOMIC_ACQUIRE) != MW_TRIM_DONE)
        return false;
    *pause_ns = served_pause_ns;
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
    stats->NumForcedTrim = mw_counter_read(&account.forced);
    stats->LastTrim = mw_counter_read(&account.last_unix_ns);
    stats->PauseTotalNs = mw_counter_read(&account.total_ns);
    stats->TrimReleased = mw_counter_read(&account.released_bytes);
    stats->TrimCPUFraction = lived_ns ? (double)stats->PauseTotalNs / (double)lived_ns : 0;
    for (unsigned i = 0; i < MEMWATCH_PAUSES; i++)
        stats->PauseNs[i] = mw_counter_read(&account.pause_ns[i]);
}
