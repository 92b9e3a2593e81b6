/* SPDX-License-Identifier: MIT
 *
 * Does Alloc agree with what glibc says of its own heap? A chunk costs glibc 8 bytes more than its usable size (a
 * mapped one 16), and blocks that a thread's cache (tcache) holds are free to the program and in use to mallinfo2.
 *
 *     mallinfo TCACHE_BYTES     the most that the caches can hold
 */
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include <memwatch.h>

#include "check.h"

#define THREADS 4
#define BLOCKS  20000
/* What glibc 2.36 has in use of which no malloc call knows, a thread: its cache (656 bytes) and its arena's own state
 * (about 2,300). */
#define OWN_BYTES 4096

static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t barrier;

static void *work(void *argument)
{
    void **mine = argument;
    unsigned state = 12345;
    for (unsigned i = 0; i < BLOCKS; i++) {
        state = state * 1103515245 + 12345;
        size_t size = state >> 16 & 0x7ff;
        mine[i] = malloc(i % 1000 ? size : size * 1000);
    }
    for (unsigned i = 0; i < BLOCKS; i += 3) {
        free(mine[i]);
        mine[i] = NULL;
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    struct memwatch_stats stats;
    CHECK(argc == 2, "one argument");
    size_t tcache_bytes = strtoul(argv[1], NULL, 10);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_create(&threads[t], NULL, work, blocks[t]);
    pthread_barrier_wait(&barrier);
    CHECK(memwatch_read_stats(&stats) == 0, "the library is not loaded");
    struct mallinfo2 glibc = mallinfo2();
    size_t in_use = glibc.uordblks + glibc.hblkhd;
    size_t counted = stats.Alloc + 8 * (stats.HeapObjects - glibc.hblks) + 16 * glibc.hblks;
    size_t most = tcache_bytes + (THREADS + 2) * OWN_BYTES;
    printf("mallinfo2: %zu in use; memwatch: %zu with the chunks' headers; difference %zu, at most %zu\n", in_use,
           counted, in_use - counted, most);
    CHECK(in_use >= counted, "glibc has less in use than was counted");
    CHECK(in_use - counted <= most, "glibc has more in use than was counted and cached");
    pthread_barrier_wait(&barrier);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    return 0;
}
