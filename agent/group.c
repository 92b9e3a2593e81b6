/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "group_walk.h"

#define POLITE_NS (2 * UINT64_C(1000000000)) /* between SIGTERM and SIGKILL */
#define REMOVE_NS (10 * UINT64_C(1000000000))

static bool file_path(const struct mw_group *group, enum mw_cgroup_file file, char *path, size_t bytes,
                      struct mw_error *error)
{
    int result = mw_cgroup_file_path(&group->cgroup, file, path, bytes);
    if (result == -ENOENT)
        return mw_error_set(error, ENOENT, "a file that cgroup v%d does not have", group->cgroup.version);
    return result ? mw_error_set(error, -result, "%s", group->cgroup.dir) : true;
}

static bool write_path(const char *path, const char *text, struct mw_error *error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return mw_error_set(error, errno, "cannot open %s", path);
    ssize_t written = write(fd, text, strlen(text));
    int errno_value = errno;
    close(fd);
    return written < 0 ? mw_error_set(error, errno_value, "cannot write %s to %s", text, path) : true;
}

static bool write_number(const struct mw_group *group, enum mw_cgroup_file file, uint64_t number,
                         struct mw_error *error)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return file_path(group, file, path, sizeof path, error) && write_path(path, text, error);
}

static bool has_file(const struct mw_group *group, enum mw_cgroup_file file)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    return mw_cgroup_file_path(&group->cgroup, file, path, sizeof path) == 0 && access(path, W_OK) == 0;
}

/* Makes a group below parent that has a memory limit to set. */
static bool make_below(const struct mw_cgroup *parent, struct mw_group *group, struct mw_error *error)
{
    static unsigned made;
    *group = (struct mw_group){.cgroup = *parent};
    size_t length = strlen(parent->dir);
    int more = snprintf(group->cgroup.dir + length, sizeof group->cgroup.dir - length, "/memwatch-%d-%u", (int)getpid(),
                        ++made);
    if (more < 0 || length + (size_t)more >= sizeof group->cgroup.dir)
        return mw_error_set(error, ENAMETOOLONG, "%s", parent->dir);
    if (mkdir(group->cgroup.dir, 0755))
        return mw_error_set(error, errno, "cannot make the cgroup %s", group->cgroup.dir);
    if (has_file(group, MW_CGROUP_LIMIT))
        return true;
    rmdir(group->cgroup.dir);
    return mw_error_set(error, 0, "the memory controller is not passed on below %s", parent->dir);
}

/* v2: lets the children of a group have the memory controller. Refused where the group holds processes itself. */
static void pass_memory_on(const struct mw_cgroup *parent)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    struct mw_error refused = {0};
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", parent->dir);
    write_path(path, "+memory", &refused); /* make_below tells whether it has helped */
}

bool mw_group_create(struct mw_group *group, struct mw_error *error)
{
    struct mw_cgroup own;
    int result = mw_cgroup_find("", "self", &own);
    if (result)
        return mw_error_set(error, result == -ENOENT ? 0 : -result, "no memory cgroup is mounted");
    if (own.version == 2)
        pass_memory_on(&own);
    if (make_below(&own, group, error))
        return true;
    struct mw_cgroup parent = own;
    if (own.version != 2 || !mw_cgroup_climb(&parent))
        return false;
    if (!make_below(&parent, group, error))
        return false;
    struct mw_cgroup_reading reading;
    if (mw_cgroup_read(&own, NULL, &reading) == 0)
        group->bound_bytes = reading.limit_bytes;
    return true;
}

bool mw_group_limit(const struct mw_group *group, uint64_t limit_bytes, uint64_t *in_force_bytes,
                    struct mw_error *error)
{
    struct mw_cgroup_reading reading;
    if (!write_number(group, MW_CGROUP_LIMIT, limit_bytes, error) || !mw_group_read(group, &reading, error))
        return false;
    *in_force_bytes = reading.limit_bytes;
    return true;
}

bool mw_group_swappiness(const struct mw_group *group, int percent, struct mw_error *error)
{
    return write_number(group, MW_CGROUP_SWAPPINESS, (uint64_t)percent, error);
}

int mw_group_open_procs(const struct mw_group *group, struct mw_error *error)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    if (!file_path(group, MW_CGROUP_PROCS, path, sizeof path, error))
        return -1;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        mw_error_set(error, errno, "cannot open %s", path);
    return fd;
}

int mw_group_open_directory(const struct mw_group *group, struct mw_error *error)
{
    int fd = open(group->cgroup.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        mw_error_set(error, errno, "cannot open %s", group->cgroup.dir);
    return fd;
}

bool mw_group_read(const struct mw_group *group, struct mw_cgroup_reading *reading, struct mw_error *error)
{
    int result = mw_cgroup_read(&group->cgroup, NULL, reading);
    if (result)
        return mw_error_set(error, -result, "cannot read %s", group->cgroup.dir);
    return true;
}

/* ---- its end ---- */

struct signalling {
    int signal;
    unsigned count;
};

static bool signal_members(const char *dir, void *context)
{
    struct signalling *signalling = context;
    char path[MW_CGROUP_PATH_BYTES + 64];
    char line[32];
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    while (fgets(line, sizeof line, file)) {
        long pid = strtol(line, NULL, 10);
        if (pid > 0 && kill((pid_t)pid, signalling->signal) == 0)
            signalling->count++;
    }
    fclose(file);
    return true;
}

static bool remove_one(const char *dir, void *context)
{
    (void)context;
    return rmdir(dir) == 0 || errno == ENOENT;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool mw_group_remove(const struct mw_group *group, unsigned *left_behind, struct mw_error *error)
{
    struct signalling term = {.signal = SIGTERM};
    uint64_t start_ns = monotonic_ns();
    *left_behind = 0;
    if (mw_group_walk(group->cgroup.dir, remove_one, NULL))
        return true;
    mw_group_walk(group->cgroup.dir, signal_members, &term);
    *left_behind = term.count;
    for (;;) {
        if (mw_group_walk(group->cgroup.dir, remove_one, NULL))
            return true;
        int errno_value = errno;
        uint64_t waited_ns = monotonic_ns() - start_ns;
        if (waited_ns > REMOVE_NS)
            return mw_error_set(error, errno_value, "cannot remove the cgroup %s", group->cgroup.dir);
        if (waited_ns > POLITE_NS)
            mw_group_walk(group->cgroup.dir, signal_members, &(struct signalling){.signal = SIGKILL});
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
