/* SPDX-License-Identifier: MIT
 *
 * memwatch: runtime.ReadMemStats and runtime/debug for programs that are not written in Go.
 *
 * Nothing is linked: the functions are found at run time in a preloaded libmemwatch.so, and where it is not
 * loaded every call is a harmless no-op that returns -ENOSYS. (This rests on weak symbols. In static programs, and in
 * those that clang builds with -no-pie, the linker settles them for good: every call is a no-op there.)
 *
 *     struct memwatch_stats s;
 *     if (memwatch_read_stats(&s) == 0)
 *         printf("Alloc = %" PRIu64 "\n", s.Alloc);
 *
 * Ownership:  the caller owns every struct; nothing is allocated, nothing is to be freed. The context of a callback
 *             stays the caller's, and has to live until the callback is removed.
 * Threads:    every function may be called from any thread at any time.
 * Signals:    all are async-signal-safe but memwatch_trim and memwatch_free_os_memory (the allocator takes its locks),
 *             memwatch_on_pressure (starts a thread) and memwatch_remove_pressure (may wait).
 * Errors:     0 or a value on success, a negative errno value on failure; errno itself is left alone.
 * Units:      bytes, nanoseconds; the list in memwatch_statistics.h says which.
 */
#ifndef MEMWATCH_H
#define MEMWATCH_H

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "memwatch_statistics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEMWATCH_PAUSES       256 /* as Go's PauseNs */
#define MEMWATCH_SIZE_CLASSES 102 /* 64 of 16 bytes each up to 1 KiB, then one for each power of two */
#define MEMWATCH_ALLOCATORS   2   /* that a process may have in use at once */

/* Go's MemStats.BySize: Size is the largest usable size that falls into the class. */
struct memwatch_size_class {
    uint64_t Size;
    uint64_t Mallocs;
    uint64_t Frees;
};

/* An allocator's own figures, as they were right after a trim: not as they are now, which would take its locks. */
struct memwatch_allocator {
    char Name[16];     /* "glibc", "jemalloc", "tcmalloc", "mimalloc"; empty: it has not been asked yet */
    uint64_t LastTrim; /* when that trim ended, since 1970 in ns */
#define MEMWATCH_FIGURE(Name, help) uint64_t Name;
    MEMWATCH_ALLOCATOR_FIGURES(MEMWATCH_FIGURE)
#undef MEMWATCH_FIGURE
};

struct memwatch_stats {
    /* The durations of the last trims, a ring: the latest is PauseNs[(NumTrim + 255) % 256]. */
    uint64_t PauseNs[MEMWATCH_PAUSES];
    struct memwatch_size_class BySize[MEMWATCH_SIZE_CLASSES];
    /* First the one that malloc leads to, then one beside it; those without a name are to be passed over. */
    struct memwatch_allocator Allocators[MEMWATCH_ALLOCATORS];
#define MEMWATCH_MEMBER(ctype, Name, kind, unit, metric, help) ctype Name;
    MEMWATCH_STATISTICS(MEMWATCH_MEMBER)
#undef MEMWATCH_MEMBER
};

/* How short memory is. A limit is the one that memwatch_set_memory_limit or MEMWATCH_LIMIT has set; usage is what is
 * held against it: this process's resident memory, or, where the limit is a share of the cgroup's, the whole group's.
 */
enum memwatch_pressure_level {
    MEMWATCH_PRESSURE_NONE = 0,
    /* Within the last second usage was past the limit, or the kernel or the service manager has said that memory is
     * short. The allocator is being asked to return what it can, or has been: that may have been enough. */
    MEMWATCH_PRESSURE_LOW = 1,
    /* Usage is past the limit, and stays so: the allocator has nothing more to return. The program has. */
    MEMWATCH_PRESSURE_MEDIUM = 2,
    /* Usage is past half of what lies between the limit and the cgroup's own, at which the kernel kills (known where
     * the limit is a share of that one). Or an allocation has just failed for MEMWATCH_HARD_LIMIT. */
    MEMWATCH_PRESSURE_CRITICAL = 3
};

#define MEMWATCH_PRESSURE_CALLBACKS 16 /* so many at a time */

typedef void memwatch_pressure_callback(enum memwatch_pressure_level level, void *context);

/* Weak, and reached through the global offset table also where the program is not position-independent. */
#if defined(__GNUC__) && !defined(__clang__)
#define MEMWATCH_WEAK __attribute__((weak, noplt))
#else
#define MEMWATCH_WEAK __attribute__((weak))
#endif

/* What the library exports. Use the functions below. */
MEMWATCH_WEAK int memwatch_v1_read_stats(struct memwatch_stats *stats, size_t stats_bytes);
MEMWATCH_WEAK int64_t memwatch_v1_trim(void);
MEMWATCH_WEAK int64_t memwatch_v1_set_memory_limit(int64_t limit_bytes);
MEMWATCH_WEAK int memwatch_v1_set_trim_percent(int percent);
MEMWATCH_WEAK int memwatch_v1_get_trim_percent(void);
MEMWATCH_WEAK int memwatch_v1_on_pressure(enum memwatch_pressure_level level, memwatch_pressure_callback *callback,
                                          void *context);
MEMWATCH_WEAK int memwatch_v1_remove_pressure(int handle);
MEMWATCH_WEAK int memwatch_v1_pressure(void);

/* Fills *stats. The heap's counters are exact once the program's other threads are quiet; while they run each is
 * right to within the calls under way, and Alloc is never below 0. The kernel's figures (RSS, Sys, Cgroup…) are read
 * anew by each call: about 0.1 ms.
 * Returns 0, or -ENOSYS where the library is not loaded; *stats is zero then. */
static inline int memwatch_read_stats(struct memwatch_stats *stats)
{
    if (memwatch_v1_read_stats)
        return memwatch_v1_read_stats(stats, sizeof *stats);
    memset(stats, 0, sizeof *stats);
    return -ENOSYS;
}

/* Asks the allocator to return what it holds and does not use, on the calling thread. It takes
 * the allocator's locks for as long as that lasts: milliseconds for a large heap.
 * Returns the bytes by which RSS fell (0 or more), -ENOSYS where the library is not loaded, -ENOTSUP where the
 * allocator in use is not known to it. */
static inline int64_t memwatch_trim(void)
{
    return memwatch_v1_trim ? memwatch_v1_trim() : -ENOSYS;
}

/* debug.FreeOSMemory: the same by Go's name. */
static inline int64_t memwatch_free_os_memory(void)
{
    return memwatch_trim();
}

/* debug.SetMemoryLimit: when the resident memory passes limit_bytes the allocator is asked to return what it can.
 * INT64_MAX: no limit. A negative value changes nothing. Replaces what MEMWATCH_LIMIT said.
 * Returns the limit before the call (INT64_MAX: none), or -ENOSYS where the library is not loaded. */
static inline int64_t memwatch_set_memory_limit(int64_t limit_bytes)
{
    return memwatch_v1_set_memory_limit ? memwatch_v1_set_memory_limit(limit_bytes) : -ENOSYS;
}

/* debug.SetGCPercent: when the allocator holds more than this share of what is live without using it, it is asked to
 * return that. A negative value or INT_MAX: off; anything else is at most 100000. Replaces what MEMWATCH_TRIM_PERCENT
 * said.
 * Returns the percentage before the call, or INT_MAX where it was off (Go says -1; here a negative value is an error,
 * and what was returned can be set again): -ENOSYS where the library is not loaded. */
static inline int memwatch_set_trim_percent(int percent)
{
    return memwatch_v1_set_trim_percent ? memwatch_v1_set_trim_percent(percent) : -ENOSYS;
}

/* Returns the same and changes nothing. */
static inline int memwatch_get_trim_percent(void)
{
    return memwatch_v1_get_trim_percent ? memwatch_v1_get_trim_percent() : -ENOSYS;
}

/* Has callback(the level reached, context) called when memory gets as short as `level` (LOW, MEDIUM or CRITICAL) or
 * shorter: each time that the level rises, and once a second while it lasts. The allocator has been asked before; it is
 * asked again when the callbacks have returned, so what they free goes back to the kernel. What has been freed and how
 * much of it came back is printed and counted as for any trim.
 *
 * The callback runs on a thread of the library's, never inside malloc. It may allocate, free, take locks and call what
 * is in this header. It has 256 KiB of stack and no signal arrives there. It should be short, for nothing is trimmed
 * for the limit meanwhile; it must return, and neither throw, fork nor end its thread. Callbacks are called one after
 * the other, in no promised order.
 *
 * The first registration starts that thread, which makes the program one of several threads: glibc's and libstdc++'s
 * single-thread shortcuts end, and unshare(CLONE_NEWUSER) and the like fail. In the child of a fork the callbacks stay
 * registered, and the thread is started anew.
 *
 * Returns a handle above 0 for memwatch_remove_pressure; -EINVAL: no such level, or no callback; -ENOSPC: there are
 * MEMWATCH_PRESSURE_CALLBACKS already; -ENOTSUP: nobody would call it (MEMWATCH_MONITOR=off, or no thread could be
 * had); -ENOSYS where the library is not loaded. */
static inline int memwatch_on_pressure(enum memwatch_pressure_level level, memwatch_pressure_callback *callback,
                                       void *context)
{
    return memwatch_v1_on_pressure ? memwatch_v1_on_pressure(level, callback, context) : -ENOSYS;
}

/* After this the callback does not run and is not called any more: where it is running this waits until it has returned
 * (hold no lock that it takes), but for when it is the callback that calls. The thread stays.
 * Returns 0; -ENOENT: no callback has this handle, or it is being removed already; -ENOSYS where the library is not
 * loaded. */
static inline int memwatch_remove_pressure(int handle)
{
    return memwatch_v1_remove_pressure ? memwatch_v1_remove_pressure(handle) : -ENOSYS;
}

/* The present enum memwatch_pressure_level, to be polled: as of the monitor's last look, which is a second ago at most,
 * and milliseconds where much is being allocated near the limit.
 * Returns -ENOTSUP where nobody looks (MEMWATCH_MONITOR=off), -ENOSYS where the library is not loaded. */
static inline int memwatch_pressure(void)
{
    return memwatch_v1_pressure ? memwatch_v1_pressure() : -ENOSYS;
}

#ifdef __cplusplus
}
#endif
#endif
