/* SPDX-License-Identifier: MIT
 *
 * Waiting for the program while passing every signal on to it. All signals are blocked and taken one by one: there is
 * no handler, and nothing runs while nothing happens.
 */
#ifndef MW_SIGNALS_H
#define MW_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mw_signals {
    sigset_t before;      /* the mask as it was: the program's */
    bool ignored_sigchld; /* as it was: the program's too */
    bool stop_asked;      /* by SIGINT, SIGTERM or SIGQUIT, or by the terminal going away */
};

/* Also makes this process the parent of its descendants' orphans, so that they are reaped here. */
void mw_signals_start(struct mw_signals *signals);

struct mw_ending {
    int wait_status;
    bool before_exec; /* it had not become another program yet */
};

/* Waits for pid to end, passing signals on; reaps whatever else ends. */
struct mw_ending mw_signals_wait(struct mw_signals *signals, pid_t pid);

/* Reaps what has ended, without waiting. */
void mw_signals_reap(void);

/* Waits for that long, or until a stop is asked for. */
void mw_signals_sleep(struct mw_signals *signals, uint64_t ns);

#endif
