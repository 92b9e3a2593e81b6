/* SPDX-License-Identifier: MIT */
#include "readings.h"

#include <pthread.h>
#include <string.h>

#include "fileio.h"
#include "maps.h"
#include "monitor.h"
#include "real.h"
#include "reclaimer.h"
#include "store.h"
#include "threads.h"
#include "trim.h"

static uint64_t thread_stack_bytes;

void mw_readings_start(void)
{
    pthread_attr_t attributes;
    size_t bytes;
    if (pthread_attr_init(&attributes))
        return;
    if (pthread_attr_getstacksize(&attributes, &bytes) == 0)
        thread_stack_bytes = bytes;
    pthread_attr_destroy(&attributes);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void take_counters(struct memwatch_stats *stats)
{
    struct mw_totals totals;
    struct mw_maps_figures maps;
    mw_threads_sum(&totals);
    mw_maps_read(&maps);
    stats->TotalAlloc = totals.allocated_bytes;
    stats->Mallocs = totals.allocated_objects;
    stats->Frees = totals.freed_objects;
    stats->Alloc = less(totals.allocated_bytes, totals.freed_bytes);
    stats->HeapObjects = less(totals.allocated_objects, totals.freed_objects);
    stats->HeapAlloc = stats->Alloc;
    stats->HeapInuse = stats->Alloc;
    stats->MmapSys = maps.bytes;
    stats->Mmaps = maps.mmaps;
    stats->Munmaps = maps.munmaps;
    stats->MmapDrops = maps.drops;
    stats->Samples = mw_threads_samples();
    stats->SampleDrops =
        mw_counter_read(&mw_store.header->dropped_samples) + mw_counter_read(&mw_store.header->dropped_stacks);
    memcpy(stats->BySize, totals.by_size, sizeof stats->BySize);
}

/* Sys and its parts. The kernel tells how much private writable memory there is, not what for; what is known of the
 * rest is taken off, and what is left is the allocator's. Asking the allocator itself would take its locks. */
static void take_sys(struct memwatch_stats *stats, const struct mw_proc_status *status)
{
    struct mw_maps_figures maps;
    mw_maps_read(&maps);
    uint64_t other_threads = less(stats->Threads, 1);
    uint64_t thread_stacks = other_threads * thread_stack_bytes;
    stats->Sys = status->vm_data_bytes + status->vm_stk_bytes;
    stats->StackSys = least(status->vm_stk_bytes + thread_stacks, stats->Sys);
    stats->StackInuse = stats->StackSys;
    uint64_t rest = stats->Sys - stats->StackSys;
    uint64_t heap = less(rest, mw_real_surveyed.static_data_bytes + maps.data_bytes + mw_monitor_stack_bytes() +
                                   mw_reclaimer_stack_bytes() + mw_store_private_bytes());
    stats->HeapSys = least(heap > stats->Alloc ? heap : stats->Alloc, rest);
    stats->OtherSys = rest - stats->HeapSys;
    stats->HeapIdle = less(stats->HeapSys, stats->HeapInuse);
    stats->HeapRetained = less(status->rss_anon_bytes, stats->Alloc);
    stats->HeapReleased = least(less(stats->HeapSys, status->rss_anon_bytes + status->vm_swap_bytes), stats->HeapIdle);
}

static void take_status(struct mw_probe *probe, struct memwatch_stats *stats)
{
    char text[4096];
    struct mw_proc_status status;
    long length = probe->held ? mw_held_file_read(&probe->status, "/proc/thread-self/status", text, sizeof text)
                              : mw_file_read_whole("/proc/self/status", text, sizeof text);
    if (length < 0)
        text[0] = '\0';
    mw_proc_status_parse(text, &status);
    probe->seccomp = status.seccomp;
    probe->rss_anon_bytes = status.rss_anon_bytes;
    stats->RSS = status.vm_rss_bytes;
    stats->PeakRSS = status.vm_hwm_bytes;
    stats->Swap = status.vm_swap_bytes;
    stats->Threads = less(status.threads, mw_monitor_threads());
    take_sys(stats, &status);
}

bool mw_readings_is_over(struct mw_probe *probe, const struct memwatch_stats *stats)
{
    static const char zombie[] = "\nState:\tZ";
    char text[256]; /* the state is among the first lines */
    return stats->Threads <= 1 && mw_held_file_read(&probe->leader, "/proc/self/status", text, sizeof text) > 0 &&
           strstr(text, zombie);
}

uint64_t mw_readings_seccomp(void)
{
    char text[4096];
    uint64_t mode = 0;
    if (mw_file_read_whole("/proc/thread-self/status", text, sizeof text) > 0)
        mw_key_value(text, "Seccomp", &mode);
    return mode;
}

void mw_readings_comm(struct mw_probe *probe, char comm[MW_COMM_BYTES])
{
    long length = mw_held_file_read(&probe->comm, "/proc/self/comm", comm, MW_COMM_BYTES);
    if (length > 0 && comm[length - 1] == '\n')
        comm[length - 1] = '\0';
    else if (length < 0)
        comm[0] = '\0';
}

static void take_cgroup(struct mw_probe *probe, struct memwatch_stats *stats)
{
    struct mw_cgroup_reading reading;
    if (!probe->cgroup_looked_for) {
        probe->cgroup_looked_for = true;
        probe->cgroup_found = mw_cgroup_find("", "self", &probe->cgroup) == 0;
    }
    if (!probe->cgroup_found || mw_cgroup_read(&probe->cgroup, probe->held ? &probe->handles : NULL, &reading))
        return;
    stats->CgroupUsage = reading.usage_bytes;
    stats->CgroupWorkingSet = reading.working_set_bytes;
    stats->CgroupLimit = reading.limit_bytes;
    stats->CgroupPeak = reading.peak_bytes;
    stats->CgroupOOMKills = reading.oom_kills;
    stats->Pressure = reading.pressure;
}

void mw_readings_take(struct mw_probe *probe, struct memwatch_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    take_counters(stats);
    take_status(probe, stats);
    take_cgroup(probe, stats);
    mw_trim_read(stats);
    stats->NextTrim = mw_memory_limit_next();
    stats->OutputDrops = mw_monitor_drops();
}

void mw_probe_forget_cgroup(struct mw_probe *probe)
{
    mw_cgroup_handles_drop(&probe->handles);
    probe->cgroup_looked_for = false;
}

void mw_probe_drop(struct mw_probe *probe)
{
    mw_held_file_drop(&probe->status);
    mw_held_file_drop(&probe->comm);
    mw_held_file_drop(&probe->leader);
    mw_probe_forget_cgroup(probe);
}
