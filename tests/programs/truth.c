/* SPDX-License-Identifier: MIT
 *
 * Do the counters tell the truth? Threads allocate by every function there is, free one another's blocks, and stand
 * still; then what memwatch says is held against what the program knows, to the byte.
 *
 *     truth [THREADS [ROUNDS]]
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <memwatch.h>

#include "check.h"

#define MOST_THREADS 64
#define BLOCKS       2000

struct worker {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    void *blocks[BLOCKS];
    /* What this thread has done, by its own account. */
    uint64_t allocated_bytes, allocated_objects, freed_bytes, freed_objects;
};

static struct worker workers[MOST_THREADS];
static unsigned threads = 8;
static unsigned rounds = 5;
static pthread_barrier_t barrier;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Mostly small, some of a page, now and then one that the allocator maps. */
static size_t random_size(uint64_t *state)
{
    uint64_t r = next_random(state);
    switch (r % 100) {
    case 0:
        return r / 100 % 500000;
    case 1 ... 9:
        return r / 100 % 9000;
    default:
        return r / 100 % 1100;
    }
}

static void account_allocated(struct worker *worker, void *block)
{
    CHECK(block, "out of memory");
    worker->allocated_bytes += malloc_usable_size(block);
    worker->allocated_objects++;
}

static void account_freed(struct worker *worker, void *block)
{
    worker->freed_bytes += malloc_usable_size(block);
    worker->freed_objects += block != NULL;
}

static void *allocate(struct worker *worker)
{
    size_t size = random_size(&worker->random);
    size_t alignment = (size_t)16 << next_random(&worker->random) % 6;
    void *block = NULL;
    switch (next_random(&worker->random) % 8) {
    case 0:
        block = calloc(size / 8 + 1, 8);
        break;
    case 1:
        block = memalign(alignment, size);
        break;
    case 2:
        block = aligned_alloc(alignment, size);
        break;
    case 3:
        CHECK(posix_memalign(&block, alignment, size) == 0, "posix_memalign");
        break;
    case 4:
        block = size % 50 ? malloc(size) : size % 100 ? valloc(size) : pvalloc(size);
        break;
    case 5:
        block = realloc(NULL, size);
        break;
    case 6:
        block = reallocarray(NULL, size / 4 + 1, 4);
        break;
    default:
        block = malloc(size);
        break;
    }
    account_allocated(worker, block);
    return block;
}

/* C23's. The library has them on every libc; without it they may be absent. */
__attribute__((weak)) void free_sized(void *block, size_t size);
__attribute__((weak)) void free_aligned_sized(void *block, size_t alignment, size_t size);

static void release(struct worker *worker, void **block)
{
    account_freed(worker, *block);
    switch (next_random(&worker->random) % 4) {
    case 0:
        free_sized(*block, malloc_usable_size(*block));
        break;
    case 1:
        free_aligned_sized(*block, 16, malloc_usable_size(*block));
        break;
    default:
        free(*block);
        break;
    }
    *block = NULL;
}

static void resize(struct worker *worker, void **block)
{
    account_freed(worker, *block);
    *block = realloc(*block, random_size(&worker->random) + 1);
    account_allocated(worker, *block);
}

static void wait_for_all(void)
{
    pthread_barrier_wait(&barrier);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct worker *neighbour = &workers[(worker->index + 1) % threads];
    wait_for_all();
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < BLOCKS; i++)
            if (!worker->blocks[i])
                worker->blocks[i] = allocate(worker);
        wait_for_all();
        for (unsigned i = 0; i < BLOCKS; i++) {
            uint64_t r = next_random(&worker->random) % 3;
            if (r == 0)
                release(worker, &neighbour->blocks[i]);
            else if (r == 1)
                resize(worker, &neighbour->blocks[i]);
        }
        wait_for_all(); /* all stand still while main compares */
        wait_for_all();
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (worker->blocks[i])
            release(worker, &worker->blocks[i]);
    wait_for_all();
    wait_for_all();
    return NULL;
}

static void read_stats(struct memwatch_stats *stats)
{
    CHECK(memwatch_read_stats(stats) == 0, "the library is not loaded");
}

/* Does what memwatch has counted since `before` agree with the workers' books? */
static void compare(const struct memwatch_stats *before)
{
    struct memwatch_stats now;
    uint64_t allocated_bytes = 0, allocated_objects = 0, freed_bytes = 0, freed_objects = 0;
    uint64_t live_bytes = 0, live_objects = 0;
    uint64_t class_mallocs = 0, class_frees = 0;
    read_stats(&now);
    for (unsigned t = 0; t < threads; t++) {
        allocated_bytes += workers[t].allocated_bytes;
        allocated_objects += workers[t].allocated_objects;
        freed_bytes += workers[t].freed_bytes;
        freed_objects += workers[t].freed_objects;
        for (unsigned i = 0; i < BLOCKS; i++) {
            live_bytes += malloc_usable_size(workers[t].blocks[i]);
            live_objects += workers[t].blocks[i] != NULL;
        }
    }
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        class_mallocs += now.BySize[i].Mallocs;
        class_frees += now.BySize[i].Frees;
    }
#define EQUAL(what, is, should)                                                                                        \
    CHECK((is) == (should), what " is %llu, should be %llu", (unsigned long long)(is), (unsigned long long)(should))
    EQUAL("Alloc", now.Alloc - before->Alloc, live_bytes);
    EQUAL("HeapObjects", now.HeapObjects - before->HeapObjects, live_objects);
    EQUAL("TotalAlloc", now.TotalAlloc - before->TotalAlloc, allocated_bytes);
    EQUAL("Mallocs", now.Mallocs - before->Mallocs, allocated_objects);
    EQUAL("Frees", now.Frees - before->Frees, freed_objects);
    EQUAL("Mallocs - Frees", now.Mallocs - now.Frees, now.HeapObjects);
    EQUAL("the sum of BySize.Mallocs", class_mallocs, now.Mallocs);
    EQUAL("the sum of BySize.Frees", class_frees, now.Frees);
    EQUAL("the sum of Sys's parts", now.HeapSys + now.StackSys + now.OtherSys, now.Sys);
    EQUAL("allocated - freed", allocated_bytes - freed_bytes, live_bytes);
}

static unsigned argument(const char *text, unsigned most)
{
    unsigned long value = strtoul(text, NULL, 10);
    CHECK(value >= 1 && value <= most, "%s", text);
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    struct memwatch_stats before;
    struct memwatch_stats after;
    if (argc > 1)
        threads = argument(argv[1], MOST_THREADS);
    if (argc > 2)
        rounds = argument(argv[2], 1000);
    pthread_barrier_init(&barrier, NULL, threads + 1);
    for (unsigned t = 0; t < threads; t++) {
        workers[t].index = t;
        workers[t].random = 88172645463325252ULL + t;
        CHECK(pthread_create(&workers[t].thread, NULL, work, &workers[t]) == 0, "pthread_create");
    }
    read_stats(&before); /* the threads' own blocks are in it */
    wait_for_all();
    for (unsigned round = 0; round < rounds; round++) {
        wait_for_all();
        wait_for_all();
        compare(&before);
        wait_for_all();
    }
    wait_for_all();
    compare(&before);
    wait_for_all();
    for (unsigned t = 0; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    read_stats(&after);
    CHECK(after.TotalAlloc >= before.TotalAlloc && after.Alloc <= after.TotalAlloc, "totals");
    puts("truth: all equal");
    return 0;
}
