/* SPDX-License-Identifier: MIT */
#include "group_watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "group_events.h"
#include "process.h"

/* The program waited for memory during 300 ms within 2 s: a seventh of its time. Without privilege the window has to be
 * a multiple of 2 s. */
static const char trigger[] = "some 300000 2000000";

/* v1's word for: next to nothing can be reclaimed. */
static const char level[] = "critical";

static int open_trigger(const struct mw_cgroup *cgroup)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    if (mw_cgroup_file_path(cgroup, MW_CGROUP_PRESSURE, path, sizeof path))
        return -1;
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && write(fd, trigger, sizeof trigger) != (ssize_t)sizeof trigger) { /* with its NUL */
        close(fd);
        return -1;
    }
    return fd;
}

void mw_group_watch_open(struct mw_group_watch *watch, const struct mw_cgroup *cgroup, pid_t pid, uint64_t limit_bytes)
{
    *watch = (struct mw_group_watch){.pid = pid, .limit_bytes = limit_bytes};
    for (unsigned i = 0; i < MW_GROUP_WATCH_POLLS; i++)
        watch->polls[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    if (!cgroup)
        return;
    watch->cgroup = *cgroup;
    if (cgroup->version == 1)
        watch->polls[MW_GROUP_WATCH_PRESSURE].fd = mw_group_events_open(cgroup, MW_CGROUP_PRESSURE_LEVEL, level);
    else
        watch->polls[MW_GROUP_WATCH_PRESSURE] = (struct pollfd){.fd = open_trigger(cgroup), .events = POLLPRI};
}

bool mw_group_watch_marks(struct mw_group_watch *watch, uint64_t upper_bytes, uint64_t lower_bytes)
{
    const uint64_t marks_bytes[MW_GROUP_WATCH_MARKS] = {upper_bytes, lower_bytes};
    bool is_told = watch->cgroup.version == 1;
    for (unsigned i = 0; i < MW_GROUP_WATCH_MARKS && is_told; i++) {
        char mark[32];
        snprintf(mark, sizeof mark, "%llu", (unsigned long long)marks_bytes[i]);
        watch->polls[i].fd = mw_group_events_open(&watch->cgroup, MW_CGROUP_USAGE, mark);
        is_told = watch->polls[i].fd >= 0;
    }
    return is_told;
}

/* Has it told anything? It is taken note of, and reset. */
static bool take(struct pollfd *poll)
{
    uint64_t count;
    short events = poll->revents;
    poll->revents = 0;
    if (poll->fd < 0 || !events)
        return false;
    if (events & POLLIN)
        (void)!read(poll->fd, &count, sizeof count);
    if (events & (POLLERR | POLLHUP | POLLNVAL)) { /* the group is gone */
        close(poll->fd);
        poll->fd = -1;
        return false;
    }
    return true;
}

static bool read_process(const struct mw_group_watch *watch, struct mw_warning_reading *reading)
{
    if (!mw_process_resident(watch->pid, &reading->usage_bytes))
        return false;
    reading->working_set_bytes = reading->usage_bytes;
    reading->limit_bytes = watch->limit_bytes;
    return true;
}

static bool read_group(struct mw_group_watch *watch, struct mw_warning_reading *reading)
{
    struct mw_cgroup_reading group;
    if (mw_cgroup_read(&watch->cgroup, NULL, &group))
        return false;
    reading->working_set_bytes = group.working_set_bytes;
    reading->usage_bytes = group.usage_bytes;
    reading->limit_bytes = group.limit_bytes;
    return true;
}

bool mw_group_watch_read(struct mw_group_watch *watch, struct mw_warning_reading *reading)
{
    *reading = (struct mw_warning_reading){0};
    for (unsigned i = 0; i < MW_GROUP_WATCH_MARKS; i++)
        take(&watch->polls[i]);
    reading->is_pressed = take(&watch->polls[MW_GROUP_WATCH_PRESSURE]);
    if (watch->cgroup.version ? read_group(watch, reading) : read_process(watch, reading))
        return true;
    mw_group_watch_close(watch);
    return false;
}

void mw_group_watch_close(struct mw_group_watch *watch)
{
    for (unsigned i = 0; i < MW_GROUP_WATCH_POLLS; i++)
        if (watch->polls[i].fd > 0)
            close(watch->polls[i].fd);
    *watch = (struct mw_group_watch){0};
    for (unsigned i = 0; i < MW_GROUP_WATCH_POLLS; i++)
        watch->polls[i].fd = -1;
}
