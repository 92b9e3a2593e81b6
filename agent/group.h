/* SPDX-License-Identifier: MIT
 *
 * A memory cgroup for one run of one program: made, limited, read, emptied, removed. v1 and v2.
 *
 * v1: below the launcher's own group (or the one that a running process is in). v2: there too where that is allowed,
 * else beside it: a group that holds
 * processes may not pass controllers on (cgroup-v2.rst, "No Internal Process Constraint").
 */
#ifndef MW_GROUP_H
#define MW_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "cgroup.h"
#include "error.h"

struct mw_group {
    struct mw_cgroup cgroup;
    uint64_t bound_bytes; /* a limit of that group, which one made beside it would escape; 0: none */
};

/* Makes an empty group with a name of its own: below `parent`, the path of a group that exists, as a directory or as
 * /proc/PID/cgroup names it; "": where it may be, as told above, of the group that `process` is in ("self" or its
 * number). What launchers that were killed have left there, and is empty, is removed. */
bool mw_group_create(struct mw_group *group, const char *process, const char *parent, struct mw_error *error);

/* Writes to one of its files, by the file's name. */
bool mw_group_write(const struct mw_group *group, const char *file, const char *text, struct mw_error *error);

/* A descriptor, closed on exec, that the child uses to get in: cgroup.procs (write "0" to it), or the directory itself
 * for CLONE_INTO_CGROUP. -1 on failure. */
int mw_group_open_procs(const struct mw_group *group, struct mw_error *error);
int mw_group_open_directory(const struct mw_group *group, struct mw_error *error);

/* Usage, limit and peak, with those of groups that the program made below it. For what was killed see
 * group_counts.h. */
bool mw_group_read(const struct mw_group *group, struct mw_cgroup_reading *reading, struct mw_error *error);

/* Sends a signal to all that is in the group and below; 0 sends nothing. Returns how many there were. */
unsigned mw_group_signal(const struct mw_group *group, int signal);

/* Removes it with all groups below. False where something still runs in one of them; *error says what is in the way. */
bool mw_group_remove(const struct mw_group *group, struct mw_error *error);

#endif
