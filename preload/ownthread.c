/* SPDX-License-Identifier: MIT */
#include "ownthread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "real.h"

#define STACK_BYTES ((size_t)256 * 1024)

typedef int create_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

/* Looked for when it is needed: before glibc 2.34 it is in a library that a program may not have. */
int mw_own_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    static void *found;
    create_thread *create;
    void *real = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (!real) {
        real = mw_real_find("pthread_create");
        if (!real)
            return ENOSYS;
        __atomic_store_n(&found, real, __ATOMIC_RELAXED);
    }
    memcpy(&create, &real, sizeof create); /* ISO C has no cast from object to function */
    return create(thread, attributes, run, argument);
}

static int start_with_stack(struct mw_own_thread *own, void *(*run)(void *), size_t stack_bytes)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    if (stack_bytes)
        pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_attr_getstacksize(&attributes, &own->stack_bytes);
    error = mw_own_thread_create(&own->thread, &attributes, run, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

int mw_own_thread_start(struct mw_own_thread *own, void *(*run)(void *))
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* which the new thread inherits */
    int error = start_with_stack(own, run, STACK_BYTES);
    if (error == EINVAL)
        error = start_with_stack(own, run, 0); /* the program's static TLS does not fit into a small stack */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}
