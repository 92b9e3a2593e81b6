/* SPDX-License-Identifier: MIT
 *
 * pthread_create: from here on the program has several threads, which is known before the second one can do anything;
 * and one of ours more does not matter any more.
 */
#include <pthread.h>

#include "arenas.h"
#include "ownthread.h"
#include "reclaimer.h"
#include "threads.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    mw_threads_become_several();
    mw_arenas_before_thread();
    int error = mw_own_thread_create(thread, attributes, run, argument);
    if (!error)
        mw_reclaimer_start();
    return error;
}
