/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/epoll.h>

#define NS_A_MS UINT64_C(1000000)

int mw_loop_new(void)
{
    int loop = epoll_create1(EPOLL_CLOEXEC);
    return loop < 0 ? -errno : loop;
}

int mw_loop_add(int loop, struct mw_loop_source *source, int fd, uint32_t events, mw_loop_ready *ready, void *context)
{
    struct epoll_event event = {.events = events, .data = {.ptr = source}};
    *source = (struct mw_loop_source){.ready = ready, .context = context, .fd = fd};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    source->fd = -1;
    return -errno;
}

void mw_loop_remove(int loop, struct mw_loop_source *source)
{
    if (source->fd < 0)
        return;
    epoll_ctl(loop, EPOLL_CTL_DEL, source->fd, NULL);
    source->fd = -1;
}

void mw_loop_wait(int loop, uint64_t timeout_ns)
{
    struct epoll_event event;
    uint64_t timeout_ms = timeout_ns / NS_A_MS + (timeout_ns % NS_A_MS != 0);
    if (epoll_wait(loop, &event, 1, timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX) != 1)
        return;
    const struct mw_loop_source *source = event.data.ptr;
    source->ready(source->context);
}
