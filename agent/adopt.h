/* SPDX-License-Identifier: MIT
 *
 * Moves a running process into a group, with its descendants, and back again.
 *
 * What a process forks after it was moved is in the group from its birth; what it has forked before is found by who its
 * parent is, or by its session. So it is moved first, and then whatever descends from it, until a look finds nobody
 * new. Only descendants in the same group are taken along: those in another one, as containers are, have a limit of
 * their own to lose. One whose parent ended before it was found, and that is not of a session which the process leads,
 * cannot be told from a stranger, and is left.
 *
 * Memory stays charged to the group in which it was first touched. Only cgroup v1 before Linux 6.13 can take it along
 * (memory.move_charge_at_immigrate), and is asked to: then the limit is about all that the process holds.
 *
 * One thread; nothing is held.
 */
#ifndef MW_ADOPT_H
#define MW_ADOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "group.h"
#include "process.h"

struct mw_adoption {
    const struct mw_process *process;
    const struct mw_group *group;
    bool may_ask_systemd;  /* the group is in a scope of this process's: what we may not move, systemd may */
    struct mw_cgroup from; /* where the process was */
    unsigned moved_count;  /* processes, that one included */
    unsigned left_count;   /* descendants that are in other groups */
    uint64_t held_bytes;   /* their resident memory when they were moved, together */
    bool moves_charges;    /* that came along */
};

/* Set the first three members, the rest to zeros. False: the process is not in the group, and *error says why; whoever
 * has been moved all the same is back. */
bool mw_adopt(struct mw_adoption *adoption, struct mw_error *error);

/* Moves all that is in the group back. Returns how many could not be moved. */
unsigned mw_adopt_release(const struct mw_adoption *adoption);

/* Does pid descend from `ancestor`, or is it that one? By the parents that /proc names, and by the session: nobody
 * comes into one but by birth, so that all of the session that `ancestor` leads descend from it, orphans too. */
bool mw_adopt_descends(int pid, int ancestor);

#endif
