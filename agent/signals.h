/* SPDX-License-Identifier: MIT
 *
 * What happens to memwatch-run, one event at a time: signals, the program's end, the hour. All signals are blocked and
 * taken one by one: there is no handler, and nothing runs while nothing happens. One thread.
 */
#ifndef MW_SIGNALS_H
#define MW_SIGNALS_H

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"
#include "supervisor.h"

struct mw_signals {
    sigset_t before;      /* the mask as it was: the program's */
    bool ignored_sigchld; /* as it was: the program's too */
    siginfo_t last;       /* of MW_EVENT_SIGNAL */
    int fd;               /* can be read while one is pending, so that it can be waited for beside other descriptors */
};

/* Also makes this process the parent of its descendants' orphans, so that they are reaped here. False: there is no
 * descriptor to be had. */
bool mw_signals_start(struct mw_signals *signals, struct mw_error *error);

struct mw_ending {
    int wait_status;
    bool before_exec; /* it had not become another program yet */
};

/* What besides signals ends the waiting. */
struct mw_until {
    uint64_t wake_ns;     /* CLOCK_MONOTONIC; MW_SUPERVISOR_NEVER: never */
    struct pollfd *polls; /* revents are set, and hold until they are reset */
    unsigned poll_count;  /* at most MW_UNTIL_POLLS */
};

#define MW_UNTIL_POLLS 8

/* Waits for the next event and returns its kind: of the program (pid; 0: there is none now) MW_EVENT_ENDED, and *ending
 * tells how; MW_EVENT_SUSPENDED or _CONTINUED; MW_EVENT_SIGNAL, which is in signals->last; MW_EVENT_TIME, where none of
 * these comes before it is time or a descriptor has something to tell. Whatever else ends is reaped. */
enum mw_supervisor_event_kind mw_signals_next(struct mw_signals *signals, pid_t pid, const struct mw_until *until,
                                              struct mw_ending *ending);

/* Did the terminal send the last one? Then the whole foreground group, the program too, has it already. */
bool mw_signals_from_terminal(const struct mw_signals *signals);

/* The last one, to the program, with what came along with it. */
void mw_signals_pass_on(const struct mw_signals *signals, pid_t pid);

#endif
