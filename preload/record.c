/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <stdbool.h>

#include "counters.h"
#include "heap_profile.h"
#include "store.h"
#include "syscall.h"

#define NEAR_LIMIT    0.95 /* of the cgroup's limit, by the working set */
#define HIGH_PRESSURE 0.10 /* of the time somebody waits for memory */
#define SECOND_NS     UINT64_C(1000000000)
#define MINUTE_NS     (60 * SECOND_NS)

static struct {
    uint64_t second_ns; /* when the next is due */
    uint64_t minute_ns;
    uint64_t history_ns;
    uint64_t history_step_ns;
} next = {.history_step_ns = SECOND_NS};

static void write_snapshot(const struct memwatch_stats *stats)
{
    struct mw_segment_snapshot *snapshot = mw_store.snapshot;
    uint64_t sequence = snapshot->sequence | 1; /* odd already where a process was forked from the midst of it */
    __atomic_store_n(&snapshot->sequence, sequence, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    snapshot->time_unix_ns = mw_clock_ns(CLOCK_REALTIME);
    snapshot->stats = *stats;
    __atomic_store_n(&snapshot->sequence, sequence + 1, __ATOMIC_RELEASE);
}

static void write_row(struct mw_segment_row *rows, uint32_t capacity, uint64_t *written,
                      const struct memwatch_stats *stats)
{
    if (!capacity)
        return;
    struct mw_segment_row *row = &rows[*written % capacity];
    if (!mw_store_ready(row, sizeof *row))
        return;
    __atomic_store_n(&row->time_unix_ns, 0, __ATOMIC_RELEASE);
    row->Alloc = stats->Alloc;
    row->TotalAlloc = stats->TotalAlloc;
    row->HeapRetained = stats->HeapRetained;
    row->RSS = stats->RSS;
    row->CgroupUsage = stats->CgroupUsage;
    row->CgroupLimit = stats->CgroupLimit;
    row->NumTrim = (uint32_t)stats->NumTrim;
    row->pressure_ppm = (uint32_t)(stats->Pressure * 1e6);
    __atomic_store_n(&row->time_unix_ns, mw_clock_ns(CLOCK_REALTIME), __ATOMIC_RELEASE);
    __atomic_store_n(written, *written + 1, __ATOMIC_RELEASE);
}

/* Is it due? Then the next is, a step later; after a pause from now on. */
static bool is_due(uint64_t *due_ns, uint64_t step_ns, uint64_t now_ns)
{
    if (now_ns < *due_ns)
        return false;
    *due_ns = *due_ns + step_ns > now_ns ? *due_ns + step_ns : now_ns + step_ns;
    return true;
}

/* An event when a share rises past its mark; the next only after it has been well below it. */
static void note_rise(bool *is_above, double share, double mark, enum mw_segment_event_kind kind,
                      const uint64_t *values, unsigned count)
{
    if (share >= mark && !*is_above) {
        *is_above = true;
        mw_record_event(kind, 0, values, count);
    } else if (share < 0.9 * mark) {
        *is_above = false;
    }
}

static void note_distress(const struct memwatch_stats *stats)
{
    static bool is_near_limit;
    static bool is_under_pressure;
    const uint64_t usage[] = {stats->CgroupWorkingSet, stats->CgroupLimit};
    const uint64_t pressure_ppm = (uint64_t)(stats->Pressure * 1e6);
    if (stats->CgroupLimit)
        note_rise(&is_near_limit, (double)usage[0] / (double)usage[1], NEAR_LIMIT, MW_SEGMENT_NEAR_LIMIT, usage, 2);
    note_rise(&is_under_pressure, stats->Pressure, HIGH_PRESSURE, MW_SEGMENT_PRESSURE, &pressure_ppm, 1);
}

void mw_record_tick(const struct memwatch_stats *stats, uint64_t now_ns)
{
    struct mw_segment_header *header = mw_store.header;
    write_snapshot(stats);
    note_distress(stats);
    if (is_due(&next.second_ns, SECOND_NS, now_ns))
        write_row(mw_store.seconds, mw_store.seconds_capacity, &header->seconds_next, stats);
    if (is_due(&next.minute_ns, MINUTE_NS, now_ns))
        write_row(mw_store.minutes, mw_store.minutes_capacity, &header->minutes_next, stats);
    if (!mw_store.buckets_capacity || !is_due(&next.history_ns, next.history_step_ns, now_ns))
        return;
    if (header->history_used == MW_SEGMENT_HISTORY)
        next.history_step_ns *= 2; /* the points that are there become fewer, and lie that far apart */
    mw_profile_note_history(now_ns);
}

void mw_record_end(int status)
{
    uint64_t value = (uint64_t)(unsigned)status;
    if ((uint32_t)mw_sys_getpid() != mw_store.header->pid)
        return; /* a child of vfork, in its parent's memory */
    mw_record_event(MW_SEGMENT_EXIT, mw_store.header->pid, &value, 1);
    mw_store_end(status);
}

void mw_record_event(enum mw_segment_event_kind kind, uint32_t thread, const uint64_t *values, unsigned count)
{
    if (!mw_store.events_capacity)
        return;
    uint64_t number = __atomic_fetch_add(&mw_store.header->events_next, 1, __ATOMIC_RELAXED);
    struct mw_segment_event *event = &mw_store.events[number % mw_store.events_capacity];
    __atomic_store_n(&event->kind, MW_SEGMENT_NO_EVENT, __ATOMIC_RELEASE);
    event->time_unix_ns = mw_clock_ns(CLOCK_REALTIME);
    event->thread = thread;
    for (unsigned i = 0; i < sizeof event->values / sizeof event->values[0]; i++)
        event->values[i] = i < count ? values[i] : 0;
    __atomic_store_n(&event->kind, kind, __ATOMIC_RELEASE);
}
