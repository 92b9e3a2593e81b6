/* SPDX-License-Identifier: MIT
 *
 * The limits of one memory cgroup: written in the order that the kernel takes them in, and read back, since it rounds
 * to pages. What a version of the controller does not have is said (log.h), and the rest holds.
 */
#ifndef MW_GROUP_LIMITS_H
#define MW_GROUP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "group.h"

struct mw_group_limits {
    uint64_t limit_bytes; /* 0: none */
    uint64_t high_bytes;  /* 0: none */
    bool has_swap;
    uint64_t swap_bytes; /* besides the limit */
    int swappiness;      /* MW_PERCENT_NONE: as it is */
    bool oom_group;
};

/* False: the limit itself cannot be set or read back. *in_force: what the kernel has made of it. */
bool mw_group_limits_set(const struct mw_group *group, const struct mw_group_limits *limits,
                         struct mw_group_limits *in_force, struct mw_error *error);

/* Takes all of them away again. False: some limit holds on. */
bool mw_group_limits_lift(const struct mw_group *group, struct mw_error *error);

#endif
