/* SPDX-License-Identifier: MIT
 *
 * A storm of allocations, to be killed in the midst of it: threads allocate from many stacks, free one another's
 * blocks, resize them, and end and begin anew.
 *
 *     storm THREADS
 *
 * Says "ready" when all run. With 0 threads it waits, to show what is there before the storm.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define MOST_THREADS  64
#define SHARED_BLOCKS 4096
#define BLOCKS_A_LIFE 20000
#define DEEPEST       24

static void *shared_blocks[SHARED_BLOCKS];
static pthread_barrier_t all_run;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t random_size(uint64_t random)
{
    return random % 50 ? random / 64 % 700 : random / 64 % 150000;
}

/* Different ways to come here make different stacks. */
static __attribute__((noinline)) void *allocate_at(unsigned depth, uint64_t way, size_t size)
{
    void *block;
    if (depth)
        block = way & 1 ? allocate_at(depth - 1, way >> 1, size) : allocate_at(depth - 1, way >> 1, size + 8);
    else
        block = way & 1 ? malloc(size) : calloc(1, size);
    __asm__ volatile("");
    return block;
}

static void put(unsigned place, void *block)
{
    free(__atomic_exchange_n(&shared_blocks[place], block, __ATOMIC_ACQ_REL));
}

static void storm(uint64_t *random, unsigned blocks)
{
    while (blocks--) {
        uint64_t r = next_random(random);
        unsigned place = (unsigned)(r >> 40) % SHARED_BLOCKS;
        if (r % 8) {
            put(place, allocate_at((unsigned)(r >> 8) % DEEPEST, (r >> 16) % 64, random_size(r >> 20)));
        } else {
            void *block = __atomic_exchange_n(&shared_blocks[place], NULL, __ATOMIC_ACQ_REL);
            put(place, realloc(block, random_size(r >> 20) + 1));
        }
    }
}

/* One life; the next is in a new thread. */
static void *live(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument;
    pthread_t heir;
    pthread_attr_t detached;
    storm(&random, BLOCKS_A_LIFE);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    CHECK(pthread_create(&heir, &detached, live, (void *)(uintptr_t)next_random(&random)) == 0, "pthread_create");
    pthread_attr_destroy(&detached);
    return NULL;
}

static void *begin(void *argument)
{
    pthread_barrier_wait(&all_run);
    return live(argument);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "storm THREADS");
    unsigned threads = (unsigned)strtoul(argv[1], NULL, 10);
    CHECK(threads <= MOST_THREADS, "%s", argv[1]);
    pthread_barrier_init(&all_run, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, begin, (void *)(uintptr_t)(88172645463325252ULL + i)) == 0,
              "pthread_create");
    }
    pthread_barrier_wait(&all_run);
    (void)!write(STDOUT_FILENO, "ready\n", 6);
    for (;;)
        pause();
}
