/* SPDX-License-Identifier: MIT
 *
 * burst BURSTS [IN_TURN [AT_ONCE]]: eight threads. In a burst a thread allocates 50,000 blocks of 16 to 1,024 bytes, 25
 * MiB, and frees 49 of 50 in a random order; the rest lives until its next burst is over. All at once, or, where
 * IN_TURN is 1, one thread after the other, so that each finds the memory idle in the other's arenas. Where AT_ONCE is
 * 1 blocks are written as fast as the kernel gives pages. Then all are quiet.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "quiet.h"

enum { THREADS = 8, BLOCKS = 50000, KEPT = BLOCKS / 50, SMALLEST = 16, LARGEST = 1024 };

struct worker {
    uint64_t random;
    uint64_t number;
    char *blocks[BLOCKS];
    char *kept[KEPT];
};

static struct worker workers[THREADS];
static uint64_t bursts;
static bool in_turn;
static bool at_once;

static struct {
    uint64_t turns; /* that have been taken */
    uint64_t done;  /* threads */
    pthread_mutex_t lock;
    pthread_cond_t changed;
} hall = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static char *block_of(size_t size)
{
    return at_once ? memset(allocate(size), 1, size) : allocate_written(size);
}

static void burst(struct worker *worker)
{
    for (int i = 0; i < BLOCKS; i++)
        worker->blocks[i] = block_of(SMALLEST + below(random_next(&worker->random), LARGEST - SMALLEST + 1));
    shuffle(worker->blocks, BLOCKS, &worker->random);
    for (int i = 0; i < KEPT; i++) {
        free(worker->kept[i]);
        worker->kept[i] = worker->blocks[i];
    }
    for (int i = KEPT; i < BLOCKS; i++)
        free(worker->blocks[i]);
}

static void await_turn(const struct worker *worker)
{
    pthread_mutex_lock(&hall.lock);
    while (hall.turns % THREADS != worker->number)
        pthread_cond_wait(&hall.changed, &hall.lock);
    pthread_mutex_unlock(&hall.lock);
}

/* One more turn was taken, or one more thread is done. */
static void count(uint64_t *counter)
{
    pthread_mutex_lock(&hall.lock);
    ++*counter;
    pthread_cond_broadcast(&hall.changed);
    pthread_mutex_unlock(&hall.lock);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t left = bursts; left; left--) {
        if (in_turn)
            await_turn(worker);
        burst(worker);
        count(&hall.turns);
    }
    count(&hall.done);
    for (;;)
        pause();
    return NULL;
}

int main(int argc, char **argv)
{
    bursts = number(argc, argv, 1, 1);
    in_turn = number(argc, argv, 2, 0) != 0;
    at_once = number(argc, argv, 3, 0) != 0;
    uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        workers[i].number = i;
        workers[i].random = (i + 1) * 0x9E3779B97F4A7C15U;
        must(pthread_create(&thread, NULL, work, &workers[i]) == 0, "pthread_create");
    }
    pthread_mutex_lock(&hall.lock);
    while (hall.done < THREADS)
        pthread_cond_wait(&hall.changed, &hall.lock);
    pthread_mutex_unlock(&hall.lock);
    fall_quiet(THREADS * bursts * BLOCKS, clock_ns(CLOCK_MONOTONIC) - begin);
}
