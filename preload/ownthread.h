/* SPDX-License-Identifier: MIT
 *
 * A thread of ours that libc knows of, as any of the program's: it may call the allocator. Where it is the program's
 * second one, it costs the program its shortcuts for a single thread (rawthread.h).
 */
#ifndef MW_OWNTHREAD_H
#define MW_OWNTHREAD_H

#include <pthread.h>
#include <stddef.h>

struct mw_own_thread {
    pthread_t thread;
    size_t stack_bytes;
};

/* Starts one with every signal blocked and a small stack. It is to be joined. Returns 0 or a negative errno value. Not
 * from a signal handler: libc allocates. */
int mw_own_thread_start(struct mw_own_thread *own, void *(*run)(void *));

/* pthread_create beneath us, for the program. */
int mw_own_thread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

#endif
