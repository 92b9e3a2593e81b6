/* SPDX-License-Identifier: MIT
 *
 * unshare and setns: the kernel lets only a process of one thread enter a user namespace, and only one whose threads do
 * not share root and directory enter a mount namespace. The program has one thread; the second is ours, and steps aside
 * for the call.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "monitor.h"
#include "real.h"
#include "syscall.h"

#define EXPORT       __attribute__((visibility("default")))
#define TRIES        100 /* a thread that has ended may still be counted for a moment */
#define TRY_AGAIN_NS UINT64_C(1000000)

/* Calls again while the kernel says EINVAL, which may be because of us. */
#define WITHOUT_MONITOR(call)                                                                                          \
    do {                                                                                                               \
        bool paused = mw_monitor_pause();                                                                              \
        int result = call;                                                                                             \
        for (int i = 0; paused && result == -1 && errno == EINVAL && i < TRIES; i++) {                                 \
            mw_sys_sleep_until(mw_clock_ns(CLOCK_MONOTONIC) + TRY_AGAIN_NS);                                           \
            result = call;                                                                                             \
        }                                                                                                              \
        int saved = errno;                                                                                             \
        mw_monitor_resume(paused);                                                                                     \
        errno = saved;                                                                                                 \
        return result;                                                                                                 \
    } while (0)

static int (*real_unshare)(int flags);
static int (*real_setns)(int fd, int type);

/* At the start: the calls are made between fork and exec, where the loader's lock may be held for ever. */
__attribute__((constructor)) static void find(void)
{
    void *unshare_found = mw_real_find("unshare");
    void *setns_found = mw_real_find("setns");
    memcpy(&real_unshare, &unshare_found, sizeof unshare_found); /* ISO C has no cast from object to function */
    memcpy(&real_setns, &setns_found, sizeof setns_found);
}

EXPORT int unshare(int flags)
{
    if (!real_unshare) /* a library's constructor, before ours */
        find();
    if (!(flags & (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)))
        return real_unshare(flags);
    WITHOUT_MONITOR(real_unshare(flags));
}

EXPORT int setns(int fd, int type)
{
    if (!real_setns)
        find();
    WITHOUT_MONITOR(real_setns(fd, type));
}
