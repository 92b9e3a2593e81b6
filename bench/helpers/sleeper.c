/* SPDX-License-Identifier: MIT
 *
 * A preloaded library that does nothing but start a thread that sleeps: what that alone costs a program that has none.
 */
#include <pthread.h>
#include <unistd.h>

static void *sleep_on(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sleep_on, NULL);
}
