/* SPDX-License-Identifier: MIT
 *
 * Where the program is to run, and who holds its limit: a memory cgroup of its own (group.h), perhaps in a scope of
 * systemd's (scope.h); else the library inside the program. What is had is said, and so is what is not.
 */
#ifndef MW_PLACE_H
#define MW_PLACE_H

#include <stdbool.h>

#include "group.h"
#include "group_limits.h"
#include "run_options.h"

/* What is wanted, the same for every run. */
struct mw_placing {
    const struct mw_run_options *options;
    struct mw_group_limits limits;
    bool has_asked_systemd;
    bool is_in_scope;  /* systemd has made one around us: groups are made there */
    bool cannot_enter; /* a group can be made but not entered: there is none to be had */
};

/* For one run of the program. */
struct mw_place {
    struct mw_group group;
    bool has_group;
    bool has_shared;                 /* no group of its own, but the one that we are in, to read only */
    struct mw_group_limits in_force; /* of the group */
};

/* The sizes of the options in bytes: a share is of the memory to be had. False: they are none. */
bool mw_placing_prepare(struct mw_placing *placing, const struct mw_run_options *options, struct mw_error *error);

/* Makes the place, for a program that is to be started or for the process of --attach; of the former it is said what
 * is had. False: what was insisted on cannot be had. A process that runs can do with nothing less than a group. */
bool mw_place_make(struct mw_placing *placing, struct mw_place *place, struct mw_error *error);

/* The program cannot enter its group, as *why tells: takes the next best place. False: as above. */
bool mw_place_make_other(struct mw_placing *placing, struct mw_place *place, const struct mw_error *why,
                         struct mw_error *error);

/* "limit 60 MiB (62914560 bytes) by cgroup v2 /sys/fs/cgroup/memwatch-7-1", or without a limit from "cgroup" on. */
void mw_place_text(struct mw_text *out, const struct mw_place *place);

/* Warns where the limit is less than was asked for. */
void mw_place_warn_of_less(const struct mw_placing *placing, const struct mw_place *place);

/* Sets the variables by which the program learns of the place, in this process's environment. */
void mw_place_tell_program(const struct mw_placing *placing, const struct mw_place *place);

#endif
