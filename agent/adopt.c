/* SPDX-License-Identifier: MIT */
#include "adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "group_walk.h"
#include "scope.h"

enum {
    MOST_GENERATIONS = 4096, /* from a process up to its ancestor: a bound, should numbers be reused meanwhile */
    LOOKS = 1000,            /* until nobody new is found: a bound for what forks without end and cannot be moved */
    AT_ONCE = 256            /* processes that one look takes note of; the next look finds the rest */
};

#define CHARGES_FILE "memory.move_charge_at_immigrate" /* of v1 */

/* ---- who ---- */

bool mw_adopt_descends(int pid, int ancestor)
{
    struct mw_process_stat stat;
    for (unsigned i = 0; i < MOST_GENERATIONS && pid > 0; i++) {
        if (pid == ancestor)
            return true;
        if (!mw_process_read_stat(pid, &stat))
            return false;
        if (stat.session == ancestor)
            return true;
        pid = stat.parent;
    }
    return false;
}

/* Who is to be moved, of one look. */
struct look {
    const struct mw_adoption *adoption;
    unsigned count;
    pid_t pids[AT_ONCE];
};

static bool look_at(long pid, void *context)
{
    struct look *look = context;
    if (pid <= 0 || pid == getpid())
        return true;
    if (look->count < AT_ONCE && mw_adopt_descends((int)pid, look->adoption->process->pid))
        look->pids[look->count++] = (pid_t)pid;
    return true;
}

/* ---- moving ---- */

/* 0, or an errno value. One that has ended meanwhile is moved as well as any. */
static int move_one(const char *dir, pid_t pid)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char number[32];
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    int length = snprintf(number, sizeof number, "%d", (int)pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = write(fd, number, (size_t)length) == length ? 0 : errno;
    close(fd);
    return error == ESRCH ? 0 : error;
}

static bool set_charges(const struct mw_group *group, const char *value)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char text[32];
    struct mw_error ignored;
    snprintf(path, sizeof path, "%s/" CHARGES_FILE, group->cgroup.dir);
    return group->cgroup.version == 1 && mw_group_write(group, CHARGES_FILE, value, &ignored) &&
           mw_file_read_whole(path, text, sizeof text) > 0 && strncmp(text, value, strlen(value)) == 0;
}

/* Charges come along only as far as the limit has room for them. */
static int move_with_charges(struct mw_adoption *adoption, pid_t pid)
{
    const char *dir = adoption->group->cgroup.dir;
    int error = move_one(dir, pid);
    if (error && adoption->moves_charges) {
        set_charges(adoption->group, "0");
        adoption->moves_charges = false;
        error = move_one(dir, pid);
    }
    return error;
}

/* False: the first of them cannot be moved, or systemd has moved none. */
static bool move_all(struct mw_adoption *adoption, const pid_t *pids, unsigned count, struct mw_error *error)
{
    pid_t refused[AT_ONCE];
    unsigned refused_count = 0;
    int why = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t held_bytes = 0;
        mw_process_resident(pids[i], &held_bytes);
        int error_value = move_with_charges(adoption, pids[i]);
        if (error_value) {
            why = error_value;
            refused[refused_count++] = pids[i];
        } else {
            adoption->moved_count++;
        }
        adoption->held_bytes += held_bytes;
    }
    if (!refused_count)
        return true;
    if (adoption->may_ask_systemd && (why == EACCES || why == EPERM)) {
        bool is_done = mw_scope_take_in(adoption->group->cgroup.dir, refused, refused_count, error);
        adoption->moved_count += is_done ? refused_count : 0;
        return is_done;
    }
    return mw_error_set(error, why, "process %d cannot be moved to the cgroup %s", (int)refused[0],
                        adoption->group->cgroup.dir);
}

/* ---- all of them ---- */

/* By the directory itself: paths may be spelled in several ways. */
static bool is_in_group(const struct mw_adoption *adoption, int pid)
{
    char process[32];
    struct mw_cgroup now;
    struct stat its;
    struct stat ours;
    snprintf(process, sizeof process, "%d", pid);
    return mw_cgroup_find_from_here("", process, &now) == 0 && stat(now.dir, &its) == 0 &&
           stat(adoption->group->cgroup.dir, &ours) == 0 && its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

static bool find_origin(struct mw_adoption *adoption, struct mw_error *error)
{
    char process[32];
    snprintf(process, sizeof process, "%d", adoption->process->pid);
    int result = mw_cgroup_find_from_here("", process, &adoption->from);
    if (result)
        return mw_error_set(error, -result, "cannot tell which cgroup process %s is in", process);
    return true;
}

/* The processes of that group alone, not of those below it. */
static bool look_around(struct look *look)
{
    look->count = 0;
    return mw_group_visit_processes(look->adoption->from.dir, look_at, look);
}

/* Those that could not be moved are found again in every look: it ends when no other ones are. */
static void adopt_descendants(struct mw_adoption *adoption)
{
    struct look look = {.adoption = adoption};
    struct mw_error ignored;
    unsigned moved_before;
    unsigned looks = 0;
    look_around(&look);
    do {
        moved_before = adoption->moved_count;
        if (look.count)
            move_all(adoption, look.pids, look.count, &ignored);
        look_around(&look);
    } while (look.count && adoption->moved_count > moved_before && ++looks < LOOKS);
}

static bool is_left(const struct mw_adoption *adoption, int pid)
{
    struct mw_process_stat stat;
    return pid != getpid() && mw_process_read_stat(pid, &stat) && stat.state != 'Z' &&
           mw_adopt_descends(stat.parent, adoption->process->pid) && !is_in_group(adoption, pid);
}

/* What is not in the group although it descends from the process. */
static unsigned count_left(const struct mw_adoption *adoption)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc");
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        int pid = (int)strtol(entry->d_name, NULL, 10);
        count += pid > 0 && is_left(adoption, pid);
    }
    if (entries)
        closedir(entries);
    return count;
}

bool mw_adopt(struct mw_adoption *adoption, struct mw_error *error)
{
    pid_t first = adoption->process->pid;
    if (!find_origin(adoption, error))
        return false;
    adoption->moves_charges = set_charges(adoption->group, "3");
    if (!move_all(adoption, &first, 1, error))
        return false;
    bool has_ended = mw_process_has_ended(adoption->process);
    if (has_ended || !is_in_group(adoption, first)) {
        mw_adopt_release(adoption); /* its number may have been another one's already */
        return mw_error_set(error, 0, "process %d (%s) %s", first, adoption->process->name,
                            has_ended ? "has ended meanwhile" : "has not come into the group");
    }
    adopt_descendants(adoption);
    adoption->left_count = count_left(adoption);
    return true;
}

/* ---- back ---- */

struct returning {
    const char *dir;
    unsigned moved;
    unsigned refused;
};

static bool return_one(long pid, void *context)
{
    struct returning *returning = context;
    if (pid > 0 && move_one(returning->dir, (pid_t)pid) == 0)
        returning->moved++;
    else
        returning->refused++;
    return true;
}

unsigned mw_adopt_release(const struct mw_adoption *adoption)
{
    struct returning returning = {.dir = adoption->from.dir};
    unsigned looks = 0;
    do {
        returning.moved = returning.refused = 0;
        mw_group_walk_processes(adoption->group->cgroup.dir, return_one, &returning);
    } while (returning.moved && ++looks < LOOKS);
    return returning.refused;
}
