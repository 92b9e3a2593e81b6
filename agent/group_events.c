/* SPDX-License-Identifier: MIT */
#include "group_events.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int open_file(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, int flags)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    if (mw_cgroup_file_path(cgroup, file, path, sizeof path))
        return -1;
    return open(path, flags | O_CLOEXEC);
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static bool ask(int asking, int counting, int watched, const char *arguments)
{
    char request[64];
    int length = snprintf(request, sizeof request, "%d %d %s", counting, watched, arguments);
    return length > 0 && (size_t)length < sizeof request && write(asking, request, (size_t)length) == length;
}

int mw_group_events_open(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, const char *arguments)
{
    int watched = open_file(cgroup, file, O_RDONLY);
    int asking = watched >= 0 ? open_file(cgroup, MW_CGROUP_EVENT_CONTROL, O_WRONLY) : -1;
    int counting = asking >= 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if (counting >= 0 && !ask(asking, counting, watched, arguments)) {
        close(counting);
        counting = -1;
    }
    close_if_open(watched);
    close_if_open(asking);
    return counting;
}
