/* SPDX-License-Identifier: MIT
 *
 * Warns once a run of the program is near its limit: reads (group_watch.h), decides (warning.h), and carries out: a
 * line, and a signal to the program where one is asked for. One thread.
 */
#ifndef MW_WARNER_H
#define MW_WARNER_H

#include "group_watch.h"
#include "run_options.h"
#include "warning.h"

struct mw_warner {
    const struct mw_run_options *options;
    const char *program;
    pid_t pid; /* of the program; 0: nobody is watched */
    struct mw_group_watch watch;
    struct mw_warning warning;
    uint64_t ask_ns;  /* when to ask for marks; MW_WARNING_NEVER: it has been done */
    uint64_t look_ns; /* mw_warner_look is due then, or once one of watch.polls has something to tell */
};

/* Of a run that has just begun. cgroup NULL: without a group, held to limit_bytes by the library. options and program
 * are to outlive the warner. */
void mw_warner_start(struct mw_warner *warner, const struct mw_run_options *options, const char *program, pid_t pid,
                     const struct mw_cgroup *cgroup, uint64_t limit_bytes);

void mw_warner_look(struct mw_warner *warner);

/* Also of one that is all zeros. */
void mw_warner_stop(struct mw_warner *warner);

#endif
