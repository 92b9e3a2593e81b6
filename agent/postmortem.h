/* SPDX-License-Identifier: MIT
 *
 * After a death: who held the memory. Finds the segments that the processes of a run have left behind, has `memwatch`
 * tell of them on standard error, and keeps their profiles where that is asked for.
 *
 * The telling is another program's, which reads what a dead process has left and loads symbols: it can neither weigh on
 * the launcher nor take it along. One thread.
 */
#ifndef MW_POSTMORTEM_H
#define MW_POSTMORTEM_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

struct mw_postmortem {
    char tool[4096];            /* the path of `memwatch`; empty: it is not there */
    char run[64];               /* what all processes of this launcher call their run (MEMWATCH_RUN) */
    const char *keep_directory; /* NULL: nothing is kept */
    sigset_t mask;              /* that the tool starts with */
    int attached_pid;           /* of a process that we have not started: it is told of instead of a run. 0: none */
    uint64_t attached_ticks;    /* when that began, as /proc/PID/stat has it */
};

/* Finds the tool, names the run, and puts the name into this process's environment, for the program to inherit.
 * keep_directory: where to keep profiles, "" for nowhere. False: it cannot be used. */
bool mw_postmortem_prepare(struct mw_postmortem *postmortem, const char *keep_directory, struct mw_error *error);

/* Tells of what the run's dead processes held, that of pid first, and at most of three. */
void mw_postmortem_tell(const struct mw_postmortem *postmortem, pid_t pid, const char *verdict);

/* Removes what the run's dead processes have left. */
void mw_postmortem_sweep(const struct mw_postmortem *postmortem);

#endif
