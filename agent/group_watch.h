/* SPDX-License-Identifier: MIT
 *
 * How near a run of the program is to its limit: read, and told by the kernel where it does. v1: eventfds for marks of
 * usage and for pressure; v2: a PSI trigger for pressure, and no marks. Without a group of its own the process is read
 * instead, and nobody tells anything. One thread; descriptors are closed on exec.
 */
#ifndef MW_GROUP_WATCH_H
#define MW_GROUP_WATCH_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cgroup.h"
#include "warning.h"

enum { MW_GROUP_WATCH_MARKS = 2, MW_GROUP_WATCH_PRESSURE = MW_GROUP_WATCH_MARKS, MW_GROUP_WATCH_POLLS };

struct mw_group_watch {
    struct mw_cgroup cgroup;                   /* version 0: none */
    pid_t pid;                                 /* without a group: whose resident memory is read … */
    uint64_t limit_bytes;                      /* … against that */
    struct pollfd polls[MW_GROUP_WATCH_POLLS]; /* for poll(): what the kernel tells with; -1: nothing */
};

/* cgroup NULL: the process alone, which is held to limit_bytes. */
void mw_group_watch_open(struct mw_group_watch *watch, const struct mw_cgroup *cgroup, pid_t pid, uint64_t limit_bytes);

/* Asks to be told when usage crosses these marks. False: the kernel does not tell. */
bool mw_group_watch_marks(struct mw_group_watch *watch, uint64_t upper_bytes, uint64_t lower_bytes);

/* What polls[].revents says, which is reset, goes into the reading. False: nothing can be read; then, too, nothing is
 * polled any more. */
bool mw_group_watch_read(struct mw_group_watch *watch, struct mw_warning_reading *reading);

/* Also of one that is all zeros. */
void mw_group_watch_close(struct mw_group_watch *watch);

#endif
