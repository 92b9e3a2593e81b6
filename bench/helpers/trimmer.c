/* SPDX-License-Identifier: MIT
 *
 * A preloaded library that does nothing but call malloc_trim from a thread, every BENCH_TRIM_EVERY_MS: what people do
 * who have no watcher.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static void *trim_on(void *every)
{
    for (;;) {
        nanosleep(every, NULL);
        malloc_trim(0);
    }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    static struct timespec every;
    const char *text = getenv("BENCH_TRIM_EVERY_MS");
    long milliseconds = text ? strtol(text, NULL, 10) : 0;
    if (milliseconds <= 0)
        return;
    every = (struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000};
    pthread_t thread;
    pthread_create(&thread, NULL, trim_on, &every);
}
