/* SPDX-License-Identifier: MIT
 *
 * A library that starts a thread as soon as it is loaded, which is before a preloaded one has started.
 */
#include <pthread.h>
#include <unistd.h>

static void *rest(void *unused)
{
    for (;;)
        pause();
    return unused;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, rest, NULL);
}
