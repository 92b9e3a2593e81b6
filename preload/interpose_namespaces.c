/* SPDX-License-Identifier: MIT
 *
 * unshare and setns: the kernel lets only a process of one thread enter a user namespace, and only one whose threads do
 * not share root and directory enter a mount namespace. The program has one thread; the second is ours, and steps aside
 * for the call.
 */
#include <errno.h>
#include <sched.h>
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

EXPORT int unshare(int flags)
{
    int (*real)(int) = mw_real_find("unshare");
    if (!(flags & (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)))
        return real(flags);
    WITHOUT_MONITOR(real(flags));
}

EXPORT int setns(int fd, int type)
{
    int (*real)(int, int) = mw_real_find("setns");
    WITHOUT_MONITOR(real(fd, type));
}
