/* SPDX-License-Identifier: MIT
 *
 * mix PAIRS [THREADS [LARGEST]]: each thread has 10,000 live blocks of 16 bytes to LARGEST, and replaces a random one
 * PAIRS times. The threads share nothing.
 */
#include <pthread.h>

#include "workload.h"

enum { LIVE = 10000, SMALLEST = 16, MOST_THREADS = 1024 };

static uint64_t pairs;
static uint32_t sizes; /* how many there are */

static void *work(void *seed)
{
    uint64_t random = *(const uint64_t *)seed * 0x9E3779B97F4A7C15U;
    void **live = calloc(LIVE, sizeof *live);
    must(live != NULL, "calloc");
    for (int i = 0; i < LIVE; i++)
        live[i] = allocate(SMALLEST + below(random_next(&random), sizes));
    for (uint64_t left = pairs; left; left--) {
        uint64_t next = random_next(&random);
        void **slot = &live[below(next, LIVE)];
        free(*slot);
        *slot = allocate(SMALLEST + below(next << 32, sizes));
    }
    for (int i = 0; i < LIVE; i++)
        free(live[i]);
    free(live);
    return NULL;
}

int main(int argc, char **argv)
{
    pairs = number(argc, argv, 1, 1000);
    uint64_t count = number(argc, argv, 2, 1);
    sizes = (uint32_t)number(argc, argv, 3, 1024) - SMALLEST + 1;
    static uint64_t seeds[MOST_THREADS];
    static pthread_t threads[MOST_THREADS];
    must(count <= MOST_THREADS, "too many threads");
    for (uint64_t i = 0; i < count; i++)
        seeds[i] = i + 1;
    if (count == 1) {
        work(&seeds[0]); /* a program without threads */
        return 0;
    }
    for (uint64_t i = 0; i < count; i++)
        must(pthread_create(&threads[i], NULL, work, &seeds[i]) == 0, "pthread_create");
    for (uint64_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}
