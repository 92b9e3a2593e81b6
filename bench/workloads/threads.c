/* SPDX-License-Identifier: MIT
 *
 * threads COUNT: so many short threads, four at a time. Each allocates eight blocks, frees seven and leaves one to the
 * main thread.
 */
#include <pthread.h>

#include "workload.h"

enum { AT_A_TIME = 4, BLOCKS = 8 };

static void *work(void *nothing)
{
    (void)nothing;
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = allocate(32U << i);
    for (int i = 1; i < BLOCKS; i++)
        free(blocks[i]);
    return blocks[0];
}

int main(int argc, char **argv)
{
    for (uint64_t left = number(argc, argv, 1, 1000) / AT_A_TIME; left; left--) {
        pthread_t threads[AT_A_TIME];
        for (int i = 0; i < AT_A_TIME; i++)
            must(pthread_create(&threads[i], NULL, work, NULL) == 0, "pthread_create");
        for (int i = 0; i < AT_A_TIME; i++) {
            void *block;
            pthread_join(threads[i], &block);
            free(block);
        }
    }
}
