/* SPDX-License-Identifier: MIT
 *
 * The one list of statistics. The API struct, the text line, JSON, Prometheus' metrics and the manual expand from it.
 *
 * X(ctype, Name, kind, unit, metric, help)
 *   ctype  uint64_t or double
 *   Name   the member of struct memwatch_stats and the JSON key. Where the meaning is that of Go's
 *          runtime.MemStats, the name is Go's (https://pkg.go.dev/runtime#MemStats); Go's GC is our trim.
 *   kind   gauge (goes up and down), optional (a gauge whose 0 says that there is none) or counter (only grows)
 *   unit   bytes, objects (heap blocks), ns, unix_ns (since 1970), ratio (0..1), count
 *   metric what stands in the name of the metric between memwatch_ and its unit, as memwatch_NAME_bytes, or
 *          memwatch_NAME_bytes_total of a counter; "": another metric says the same
 *
 * The order is the order of the struct: append only. What stands in the text line is a list of its own,
 * in common/format.c.
 */
#ifndef MEMWATCH_STATISTICS_H
#define MEMWATCH_STATISTICS_H

/* clang-format off */
#define MEMWATCH_STATISTICS(X) \
    X(uint64_t, Alloc,            gauge,    bytes,   "alloc",                "live heap blocks, as the allocator set them aside (usable size); exact") \
    X(uint64_t, TotalAlloc,       counter,  bytes,   "allocated",            "all heap blocks ever allocated; a realloc counts as a free and an allocation") \
    X(uint64_t, Sys,              gauge,    bytes,   "sys",                  "private writable memory asked of the kernel: HeapSys + StackSys + OtherSys (VmData + VmStk)") \
    X(uint64_t, Mallocs,          counter,  objects, "allocated",            "heap blocks ever allocated") \
    X(uint64_t, Frees,            counter,  objects, "freed",                "heap blocks ever freed") \
    X(uint64_t, HeapAlloc,        gauge,    bytes,   "",                     "the same as Alloc") \
    X(uint64_t, HeapSys,          gauge,    bytes,   "heap_sys",             "the allocator's share of Sys: what is neither a known stack, nor static data, nor the program's own mmap") \
    X(uint64_t, HeapIdle,         gauge,    bytes,   "heap_idle",            "HeapSys - HeapInuse: held by the allocator, not by the program") \
    X(uint64_t, HeapInuse,        gauge,    bytes,   "",                     "the same as Alloc: no spans are known from outside an allocator") \
    X(uint64_t, HeapReleased,     gauge,    bytes,   "heap_released",        "the part of HeapIdle that is surely not resident (HeapSys - RssAnon - Swap, at least 0)") \
    X(uint64_t, HeapRetained,     gauge,    bytes,   "heap_retained",        "resident, but not live (RssAnon - Alloc, at least 0): a trim gives back this at most") \
    X(uint64_t, HeapObjects,      gauge,    objects, "heap",                 "live heap blocks: Mallocs - Frees") \
    X(uint64_t, StackInuse,       gauge,    bytes,   "",                     "the same as StackSys") \
    X(uint64_t, StackSys,         gauge,    bytes,   "stack_sys",            "the main thread's stack (VmStk) and the other threads' at the default size (an estimate)") \
    X(uint64_t, OtherSys,         gauge,    bytes,   "other_sys",            "the rest of Sys: static data, the program's own private writable mmaps, memwatch itself") \
    X(uint64_t, NextTrim,         optional, bytes,   "next_trim",            "usage past which a trim would come, as things are (percent or limit, whichever is sooner); 0: none would") \
    X(uint64_t, LastTrim,         optional, unix_ns, "last_trim_timestamp",  "when the last trim ended; 0: never") \
    X(uint64_t, PauseTotalNs,     counter,  ns,      "trim_pause",           "time spent in trims") \
    X(uint64_t, NumTrim,          counter,  count,   "trims",                "trims done") \
    X(uint64_t, NumForcedTrim,    counter,  count,   "forced_trims",         "of these, asked for by the program (memwatch_trim)") \
    X(double,   TrimCPUFraction,  gauge,    ratio,   "trim_cpu",             "share of the time since the start that one CPU spent in trims") \
    X(uint64_t, TrimReleased,     counter,  bytes,   "trim_released",        "resident memory that trims gave back to the kernel, by RSS before and after") \
    X(uint64_t, MmapSys,          gauge,    bytes,   "mmap_sys",             "address space that the program itself holds by mmap, of any kind; not the allocator's") \
    X(uint64_t, Mmaps,            counter,  count,   "mmaps",                "mmap calls of the program that succeeded") \
    X(uint64_t, Munmaps,          counter,  count,   "munmaps",              "munmap calls of the program that succeeded") \
    X(uint64_t, MmapDrops,        counter,  count,   "mmap_drops",           "mappings that could not be followed; when not 0, MmapSys is not exact") \
    X(uint64_t, RSS,              gauge,    bytes,   "resident_memory",      "resident set size (VmRSS)") \
    X(uint64_t, PeakRSS,          gauge,    bytes,   "resident_memory_peak", "highest RSS so far (VmHWM)") \
    X(uint64_t, Swap,             gauge,    bytes,   "swap",                 "swapped-out memory (VmSwap)") \
    X(uint64_t, Threads,          gauge,    count,   "threads",              "threads, memwatch's own not counted") \
    X(uint64_t, CgroupUsage,      gauge,    bytes,   "cgroup_usage",         "memory charged to the cgroup (memory.current, v1 memory.usage_in_bytes)") \
    X(uint64_t, CgroupWorkingSet, gauge,    bytes,   "cgroup_working_set",   "CgroupUsage less inactive_file, at least 0") \
    X(uint64_t, CgroupLimit,      optional, bytes,   "cgroup_limit",         "the limit in force: the least over the cgroup and its ancestors; 0: none") \
    X(uint64_t, CgroupPeak,       optional, bytes,   "cgroup_peak",          "highest usage (memory.peak, v1 memory.max_usage_in_bytes); 0: not told") \
    X(uint64_t, CgroupOOMKills,   counter,  count,   "cgroup_oom_kills",     "processes of the cgroup that the OOM killer took") \
    X(double,   Pressure,         gauge,    ratio,   "pressure",             "share of the last 10 s in which some task waited for memory (PSI some avg10)") \
    X(uint64_t, OutputDrops,      counter,  count,   "output_drops",         "lines that could not be written") \
    X(uint64_t, Samples,          counter,  objects, "sampled",              "heap blocks that sampling has chosen (MEMWATCH_SAMPLE)") \
    X(uint64_t, SampleDrops,      counter,  objects, "sample_dropped",       "of these, blocks that the profile had no room for") \
    X(uint64_t, NumPercentTrim,   counter,  count,   "percent_trims",        "of NumTrim, for what had grown past MEMWATCH_TRIM_PERCENT of what is live") \
    X(uint64_t, NumQuietTrim,     counter,  count,   "quiet_trims",          "of NumTrim, because the program went quiet") \
    X(uint64_t, NumLimitTrim,     counter,  count,   "limit_trims",          "of NumTrim, because usage was past the limit") \
    X(uint64_t, NumPressureTrim,  counter,  count,   "pressure_trims",       "of NumTrim, because the kernel or the service manager said that memory is short") \
    X(uint64_t, NumHardLimitTrim, counter,  count,   "hard_limit_trims",     "of NumTrim, before an allocation would have failed at MEMWATCH_HARD_LIMIT") \
    X(uint64_t, NumCallbackTrim,  counter,  count,   "callback_trims",       "of NumTrim, after the program's pressure callbacks")
/* clang-format on */

/* What an allocator says of itself, by its own books, after a trim that it had part in: the members of struct
 * memwatch_allocator. Where Go has the name, the meaning is Go's: Sys = Inuse + Idle, and Released is part of Idle.
 *
 * X(Name, help); all are bytes, and UINT64_MAX where the allocator does not tell. Append only. */
/* clang-format off */
#define MEMWATCH_ALLOCATOR_FIGURES(X) \
    X(Sys,      "address space that it has from the kernel") \
    X(Inuse,    "handed out, each block as large as it was set aside") \
    X(Idle,     "Sys - Inuse: free pages, gaps between blocks, caches, its own records") \
    X(Released, "the part of Idle whose memory the kernel has back") \
    X(Resident, "Sys - Released: has memory behind it (or was never touched: it cannot know)")
/* clang-format on */

#endif
