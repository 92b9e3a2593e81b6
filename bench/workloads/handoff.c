/* SPDX-License-Identifier: MIT
 *
 * handoff BLOCKS: one thread allocates, another frees. They are handed over in batches, so that the queue's own cost
 * is small.
 */
#include <pthread.h>

#include "workload.h"

enum { BATCH = 256, BATCHES = 16 };

static struct {
    void *blocks[BATCHES][BATCH];
    uint64_t put, taken; /* batches */
    pthread_mutex_t lock;
    pthread_cond_t changed;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint64_t batches;

/* Says that one more batch was put or taken. Waits until of those put at most, and at least, so many are not taken. */
static void advance(uint64_t *counter, uint64_t most_ahead, uint64_t least_ahead)
{
    pthread_mutex_lock(&queue.lock);
    ++*counter;
    pthread_cond_signal(&queue.changed);
    while (queue.put - queue.taken > most_ahead || (queue.put - queue.taken < least_ahead && queue.put < batches))
        pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
}

static void *produce(void *nothing)
{
    uint64_t random = 1;
    for (uint64_t i = 0; i < batches; i++) {
        for (int k = 0; k < BATCH; k++)
            queue.blocks[i % BATCHES][k] = allocate(16 + below(random_next(&random), 1009));
        advance(&queue.put, BATCHES - 1, 0);
    }
    return nothing;
}

static void await_first(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.put == 0)
        pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
}

int main(int argc, char **argv)
{
    batches = number(argc, argv, 1, 1000) / BATCH + 1;
    pthread_t producer;
    must(pthread_create(&producer, NULL, produce, NULL) == 0, "pthread_create");
    await_first();
    for (uint64_t i = 0; i < batches; i++) {
        for (int k = 0; k < BATCH; k++)
            free(queue.blocks[i % BATCHES][k]);
        advance(&queue.taken, BATCHES, 1);
    }
    pthread_join(producer, NULL);
}
