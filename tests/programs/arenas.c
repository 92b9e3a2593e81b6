/* SPDX-License-Identifier: MIT
 *
 * Many threads that all allocate at once, and how many arenas that makes.
 *
 *     arenas THREADS [MOST [stay]]    says "arenas N", and stays where it is to; MOST: calls mallopt(M_ARENA_MAX, MOST)
 *                                     first, unless it is 0
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

#define MOST_THREADS 256

static pthread_barrier_t all_have_allocated;

static void *allocate(void *unused)
{
    void *volatile block = malloc(1000);
    pthread_barrier_wait(&all_have_allocated);
    pthread_barrier_wait(&all_have_allocated);
    free(block);
    return unused;
}

static unsigned count_arenas(void)
{
    char *text = NULL;
    size_t length;
    unsigned count = 0;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream && malloc_info(0, stream) == 0, "malloc_info");
    fclose(stream);
    for (const char *at = text; (at = strstr(at, "<heap nr=")); at++)
        count++;
    free(text);
    return count;
}

int main(int argc, char **argv)
{
    pthread_t threads[MOST_THREADS];
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    CHECK(count && count <= MOST_THREADS, "usage: arenas THREADS [MOST [stay]]");
    int most = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    CHECK(!most || mallopt(M_ARENA_MAX, most) == 1, "mallopt");
    pthread_barrier_init(&all_have_allocated, NULL, count + 1);
    for (unsigned i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate, NULL) == 0, "pthread_create");
    pthread_barrier_wait(&all_have_allocated);
    printf("arenas %u\n", count_arenas());
    fflush(stdout);
    if (argc > 3)
        pause();
    pthread_barrier_wait(&all_have_allocated);
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
