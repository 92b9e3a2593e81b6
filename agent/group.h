/* SPDX-License-Identifier: MIT
 *
 * A memory cgroup for one run of one program: made, limited, read, emptied, removed. v1 and v2.
 *
 * v1: below the launcher's own group. v2: there too where that is allowed, else beside it: a group that holds
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
    uint64_t bound_bytes; /* a limit of the launcher's own group, which one made beside it would escape; 0: none */
};

/* Makes an empty group with a name of its own. */
bool mw_group_create(struct mw_group *group, struct mw_error *error);

/* Sets the limit and reads back what is in force, which the kernel rounds to pages. */
bool mw_group_limit(const struct mw_group *group, uint64_t limit_bytes, uint64_t *in_force_bytes,
                    struct mw_error *error);

/* v1 only. */
bool mw_group_swappiness(const struct mw_group *group, int percent, struct mw_error *error);

/* A descriptor, closed on exec, that the child uses to get in: cgroup.procs (write "0" to it), or the directory itself
 * for CLONE_INTO_CGROUP. -1 on failure. */
int mw_group_open_procs(const struct mw_group *group, struct mw_error *error);
int mw_group_open_directory(const struct mw_group *group, struct mw_error *error);

/* Usage, limit and peak, with those of groups that the program made below it. What was killed: see
 * group_counts.h. */
bool mw_group_read(const struct mw_group *group, struct mw_cgroup_reading *reading, struct mw_error *error);

/* Ends whatever still runs in the group, politely first, and removes it with all groups below. *left_behind counts the
 * processes found. */
bool mw_group_remove(const struct mw_group *group, unsigned *left_behind, struct mw_error *error);

#endif
