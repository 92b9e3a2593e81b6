/* SPDX-License-Identifier: MIT
 *
 * What the workloads share that are done at once and then idle: how they spend time on their memory, and how they fall
 * quiet. Two variables tell: BENCH_QUIET_MS how long, BENCH_TRIM that the program calls malloc_trim itself before that,
 * which no watcher can better.
 */
#ifndef BENCH_QUIET_H
#define BENCH_QUIET_H

#include <inttypes.h>
#include <malloc.h>

#include "workload.h"

/* A block that is written from end to end, a byte after the other as a parser would, so that memory grows no faster
 * than a program with something to do makes it grow. */
static inline char *allocate_written(size_t size)
{
    volatile char *block = allocate(size);
    uint32_t value = (uint32_t)size;
    for (size_t i = 0; i < size; i++) {
        value = value * 31 + 7;
        block[i] = (char)value;
    }
    return (char *)block;
}

/* The end of what is measured: prints what was done in a second, and that from now on nothing is. */
static inline void fall_quiet(uint64_t done, uint64_t took_ns)
{
    printf("throughput %.0f\n", (double)done * 1e9 / (double)took_ns);
    if (getenv("BENCH_TRIM"))
        malloc_trim(0);
    printf("quiet\n");
    fflush(stdout);
    const char *text = getenv("BENCH_QUIET_MS");
    uint64_t milliseconds = text ? strtoull(text, NULL, 10) : 0;
    struct timespec rest = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
    nanosleep(&rest, NULL);
}

#endif
