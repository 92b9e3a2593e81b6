/* SPDX-License-Identifier: MIT
 *
 * What the workloads share: their first argument, random numbers, and an end with a word where something fails.
 * Each is a program of its own that knows nothing of memwatch.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void must(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(1);
    }
}

/* An argument that is a number; `fallback` where it is not given. */
static inline uint64_t number(int argc, char **argv, int index, uint64_t fallback)
{
    return index < argc ? strtoull(argv[index], NULL, 10) : fallback;
}

/* xorshift64: a few instructions, the same numbers in every run. The state must not be 0. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

/* Of a random number a whole number below `bound`, without a division. */
static inline uint32_t below(uint64_t random, uint32_t bound)
{
    return (uint32_t)(((random >> 32) * bound) >> 32);
}

/* A block that the compiler must believe is used. */
static inline char *allocate(size_t size)
{
    char *block = malloc(size);
    must(block != NULL, "malloc");
    *(volatile char *)block = 1;
    return block;
}

/* Puts blocks in a random order. */
static inline void shuffle(char **blocks, uint32_t count, uint64_t *random)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = below(random_next(random), i);
        char *block = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = block;
    }
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

#endif
