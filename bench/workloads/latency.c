/* SPDX-License-Identifier: MIT
 *
 * latency MILLISECONDS: how long malloc and free keep a program waiting. Two threads; every 100 µs each allocates and
 * frees a block of 16 to 4,096 bytes. Beside that each has 150 MiB in blocks of 1 to 16 KiB, three quarters of which
 * come and go like a tide, in a random order, a block every 100 µs, so that there is always something to give back, and
 * to be touched again. Prints percentiles of the time in malloc and free in such a slot, and the longest time from the
 * beginning of a slot to the end of its calls. Slots that were missed meanwhile count as if each had waited.
 */
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "workload.h"

enum { THREADS = 2, BLOCKS = 18000, TIDE = BLOCKS / 4 * 3, SMALLEST = 1000, SIZES = 16, PAGE = 4096 };
enum { SUB_BITS = 5, BUCKETS = 64 << SUB_BITS };

#define SLOT_NS UINT64_C(100000)

struct worker {
    uint64_t random;
    uint64_t histogram[BUCKETS];
    uint64_t longest_ns, longest_wait_ns;
    char *blocks[BLOCKS]; /* the first are the tide */
};

static struct worker workers[THREADS];
static uint64_t slots;
static pthread_barrier_t built;

/* Thirty-two buckets from a power of two to the next. */
static uint32_t bucket_of(uint64_t ns)
{
    if (ns < 1U << SUB_BITS)
        return (uint32_t)ns;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(ns) - SUB_BITS;
    return (shift << SUB_BITS) + (uint32_t)(ns >> shift);
}

static uint64_t least_of(uint32_t bucket)
{
    uint32_t shift = bucket < 2U << SUB_BITS ? 0 : (bucket >> SUB_BITS) - 1;
    return (uint64_t)(bucket - (shift << SUB_BITS)) << shift;
}

static void record(struct worker *worker, uint64_t ns)
{
    if (ns > worker->longest_ns)
        worker->longest_ns = ns;
    worker->histogram[bucket_of(ns)]++;
    for (; ns > SLOT_NS; ns -= SLOT_NS)
        worker->histogram[bucket_of(ns - SLOT_NS)]++;
}

static char *obtain(struct worker *worker)
{
    return allocate(SMALLEST * (1 + below(random_next(&worker->random), SIZES)));
}

static void touch(char *block)
{
    for (size_t i = 0; i < malloc_usable_size(block); i += PAGE)
        ((volatile char *)block)[i] = 1;
}

/* One block of the tide comes or goes; a whole tide takes a second and a third, each way. */
static char **tide_place(struct worker *worker, uint64_t slot, bool *rises)
{
    *rises = slot / TIDE % 2;
    return &worker->blocks[slot % TIDE];
}

static void sleep_until(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000U), (long)(ns % 1000000000U)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

/* What is measured: the calls of a slot, not the touching of what they give. */
static void serve(struct worker *worker, uint64_t slot_ns, uint64_t step)
{
    bool rises;
    char **place = tide_place(worker, step, &rises);
    size_t size = 16 + below(random_next(&worker->random), 4081);
    uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    free(allocate(size));
    if (rises)
        *place = obtain(worker);
    else
        free(*place);
    uint64_t end = clock_ns(CLOCK_MONOTONIC);
    record(worker, end - begin);
    if (end - slot_ns > worker->longest_wait_ns)
        worker->longest_wait_ns = end - slot_ns;
    if (rises)
        touch(*place);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 0; i < BLOCKS; i++) {
        worker->blocks[i] = obtain(worker);
        touch(worker->blocks[i]);
    }
    shuffle(worker->blocks, BLOCKS, &worker->random);
    pthread_barrier_wait(&built);
    uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t step = 0;
    for (uint64_t slot = 0; slot < slots; slot++) {
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now < begin_ns + slot * SLOT_NS)
            sleep_until(begin_ns + slot * SLOT_NS);
        else
            slot = (now - begin_ns) / SLOT_NS; /* the one that has begun; what was missed is counted */
        serve(worker, begin_ns + slot * SLOT_NS, step++);
    }
    return NULL;
}

/* Of all threads together. */
static uint64_t percentile(const uint64_t *histogram, double share)
{
    uint64_t all = 0, seen = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        all += histogram[i];
    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if ((double)seen >= share * (double)all)
            return least_of(i);
    }
    return 0;
}

int main(int argc, char **argv)
{
    slots = number(argc, argv, 1, 1000) * 1000000 / SLOT_NS;
    pthread_t threads[THREADS];
    pthread_barrier_init(&built, NULL, THREADS);
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i].random = (i + 1) * 0x9E3779B97F4A7C15U;
        must(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "pthread_create");
    }
    static uint64_t histogram[BUCKETS];
    uint64_t longest_ns = 0, longest_wait_ns = 0;
    for (int i = 0; i < THREADS; i++) {
        const struct worker *worker = &workers[i];
        pthread_join(threads[i], NULL);
        for (uint32_t k = 0; k < BUCKETS; k++)
            histogram[k] += worker->histogram[k];
        longest_ns = worker->longest_ns > longest_ns ? worker->longest_ns : longest_ns;
        longest_wait_ns = worker->longest_wait_ns > longest_wait_ns ? worker->longest_wait_ns : longest_wait_ns;
    }
    printf("p50_ns %" PRIu64 "\np99_ns %" PRIu64 "\np999_ns %" PRIu64 "\nmax_ns %" PRIu64 "\nwait_ns %" PRIu64 "\n",
           percentile(histogram, 0.5), percentile(histogram, 0.99), percentile(histogram, 0.999), longest_ns,
           longest_wait_ns);
}
