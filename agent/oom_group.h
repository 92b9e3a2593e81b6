/* SPDX-License-Identifier: MIT
 *
 * Was a process's end an OOM kill? Its cgroup's counter tells, which the kernel raises before it kills.
 *
 * Groups are followed for as long as a process of theirs is. What is in none that can be read from here has none, and
 * its death is no OOM kill as far as anyone knows. One thread at a time.
 */
#ifndef MW_OOM_GROUP_H
#define MW_OOM_GROUP_H

#include <stdbool.h>
#include <stdint.h>

/* The counter's arithmetic, pure. Who is killed ends some time after it was counted: so a kill can be claimed by one
 * death, within MW_OOM_CLAIM_NS. */
#define MW_OOM_CLAIM_NS UINT64_C(10000000000)

struct mw_oom_claims {
    uint64_t claimed; /* kills whose victim is known, or that nobody has claimed in time */
    uint64_t noticed;
    uint64_t noticed_ns;
};

/* The counter as it is when the first process of the group is seen. */
struct mw_oom_claims mw_oom_claims_start(uint64_t oom_kills, uint64_t now_ns);

/* The counter as it is now. */
void mw_oom_claims_notice(struct mw_oom_claims *claims, uint64_t oom_kills, uint64_t now_ns);

/* A process of the group has not ended by itself: was it one that the counter has counted? */
bool mw_oom_claims_take(struct mw_oom_claims *claims);

struct mw_oom_groups;
struct mw_oom_group;

/* mountinfo_text: of /proc/self/mountinfo. */
struct mw_oom_groups *mw_oom_groups_new(const char *mountinfo_text);
void mw_oom_groups_free(struct mw_oom_groups *groups);

/* The group that the text of /proc/PID/cgroup names. NULL: it is not to be seen from here, or the process is not in it.
 */
struct mw_oom_group *mw_oom_groups_hold(struct mw_oom_groups *groups, const char *cgroup_text, int pid,
                                        uint64_t now_ns);
void mw_oom_groups_let_go(struct mw_oom_groups *groups, struct mw_oom_group *group); /* which may be NULL */

/* Reads all counters. To be called often enough that a kill is noticed before its group is gone. */
void mw_oom_groups_notice(struct mw_oom_groups *groups, uint64_t now_ns);

/* A process of the group, which may be NULL, has not ended by itself: was it killed for want of memory? */
bool mw_oom_group_take(struct mw_oom_group *group, uint64_t now_ns);

#endif
