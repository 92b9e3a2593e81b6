/* SPDX-License-Identifier: MIT
 *
 * Which memory cgroup a process is in, and what it says; and how much CPU time it may use. v1, v2 and the hybrid of
 * both.
 *
 * v1: Documentation/admin-guide/cgroup-v1/memory.rst, v2: Documentation/admin-guide/cgroup-v2.rst of the kernel.
 * Parsers take buffers and know no paths; what reads files takes the root under which /proc and the mounts stand ("" on
 * a live system). No allocation, no errno; any thread, async-signal-safe. Functions return 0 or a negative errno
 * value.
 */
#ifndef MW_CGROUP_H
#define MW_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heldfile.h"

#define MW_CGROUP_PATH_BYTES 1024 /* callers may have small stacks; longer paths are -ENAMETOOLONG */

struct mw_cgroup {
    int version;                    /* of the memory controller: 1 or 2 */
    size_t top_length;              /* the length of the visible hierarchy's top within dir: ancestors end there */
    char dir[MW_CGROUP_PATH_BYTES]; /* the process's directory, without a slash at its end */
};

/* The kernel's file names, by controller version; NULL where a version has none. */
enum mw_cgroup_file {
    MW_CGROUP_USAGE,
    MW_CGROUP_STAT,
    MW_CGROUP_LIMIT,
    MW_CGROUP_PEAK,
    MW_CGROUP_OOM, /* has the key oom_kill */
    MW_CGROUP_PRESSURE,
    MW_CGROUP_SWAPPINESS,
    MW_CGROUP_PROCS,
    MW_CGROUP_CPU_QUOTA,
    MW_CGROUP_CPU_PERIOD,
    MW_CGROUP_HELD_FILES, /* only those above are kept open by a repeated reader */
    MW_CGROUP_EVENTS_LOCAL = MW_CGROUP_HELD_FILES,
    MW_CGROUP_FAILCNT,
    MW_CGROUP_PRESSURE_LEVEL,
    MW_CGROUP_EVENT_CONTROL,
    MW_CGROUP_SWAP_LIMIT, /* v1: of memory and swap together; v2: of swap alone. The same goes for the three below */
    MW_CGROUP_SWAP_PEAK,
    MW_CGROUP_SWAP_FAILCNT,
    MW_CGROUP_SWAP_EVENTS,
    MW_CGROUP_FILES
};
const char *mw_cgroup_file_name(int version, enum mw_cgroup_file file);

/* dir/name into path. -ENAMETOOLONG, or -ENOENT where the version has no such file. */
int mw_cgroup_file_path(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, char *path, size_t capacity_bytes);

/* Finds the memory cgroup from the texts of /proc/PID/cgroup and /proc/PID/mountinfo.
 * -ENOENT: no memory controller, or it is mounted nowhere. -EXDEV: it is mounted, but the mount was made outside this
 * cgroup namespace, so that the texts do not tell where in it the group is. -ENAMETOOLONG. */
int mw_cgroup_locate(const char *cgroup_text, const char *mountinfo_text, struct mw_cgroup *out);

/* The memory controller's group alone, as the text of /proc/PID/cgroup calls it. Returns the controller's version, or
 * -ENOENT, -ENAMETOOLONG. */
int mw_cgroup_name(const char *cgroup_text, char *path, size_t capacity_bytes);

/* Finds it for a process ("self" or its number), files read under root; dir then begins with root. Where the texts do
 * not tell, it is looked for in the mount; -ENOENT: it is not to be seen there. */
int mw_cgroup_find(const char *root, const char *process, struct mw_cgroup *out);

/* The same as a path of this process's mounts, not of that one's, which may be in a container. */
int mw_cgroup_find_from_here(const char *root, const char *process, struct mw_cgroup *out);

/* The CPU controller's: it may be of the other version, and elsewhere. */
int mw_cgroup_find_cpu(const char *root, const char *process, struct mw_cgroup *out);

/* Turns into its parent. False at the top. */
bool mw_cgroup_climb(struct mw_cgroup *cgroup);

/* What v1 calls no limit is a number near 2^63, v2's `max` is UINT64_MAX. */
static inline bool mw_cgroup_is_unlimited(uint64_t limit_bytes)
{
    return limit_bytes >= UINT64_C(1) << 62;
}

struct mw_cgroup_reading {
    uint64_t usage_bytes;
    uint64_t working_set_bytes;
    uint64_t limit_bytes; /* the least over the group and its visible ancestors; 0: none */
    uint64_t peak_bytes;  /* 0: not told */
    uint64_t oom_kills;
    double pressure; /* PSI some avg10, 0 to 1; 0 where it is not told */
};

#define MW_CGROUP_HELD_LEVELS 8

/* What a repeated reader keeps open. */
struct mw_cgroup_handles {
    struct mw_held_file files[MW_CGROUP_HELD_FILES];
    struct mw_held_file ancestor_limits[MW_CGROUP_HELD_LEVELS];
};

/* Reads what there is; a file that is missing leaves its figure 0. Fails only where not even the usage can be read.
 * handles may be NULL: every file is then opened and closed. */
int mw_cgroup_read(const struct mw_cgroup *cgroup, struct mw_cgroup_handles *handles, struct mw_cgroup_reading *out);

/* The CPU time that may be used in each period (Documentation/scheduler/sched-bwc.rst): the tightest share over the
 * group and its visible ancestors. Of the CPU controller's group. */
struct mw_cpu_quota {
    uint64_t quota_us; /* 0: no quota */
    uint64_t period_us;
};
void mw_cgroup_read_cpu_quota(const struct mw_cgroup *cgroup, struct mw_cpu_quota *out);

void mw_cgroup_handles_drop(struct mw_cgroup_handles *handles);

#endif
