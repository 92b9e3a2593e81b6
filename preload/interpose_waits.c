/* SPDX-License-Identifier: MIT
 *
 * The calls in which a program of one thread sleeps: a long wait is cut into slices at first (idle.h). Each slice is
 * the call that the program makes, so that no sandbox sees another; with a mask they are left alone, for their callers
 * rely on signals.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "idle.h"
#include "real.h"
#include "syscall.h"

#define EXPORT __attribute__((visibility("default")))
#define MS     UINT64_C(1000000)
#define S      (1000 * MS)

/* X(result, name, (parameters)) */
#define WAITS(X)                                                                                                       \
    X(int, poll, (struct pollfd * fds, nfds_t count, int timeout_ms))                                                  \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout_ms))                             \
    X(int, select, (int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout))                       \
    X(int, nanosleep, (const struct timespec *wait, struct timespec *left))                                            \
    X(int, clock_nanosleep, (clockid_t clock, int flags, const struct timespec *wait, struct timespec *left))

#define DECLARE(result, name, parameters) static result(*real_##name) parameters;
WAITS(DECLARE)
#undef DECLARE

/* At the start, before the program can call from a signal handler; or for who calls even before that. */
__attribute__((constructor)) static void find_all(void)
{
#define FIND(result, name, parameters)                                                                                 \
    {                                                                                                                  \
        void *found = mw_real_find(#name);                                                                             \
        memcpy(&real_##name, &found, sizeof found);                                                                    \
    }
    WAITS(FIND)
#undef FIND
}

#define NEED(name)                                                                                                     \
    do {                                                                                                               \
        if (__builtin_expect(!real_##name, 0))                                                                         \
            find_all();                                                                                                \
    } while (0)

static struct mw_idle begin(uint64_t wait_ns)
{
    return (struct mw_idle){.deadline_ns = wait_ns == MW_IDLE_FOR_EVER ? MW_IDLE_FOR_EVER
                                                                       : mw_clock_ns(CLOCK_MONOTONIC) + wait_ns};
}

/* Upwards: a wait must not end before its time. */
static int to_ms(uint64_t ns)
{
    if (ns == MW_IDLE_FOR_EVER)
        return -1;
    return ns / MS >= INT_MAX ? INT_MAX : (int)((ns + MS - 1) / MS);
}

static uint64_t from_ms(int ms)
{
    return ms < 0 ? MW_IDLE_FOR_EVER : (uint64_t)ms * MS;
}

static struct timespec to_timespec(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / S), .tv_nsec = (long)(ns % S)};
}

/* What is no time, or longer than can be told, is not ours to cut. */
static uint64_t from_timespec(const struct timespec *wait)
{
    if (!wait || wait->tv_sec < 0 || wait->tv_sec > INT_MAX || wait->tv_nsec < 0 || wait->tv_nsec >= (long)S)
        return 0;
    return (uint64_t)wait->tv_sec * S + (uint64_t)wait->tv_nsec;
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    NEED(poll);
    if (!mw_idle_cuts(from_ms(timeout_ms)))
        return real_poll(fds, count, timeout_ms);
    struct mw_idle idle = begin(from_ms(timeout_ms));
    uint64_t slice_ns;
    int result;
    do {
        slice_ns = mw_idle_next_ns(&idle);
        result = real_poll(fds, count, to_ms(slice_ns));
    } while (result == 0 && slice_ns == MW_IDLE_SLICE_NS);
    return result;
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    NEED(epoll_wait);
    if (!mw_idle_cuts(from_ms(timeout_ms)))
        return real_epoll_wait(epoll, events, count, timeout_ms);
    struct mw_idle idle = begin(from_ms(timeout_ms));
    uint64_t slice_ns;
    int result;
    do {
        slice_ns = mw_idle_next_ns(&idle);
        result = real_epoll_wait(epoll, events, count, to_ms(slice_ns));
    } while (result == 0 && slice_ns == MW_IDLE_SLICE_NS);
    return result;
}

static uint64_t from_timeval(const struct timeval *timeout)
{
    if (!timeout)
        return MW_IDLE_FOR_EVER;
    if (timeout->tv_sec < 0 || timeout->tv_sec > INT_MAX || timeout->tv_usec < 0 || timeout->tv_usec >= 1000000)
        return 0;
    return (uint64_t)timeout->tv_sec * S + (uint64_t)timeout->tv_usec * 1000;
}

/* Only as much as the kernel looks at: a program with few descriptors may have made room for no more. */
static void copy_set(fd_set *to, const fd_set *from, int count)
{
    size_t words = ((size_t)count + NFDBITS - 1) / NFDBITS;
    if (to && from)
        memcpy(to, from, words * sizeof(fd_mask));
}

/* A slice that has seen nothing leaves the sets empty, and the time as what is left of the slice. */
static int select_in_slices(int count, fd_set *sets[3], struct timeval *timeout, uint64_t wait_ns)
{
    struct mw_idle idle = begin(wait_ns);
    fd_set asked[3];
    uint64_t slice_ns;
    int result;
    for (unsigned i = 0; i < 3; i++)
        copy_set(&asked[i], sets[i], count);
    do {
        for (unsigned i = 0; i < 3; i++)
            copy_set(sets[i], &asked[i], count);
        slice_ns = mw_idle_next_ns(&idle);
        struct timeval slice = {.tv_sec = (time_t)(slice_ns / S), .tv_usec = (suseconds_t)(slice_ns % S / 1000)};
        result = real_select(count, sets[0], sets[1], sets[2], slice_ns == MW_IDLE_FOR_EVER ? NULL : &slice);
    } while (result == 0 && slice_ns == MW_IDLE_SLICE_NS);
    if (timeout) {
        uint64_t left_ns = mw_idle_left_ns(&idle);
        *timeout = (struct timeval){.tv_sec = (time_t)(left_ns / S), .tv_usec = (suseconds_t)(left_ns % S / 1000)};
    }
    return result;
}

EXPORT int select(int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *timeout)
{
    NEED(select);
    if (count < 0 || count > FD_SETSIZE || !mw_idle_cuts(from_timeval(timeout)))
        return real_select(count, in, out, other, timeout);
    return select_in_slices(count, (fd_set *[]){in, out, other}, timeout, from_timeval(timeout));
}

EXPORT int nanosleep(const struct timespec *wait, struct timespec *left)
{
    NEED(nanosleep);
    uint64_t wait_ns = from_timespec(wait);
    if (!mw_idle_cuts(wait_ns))
        return real_nanosleep(wait, left);
    struct mw_idle idle = begin(wait_ns);
    int result = 0;
    for (uint64_t slice_ns = 1; result == 0 && (slice_ns = mw_idle_next_ns(&idle));) {
        struct timespec slice = to_timespec(slice_ns);
        result = real_nanosleep(&slice, NULL);
    }
    if (result && left)
        *left = to_timespec(mw_idle_left_ns(&idle));
    return result;
}

/* How long a wait on that clock is; 0: not ours to cut. The clock of day may be set meanwhile. */
static uint64_t wait_on_clock(clockid_t clock, int flags, const struct timespec *wait)
{
    uint64_t ns = from_timespec(wait);
    if (clock != CLOCK_MONOTONIC && (clock != CLOCK_REALTIME || flags))
        return 0;
    if (flags != TIMER_ABSTIME)
        return flags ? 0 : ns;
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    return ns > now_ns ? ns - now_ns : 0;
}

EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wait, struct timespec *left)
{
    NEED(clock_nanosleep);
    uint64_t wait_ns = wait_on_clock(clock, flags, wait);
    if (!mw_idle_cuts(wait_ns))
        return real_clock_nanosleep(clock, flags, wait, left);
    struct mw_idle idle = begin(wait_ns);
    int error = 0;
    for (uint64_t slice_ns = 1; error == 0 && (slice_ns = mw_idle_next_ns(&idle));) {
        struct timespec slice = to_timespec(slice_ns);
        error = real_clock_nanosleep(CLOCK_MONOTONIC, 0, &slice, NULL);
    }
    if (error == EINTR && left && !flags)
        *left = to_timespec(mw_idle_left_ns(&idle));
    return error;
}

/* libc's own would call its own nanosleep. */
EXPORT unsigned sleep(unsigned seconds)
{
    struct timespec wait = {.tv_sec = (time_t)seconds};
    int saved = errno;
    if (nanosleep(&wait, &wait) == 0) {
        errno = saved;
        return 0;
    }
    return (unsigned)wait.tv_sec;
}

EXPORT int usleep(useconds_t microseconds)
{
    struct timespec wait = to_timespec((uint64_t)microseconds * 1000);
    return nanosleep(&wait, NULL);
}
