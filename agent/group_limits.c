/* SPDX-License-Identifier: MIT */
#include "group_limits.h"

#include <errno.h>
#include <stdio.h>

#include "log.h"
#include "run_options.h"

static bool write_number(const struct mw_group *group, const char *file, uint64_t number, struct mw_error *error)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return mw_group_write(group, file, text, error);
}

/* One that may be missing. False: it has not been set, which is said. */
static bool try_number(const struct mw_group *group, const char *option, const char *file, uint64_t number)
{
    struct mw_error error;
    if (!file)
        mw_warn("--%s has no effect: cgroup v%d has nothing of the kind", option, group->cgroup.version);
    else if (!write_number(group, file, number, &error))
        mw_warn("--%s has no effect: %s", option, error.text);
    else
        return true;
    return false;
}

bool mw_group_limits_set(const struct mw_group *group, const struct mw_group_limits *limits,
                         struct mw_group_limits *in_force, struct mw_error *error)
{
    bool is_v2 = group->cgroup.version == 2;
    struct mw_cgroup_reading reading;
    *in_force = (struct mw_group_limits){0};
    /* v1 wants the limit of memory and swap together to be no less than that of memory alone, at any moment. */
    if (limits->limit_bytes &&
        !write_number(group, mw_cgroup_file_name(group->cgroup.version, MW_CGROUP_LIMIT), limits->limit_bytes, error))
        return false;
    if (limits->high_bytes && try_number(group, "high", is_v2 ? "memory.high" : NULL, limits->high_bytes))
        in_force->high_bytes = limits->high_bytes;
    if (limits->has_swap && try_number(group, "swap", is_v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
                                       is_v2 ? limits->swap_bytes : limits->limit_bytes + limits->swap_bytes)) {
        in_force->has_swap = true;
        in_force->swap_bytes = limits->swap_bytes;
    }
    if (limits->swappiness != MW_PERCENT_NONE)
        try_number(group, "swappiness", mw_cgroup_file_name(group->cgroup.version, MW_CGROUP_SWAPPINESS),
                   (uint64_t)limits->swappiness);
    if (limits->oom_group)
        in_force->oom_group = try_number(group, "oom-group", is_v2 ? "memory.oom.group" : NULL, 1);
    if (!limits->limit_bytes)
        return true;
    if (!mw_group_read(group, &reading, error))
        return false;
    in_force->limit_bytes = reading.limit_bytes;
    return true;
}

/* Files that may be missing are no limits. v1 wants the limit of memory and swap together to be raised first. */
bool mw_group_limits_lift(const struct mw_group *group, struct mw_error *error)
{
    static const char *const files[2][3] = {{"memory.memsw.limit_in_bytes", "memory.limit_in_bytes", NULL},
                                            {"memory.max", "memory.high", "memory.swap.max"}};
    bool is_v2 = group->cgroup.version == 2;
    bool is_lifted = true;
    for (unsigned i = 0; i < 3 && files[is_v2][i]; i++)
        is_lifted =
            (mw_group_write(group, files[is_v2][i], is_v2 ? "max" : "-1", error) || error->errno_value == ENOENT) &&
            is_lifted;
    return is_lifted;
}
