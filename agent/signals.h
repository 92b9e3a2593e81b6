/* SPDX-License-Identifier: MIT
 *
 * What happens to memwatch-run, one event at a time: signals, the program's end, the hour. All signals are blocked and
 * taken one by one: there is no handler, and nothing runs while nothing happens. One thread.
 */
#ifndef MW_SIGNALS_H
#define MW_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor.h"

struct mw_signals {
    sigset_t before;      /* the mask as it was: the program's */
    bool ignored_sigchld; /* as it was: the program's too */
    siginfo_t last;       /* of MW_EVENT_SIGNAL */
};

/* Also makes this process the parent of its descendants' orphans, so that they are reaped here. */
void mw_signals_start(struct mw_signals *signals);

struct mw_ending {
    int wait_status;
    bool before_exec; /* it had not become another program yet */
};

/* Waits for the next event and returns its kind: of the program (pid; 0: there is none now) MW_EVENT_ENDED, and *ending
 * tells how; MW_EVENT_SUSPENDED or _CONTINUED; MW_EVENT_SIGNAL, which is in signals->last; MW_EVENT_TIME, where none of
 * these comes before wake_ns (CLOCK_MONOTONIC). Whatever else ends is reaped. */
enum mw_supervisor_event_kind mw_signals_next(struct mw_signals *signals, pid_t pid, uint64_t wake_ns,
                                              struct mw_ending *ending);

/* Did the terminal send the last one? Then the whole foreground group, the program too, has it already. */
bool mw_signals_from_terminal(const struct mw_signals *signals);

/* The last one, to the program, with what came along with it. */
void mw_signals_pass_on(const struct mw_signals *signals, pid_t pid);

#endif
