/* SPDX-License-Identifier: MIT */
#include "reclaimer.h"

#include <sys/prctl.h>

#include "ownthread.h"
#include "syscall.h"
#include "trim.h"

static enum { NOT_ALLOWED, ABSENT, STARTING, PRESENT } state;
static bool is_stopping;
static struct mw_own_thread own;

static void *run(void *unused)
{
    (void)unused;
    mw_syscall6(SYS_prctl, PR_SET_NAME, (long)"memwatch-trim", 0, 0, 0, 0);
    while (!__atomic_load_n(&is_stopping, __ATOMIC_ACQUIRE))
        if (!mw_trim_serve_assigned())
            mw_trim_wait(&is_stopping);
    return NULL;
}

void mw_reclaimer_allow(void)
{
    __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
}

void mw_reclaimer_start(void)
{
    int expected = ABSENT;
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) != ABSENT ||
        !__atomic_compare_exchange_n((int *)&state, &expected, STARTING, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&is_stopping, false, __ATOMIC_RELEASE);
    /* Where none can be had, there is no sense in trying at each thread's birth. */
    int error = mw_own_thread_start(&own, run);
    __atomic_store_n(&state, error ? NOT_ALLOWED : PRESENT, __ATOMIC_RELEASE);
}

bool mw_reclaimer_is_there(void)
{
    return __atomic_load_n(&state, __ATOMIC_ACQUIRE) == PRESENT;
}

uint64_t mw_reclaimer_stack_bytes(void)
{
    return mw_reclaimer_is_there() ? own.stack_bytes : 0;
}

void mw_reclaimer_stop(void)
{
    __atomic_store_n(&is_stopping, true, __ATOMIC_RELEASE);
    mw_trim_wake();
}

bool mw_reclaimer_pause(void)
{
    if (!mw_reclaimer_is_there())
        return false;
    mw_reclaimer_stop();
    pthread_join(own.thread, NULL);
    __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
    return true;
}

void mw_reclaimer_after_fork(void)
{
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) != NOT_ALLOWED)
        __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
}
