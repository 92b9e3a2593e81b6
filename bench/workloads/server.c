/* SPDX-License-Identifier: MIT
 *
 * server REPLACEMENTS [THREADS]: as a server whose connections outlive its threads (the idea of Larson and Krishnan's
 * benchmark). A thread takes a table of blocks, replaces random ones, puts the table back, starts its successor and
 * ends; the successor takes the table that has waited longest. So blocks are freed by another thread than the one
 * that allocated them, while that one's heirs run. Prints replacements a second.
 */
#include <inttypes.h>
#include <pthread.h>

#include "workload.h"

enum { BLOCKS = 2000, ROUNDS = 50, MOST_THREADS = 1024 };

struct table {
    uint64_t random;
    void *blocks[BLOCKS];
};

static struct {
    struct table *waiting[MOST_THREADS + 1];
    uint64_t put, taken;
    uint64_t lines_left; /* of threads and their successors */
    pthread_mutex_t lock;
    pthread_cond_t ended;
} hall = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

static uint64_t replacements; /* of a thread */
static uint64_t tables;

static struct table *take(void)
{
    pthread_mutex_lock(&hall.lock);
    struct table *table = hall.waiting[hall.taken++ % tables];
    pthread_mutex_unlock(&hall.lock);
    return table;
}

static void put(struct table *table)
{
    pthread_mutex_lock(&hall.lock);
    hall.waiting[hall.put++ % tables] = table;
    pthread_mutex_unlock(&hall.lock);
}

static void replace(struct table *table, uint64_t count)
{
    for (; count; count--) {
        uint64_t next = random_next(&table->random);
        void **slot = &table->blocks[below(next, BLOCKS)];
        free(*slot);
        *slot = allocate(8 + below(next << 32, 993));
    }
}

static void start(int *rounds_left);

static void *work(void *argument)
{
    int *rounds_left = argument;
    struct table *table = take();
    replace(table, replacements);
    put(table);
    if (--*rounds_left > 0) {
        start(rounds_left);
        return NULL;
    }
    pthread_mutex_lock(&hall.lock);
    hall.lines_left--;
    pthread_cond_signal(&hall.ended);
    pthread_mutex_unlock(&hall.lock);
    return NULL;
}

static void start(int *rounds_left)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, work, rounds_left) == 0, "pthread_create");
    pthread_detach(thread);
}

int main(int argc, char **argv)
{
    uint64_t count = number(argc, argv, 2, 2);
    must(count <= MOST_THREADS, "too many threads");
    replacements = number(argc, argv, 1, 1000) / ROUNDS + 1;
    tables = count + 1;
    for (uint64_t i = 0; i < tables; i++) {
        struct table *table = calloc(1, sizeof *table);
        must(table != NULL, "calloc");
        table->random = (i + 1) * 0x9E3779B97F4A7C15U;
        for (int k = 0; k < BLOCKS; k++)
            table->blocks[k] = allocate(8 + below(random_next(&table->random), 993));
        put(table);
    }
    hall.lines_left = count;
    uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    static int rounds_left[MOST_THREADS];
    for (uint64_t i = 0; i < count; i++) {
        rounds_left[i] = ROUNDS;
        start(&rounds_left[i]);
    }
    pthread_mutex_lock(&hall.lock);
    while (hall.lines_left)
        pthread_cond_wait(&hall.ended, &hall.lock);
    pthread_mutex_unlock(&hall.lock);
    uint64_t took_ns = clock_ns(CLOCK_MONOTONIC) - begin;
    printf("throughput %.0f\n", (double)(replacements * ROUNDS * count) * 1e9 / (double)took_ns);
}
