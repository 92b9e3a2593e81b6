/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "group_walk.h"

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

bool mw_group_write(const struct mw_group *group, const char *file, const char *text, struct mw_error *error)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", group->cgroup.dir, file);
    return write_path(path, text, error);
}

static bool has_file(const struct mw_group *group, enum mw_cgroup_file file)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    return mw_cgroup_file_path(&group->cgroup, file, path, sizeof path) == 0 && access(path, W_OK) == 0;
}

#define NAME "memwatch-"
enum { NAMES_TRIED = 1000 };

/* The launcher that made a group of that name, by its process id; 0: no such name. */
static int maker(const char *name)
{
    char *end;
    if (strncmp(name, NAME, sizeof NAME - 1) != 0)
        return 0;
    long pid = strtol(name + sizeof NAME - 1, &end, 10);
    bool is_numbered = *end == '-' && end[1] && end[1 + strspn(end + 1, "0123456789")] == '\0';
    return is_numbered && pid > 0 && pid <= INT_MAX ? (int)pid : 0;
}

/* A launcher that was killed leaves its group; once what ran in it has ended too, nobody else removes it. Those that
 * are not empty stay: rmdir refuses. A name with our own number is of another all the same, since we have no group
 * when we look: in a PID namespace every launcher may be the first process. */
static void sweep(const char *parent)
{
    DIR *entries = opendir(parent);
    if (!entries)
        return;
    for (struct dirent *entry; (entry = readdir(entries));) {
        char path[MW_CGROUP_PATH_BYTES + 320];
        char process[32];
        int pid = maker(entry->d_name);
        snprintf(process, sizeof process, "/proc/%d", pid);
        snprintf(path, sizeof path, "%s/%s", parent, entry->d_name);
        if (pid && (pid == getpid() || access(process, F_OK)))
            rmdir(path);
    }
    closedir(entries);
}

/* Makes a directory of the next name that is free. */
static bool make_directory(const struct mw_cgroup *parent, struct mw_group *group, struct mw_error *error)
{
    static unsigned made;
    size_t length = strlen(parent->dir);
    for (unsigned tries = 0; tries < NAMES_TRIED; tries++) {
        int more = snprintf(group->cgroup.dir + length, sizeof group->cgroup.dir - length, "/" NAME "%d-%u",
                            (int)getpid(), ++made);
        if (more < 0 || length + (size_t)more >= sizeof group->cgroup.dir)
            return mw_error_set(error, ENAMETOOLONG, "%s", parent->dir);
        if (mkdir(group->cgroup.dir, 0755) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    return mw_error_set(error, errno, "cannot make the cgroup %s", group->cgroup.dir);
}

/* Makes a group below parent that has a memory limit to set. */
static bool make_below(const struct mw_cgroup *parent, struct mw_group *group, struct mw_error *error)
{
    *group = (struct mw_group){.cgroup = *parent};
    sweep(parent->dir);
    if (!make_directory(parent, group, error))
        return false;
    if (has_file(group, MW_CGROUP_LIMIT))
        return true;
    rmdir(group->cgroup.dir);
    return mw_error_set(error, 0, "the memory controller is not passed on below %s", parent->dir);
}

/* v2: lets the children of a group have the memory controller. Refused where the group holds processes itself. */
static void pass_memory_on(const struct mw_cgroup *parent)
{
    struct mw_error refused;
    if (parent->version == 2)
        mw_group_write(&(struct mw_group){.cgroup = *parent}, "cgroup.subtree_control", "+memory", &refused);
    /* make_below tells whether it has helped */
}

/* The group that the user has named: a directory below the hierarchy's top, or a path from there. */
static bool find_named(const char *path, const struct mw_cgroup *own, struct mw_cgroup *out, struct mw_error *error)
{
    char procs[MW_CGROUP_PATH_BYTES + 64];
    *out = *own;
    bool is_directory = strncmp(path, own->dir, own->top_length) == 0 &&
                        (path[own->top_length] == '/' || path[own->top_length] == '\0');
    int length = snprintf(out->dir, sizeof out->dir, "%.*s%s%s", is_directory ? 0 : (int)own->top_length, own->dir,
                          *path == '/' ? "" : "/", path);
    if (length < 0 || (size_t)length >= sizeof out->dir)
        return mw_error_set(error, ENAMETOOLONG, "%s", path);
    while (length > 1 && out->dir[length - 1] == '/')
        out->dir[--length] = '\0';
    snprintf(procs, sizeof procs, "%s/cgroup.procs", out->dir);
    if (access(procs, F_OK))
        return mw_error_set(error, 0, "%s is no memory cgroup that exists: there is no %s", path, procs);
    return true;
}

bool mw_group_create(struct mw_group *group, const char *process, const char *parent_path, struct mw_error *error)
{
    struct mw_cgroup own;
    struct mw_cgroup parent;
    int result = mw_cgroup_find_from_here("", process, &own);
    if (result)
        return mw_error_set(error, result == -ENOENT ? 0 : -result, "no memory cgroup is mounted");
    if (*parent_path && !find_named(parent_path, &own, &parent, error))
        return false;
    if (!*parent_path)
        parent = own;
    pass_memory_on(&parent);
    if (make_below(&parent, group, error))
        return true;
    if (*parent_path || own.version != 2 || !mw_cgroup_climb(&parent))
        return false;
    if (!make_below(&parent, group, error))
        return false;
    struct mw_cgroup_reading reading;
    if (mw_cgroup_read(&own, NULL, &reading) == 0)
        group->bound_bytes = reading.limit_bytes;
    return true;
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

static bool signal_one(long pid, void *context)
{
    struct signalling *signalling = context;
    if (pid > 0 && kill((pid_t)pid, signalling->signal) == 0)
        signalling->count++;
    return true;
}

static bool remove_one(const char *dir, void *context)
{
    (void)context;
    return rmdir(dir) == 0 || errno == ENOENT;
}

unsigned mw_group_signal(const struct mw_group *group, int signal)
{
    struct signalling signalling = {.signal = signal};
    mw_group_walk_processes(group->cgroup.dir, signal_one, &signalling);
    return signalling.count;
}

bool mw_group_remove(const struct mw_group *group, struct mw_error *error)
{
    if (mw_group_walk(group->cgroup.dir, remove_one, NULL))
        return true;
    return mw_error_set(error, errno, "cannot remove the cgroup %s", group->cgroup.dir);
}
