/* SPDX-License-Identifier: MIT
 *
 * pthread_create: from here on the program has several threads, which is known before the second one can do anything.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "real.h"
#include "threads.h"

#define EXPORT __attribute__((visibility("default")))

typedef int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);

static create *real_create(void)
{
    static void *found;
    void *real = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (!real) {
        real = mw_real_find("pthread_create");
        __atomic_store_n(&found, real, __ATOMIC_RELAXED);
    }
    create *function = NULL;
    memcpy(&function, &real, sizeof real);
    return function;
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    create *real = real_create();
    if (!real) /* before glibc 2.34, in a program that is not linked with libpthread */
        return ENOSYS;
    mw_threads_become_several();
    return real(thread, attributes, start, argument);
}
