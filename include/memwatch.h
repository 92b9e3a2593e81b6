/* SPDX-License-Identifier: MIT
 *
 * memwatch: runtime.ReadMemStats and debug.FreeOSMemory for programs that are not written in Go.
 *
 * Nothing is linked: the functions are found at run time in a preloaded libmemwatch.so, and where it is not
 * loaded every call is a harmless no-op that returns -ENOSYS. (This rests on weak symbols. In static programs, and in
 * those that clang builds with -no-pie, the linker settles them for good: every call is a no-op there.)
 *
 *     struct memwatch_stats s;
 *     if (memwatch_read_stats(&s) == 0)
 *         printf("Alloc = %" PRIu64 "\n", s.Alloc);
 *
 * Ownership:  the caller owns every struct; nothing is allocated, nothing is to be freed.
 * Threads:    every function may be called from any thread at any time.
 * Signals:    memwatch_read_stats and memwatch_set_memory_limit are async-signal-safe. memwatch_trim is not: the
 *             allocator takes its locks.
 * Errors:     0 or a value on success, a negative errno value on failure; errno itself is left alone.
 * Units:      bytes, nanoseconds; the list in memwatch_statistics.h says which.
 */
#ifndef MEMWATCH_H
#define MEMWATCH_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "memwatch_statistics.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MEMWATCH_PAUSES       256 /* as Go's PauseNs */
#define MEMWATCH_SIZE_CLASSES 102 /* 64 of 16 bytes each up to 1 KiB, then one for each power of two */

/* Go's MemStats.BySize: Size is the largest usable size that falls into the class. */
struct memwatch_size_class {
    uint64_t Size;
    uint64_t Mallocs;
    uint64_t Frees;
};

struct memwatch_stats {
    /* The durations of the last trims, a ring: the latest is PauseNs[(NumTrim + 255) % 256]. */
    uint64_t PauseNs[MEMWATCH_PAUSES];
    struct memwatch_size_class BySize[MEMWATCH_SIZE_CLASSES];
#define MEMWATCH_MEMBER(ctype, Name, kind, unit, help) ctype Name;
    MEMWATCH_STATISTICS(MEMWATCH_MEMBER)
#undef MEMWATCH_MEMBER
};

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

/* Asks the allocator to return what it holds and does not use, on the calling thread (debug.FreeOSMemory). It takes
 * the allocator's locks for as long as that lasts: milliseconds for a large heap.
 * Returns the bytes by which RSS fell (0 or more), -ENOSYS where the library is not loaded, -ENOTSUP where the
 * allocator in use is not known to it. */
static inline int64_t memwatch_trim(void)
{
    return memwatch_v1_trim ? memwatch_v1_trim() : -ENOSYS;
}

/* debug.SetMemoryLimit: when the resident memory passes limit_bytes the allocator is asked to return what it can.
 * INT64_MAX: no limit. A negative value changes nothing. Replaces what MEMWATCH_LIMIT said.
 * Returns the limit before the call (INT64_MAX: none), or -ENOSYS where the library is not loaded. */
static inline int64_t memwatch_set_memory_limit(int64_t limit_bytes)
{
    return memwatch_v1_set_memory_limit ? memwatch_v1_set_memory_limit(limit_bytes) : -ENOSYS;
}

#ifdef __cplusplus
}
#endif
#endif
