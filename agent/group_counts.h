/* SPDX-License-Identifier: MIT
 *
 * What the kernel has counted of OOM kills: of a group, of the groups above it that are visible, of the machine. Read
 * when a program starts and when it has ended, the difference tells by which limit it was killed (verdict.h).
 *
 * v2 counts at each level how often the OOM killer was called for that level's own limit (memory.events.local, since
 * Linux 5.2). v1 counts only how often the limit was met, with or without a kill (memory.failcnt); but it gives notice
 * of each call of the OOM killer to whoever has asked for it, at the level of the limit and at all below. So where it
 * allows that, a descriptor a level is held, which nobody waits on: it counts by itself.
 *
 * Levels count from the group itself, 0, upwards. What a kernel does not tell is MW_COUNT_UNKNOWN, never 0.
 * mw_group_counts_since is pure. A counter belongs to one thread and holds descriptors, closed on exec, until it is
 * closed; nothing is allocated.
 */
#ifndef MW_GROUP_COUNTS_H
#define MW_GROUP_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "cgroup.h"

#define MW_COUNT_UNKNOWN       UINT64_MAX
#define MW_GROUP_COUNTS_LEVELS 16 /* of those above, some are as if they were not visible */

/* X(member, file of v1, its key, file of v2, its key): a file without a key holds one number. Lines of one file stand
 * together. */
/* clang-format off */
#define MW_LEVEL_COUNTS(X) \
    X(local_ooms,  NONE,         NULL, EVENTS_LOCAL, "oom")            /* calls of the OOM killer for this very limit */ \
    X(ooms,        NONE,         NULL, OOM,          "oom")            /* for this limit and those of groups below */ \
    X(kills,       NONE,         NULL, OOM,          "oom_kill")       /* processes here and below; v1: see below */ \
    X(group_kills, NONE,         NULL, OOM,          "oom_group_kill") /* of all processes of a group at once */ \
    X(limit_hits,  FAILCNT,      NULL, OOM,          "max")            /* the limit was met, with or without a kill */ \
    X(high_hits,   NONE,         NULL, OOM,          "high") \
    X(swap_hits,   SWAP_FAILCNT, NULL, SWAP_EVENTS,  "max")            /* v1: the limit of memory and swap together */ \
    X(swap_fails,  NONE,         NULL, SWAP_EVENTS,  "fail") \
    X(limit_bytes, LIMIT,        NULL, LIMIT,        NULL)             /* no counts: as they are */ \
    X(swap_limit_bytes, SWAP_LIMIT, NULL, SWAP_LIMIT, NULL) \
    X(swap_peak_bytes,  SWAP_PEAK,  NULL, SWAP_PEAK,  NULL)
/* clang-format on */

struct mw_level_counts {
#define MW_LEVEL_MEMBER(member, v1_file, v1_key, v2_file, v2_key) uint64_t member;
    MW_LEVEL_COUNTS(MW_LEVEL_MEMBER)
#undef MW_LEVEL_MEMBER
    uint64_t notices; /* v1: calls of the OOM killer for this limit and for those above */
};

struct mw_group_counts {
    int version; /* of the memory controller; 0: there is no group */
    unsigned level_count;
    bool sees_top; /* no group stands above the last level */
    struct mw_level_counts levels[MW_GROUP_COUNTS_LEVELS];
    uint64_t inner_limit_hits; /* v1: of groups below the group itself */
    uint64_t machine_kills;
    uint64_t machine_stalls; /* allocations that the whole machine had no free page for: it may have called its own
                                OOM killer only where there were any */
};

/* What has happened between two readings of the same group; limits and peaks as they are in the later one. local_ooms
 * is known for v1 too where `notices` are. */
void mw_group_counts_since(const struct mw_group_counts *before, const struct mw_group_counts *after,
                           struct mw_group_counts *happened);

struct mw_group_counter {
    struct mw_cgroup cgroup; /* version 0: none */
    const char *root;
    unsigned notice_count;
    int notice_fds[MW_GROUP_COUNTS_LEVELS]; /* -1: notice is not given */
    uint64_t notices[MW_GROUP_COUNTS_LEVELS];
};

/* root stands in front of /proc ("" on a live system), which must outlive the counter. cgroup NULL: of the machine
 * alone. */
void mw_group_counter_open(struct mw_group_counter *counter, const char *root, const struct mw_cgroup *cgroup);

void mw_group_counter_read(struct mw_group_counter *counter, struct mw_group_counts *out);

/* Also of a counter that is all zeros. */
void mw_group_counter_close(struct mw_group_counter *counter);

/* Are processes in the group, or below, other than that one? */
bool mw_group_has_others(const struct mw_cgroup *cgroup, int pid);

#endif
