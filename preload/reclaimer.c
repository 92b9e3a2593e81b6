/* SPDX-License-Identifier: MIT */
#include "reclaimer.h"

#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "monitor.h"
#include "ownthread.h"
#include "pressure_level.h"
#include "syscall.h"
#include "threads.h"
#include "trim.h"

static enum { NOT_ALLOWED, ABSENT, STARTING, PRESENT } state;
static bool is_for_trims;
static bool is_stopping;
static struct mw_own_thread own;
static const struct mw_thread *it;

/* Is there something else than a request to look up for? */
static bool is_called(void)
{
    return __atomic_load_n(&is_stopping, __ATOMIC_ACQUIRE) || mw_pressure_level_is_due();
}

/* The program's callbacks, after the allocator; and then that once more. True: somebody was called. */
static bool call_back(void)
{
    struct mw_trim_event event;
    if (!mw_pressure_level_is_due() || !mw_pressure_level_call())
        return false;
    if (mw_trim(MW_TRIM_CALLBACKS, 0, &event) == 0)
        mw_monitor_tell(&event);
    return true;
}

static void *run(void *unused)
{
    (void)unused;
    mw_syscall6(SYS_prctl, PR_SET_NAME, (long)"memwatch-trim", 0, 0, 0, 0);
    __atomic_store_n(&it, &mw_thread, __ATOMIC_RELAXED);
    while (!__atomic_load_n(&is_stopping, __ATOMIC_ACQUIRE))
        if (!mw_trim_serve_assigned() && !call_back())
            mw_trim_wait(is_called);
    __atomic_store_n(&it, NULL, __ATOMIC_RELAXED);
    return NULL;
}

static void start(void)
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

void mw_reclaimer_start(void)
{
    if (is_for_trims)
        start();
}

void mw_reclaimer_allow(bool for_trims)
{
    is_for_trims = for_trims;
    __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
    if (__atomic_load_n(&mw_threads_several, __ATOMIC_RELAXED))
        mw_reclaimer_start(); /* a library's constructor came before us */
}

bool mw_reclaimer_demand(void)
{
    mw_threads_become_several();
    start();
    while (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == STARTING) /* by another thread */
        sched_yield();
    return mw_reclaimer_is_there();
}

bool mw_reclaimer_is_me(void)
{
    return __atomic_load_n(&it, __ATOMIC_RELAXED) == &mw_thread;
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
    if (!mw_reclaimer_is_there() || mw_reclaimer_is_me()) /* nobody can wait for himself */
        return false;
    mw_reclaimer_stop();
    pthread_join(own.thread, NULL);
    __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
    return true;
}

void mw_reclaimer_after_fork(void)
{
    it = NULL;
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) != NOT_ALLOWED)
        __atomic_store_n(&state, ABSENT, __ATOMIC_RELEASE);
}
