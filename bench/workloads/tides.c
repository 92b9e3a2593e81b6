/* SPDX-License-Identifier: MIT
 *
 * tides TIDES: as a server whose load comes and goes. Each of four threads has 5 MiB that live, and every other tide
 * 40 MiB on top of them: two threads have theirs while the other two are at ebb, so that what lives is a fifth of the
 * peak. The sizes of the blocks change from tide to tide, bytes to 100 KiB; some of what lives is replaced meanwhile,
 * and stays between what goes.
 */
#include <pthread.h>

#include "quiet.h"

enum {
    THREADS = 4,
    LIVING = 5000,          /* of 1 KiB in the mean */
    RENEWED = 1000,         /* of them in a tide */
    TIDE = 40 << 20,        /* bytes */
    SMALLEST = 16,          /* block */
    MOST = TIDE / SMALLEST, /* blocks of a tide */
    SIZES = 4
};

static const struct {
    uint32_t smallest, count;
} sizes[SIZES] = {{16, 256}, {256, 2048}, {2048, 16384}, {16384, 86016}};

struct worker {
    uint64_t random;
    uint64_t number;
    uint64_t allocated; /* bytes */
    char *living[LIVING];
};

static char *tide_blocks[THREADS][MOST];
static uint64_t tides;
static pthread_barrier_t turn;

static char *obtain(struct worker *worker, uint32_t smallest, uint32_t count)
{
    uint32_t size = smallest + below(random_next(&worker->random), count);
    worker->allocated += size;
    return allocate_written(size);
}

static void renew(struct worker *worker)
{
    uint32_t i = below(random_next(&worker->random), LIVING);
    free(worker->living[i]);
    worker->living[i] = obtain(worker, 512, 1024);
}

/* The load rises, stays for as many requests as it has brought, and falls. */
static void tide(struct worker *worker, uint64_t phase)
{
    uint32_t smallest = sizes[phase % SIZES].smallest, count = sizes[phase % SIZES].count;
    char **blocks = tide_blocks[worker->number];
    uint32_t flood = TIDE / (smallest + count / 2);
    uint32_t pause = flood / RENEWED + 1;
    for (uint32_t i = 0; i < flood; i++) {
        blocks[i] = obtain(worker, smallest, count);
        if (i % pause == 0)
            renew(worker);
    }
    for (uint32_t i = 0; i < flood; i++) {
        char **block = &blocks[below(random_next(&worker->random), flood)];
        free(*block);
        *block = obtain(worker, smallest, count);
    }
    shuffle(blocks, flood, &worker->random);
    for (uint32_t i = 0; i < flood; i++)
        free(blocks[i]);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (int i = 0; i < LIVING; i++)
        worker->living[i] = obtain(worker, 512, 1024);
    for (uint64_t phase = 0; phase < tides; phase++) {
        if (phase % 2 == worker->number % 2)
            tide(worker, phase / 2 + worker->number);
        pthread_barrier_wait(&turn);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    tides = number(argc, argv, 1, 2);
    static struct worker workers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_init(&turn, NULL, THREADS);
    uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i].number = i;
        workers[i].random = (i + 1) * 0x9E3779B97F4A7C15U;
        must(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "pthread_create");
    }
    uint64_t allocated = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        allocated += workers[i].allocated;
    }
    fall_quiet(allocated, clock_ns(CLOCK_MONOTONIC) - begin);
}
