/* SPDX-License-Identifier: MIT
 *
 * What memwatch-run does when: pure. What happened and the time go in, orders come out; nobody here starts, signals or
 * waits for anything. The one who carries the orders out (run.c) tells of what came of them by further events.
 *
 *     STARTING -> RUNNING -> CLEARING -> WAITING -> STARTING …
 *                                     -> DONE
 *
 * CLEARING: the program has ended, and what it left behind is to end too, politely first. WAITING: for the restart.
 */
#ifndef MW_SUPERVISOR_H
#define MW_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

#include "restart.h"

#define MW_SUPERVISOR_NEVER         UINT64_MAX
#define MW_SUPERVISOR_LEFTOVERS_NS  (2 * UINT64_C(1000000000))  /* from SIGTERM to SIGKILL, where no time is given */
#define MW_SUPERVISOR_CLEARING_NS   (10 * UINT64_C(1000000000)) /* from SIGKILL to giving them up */
#define MW_SUPERVISOR_LOOK_AGAIN_NS UINT64_C(10000000)

enum mw_supervisor_phase {
    MW_SUPERVISOR_STARTING,
    MW_SUPERVISOR_RUNNING,
    MW_SUPERVISOR_CLEARING,
    MW_SUPERVISOR_WAITING,
    MW_SUPERVISOR_DONE
};

/* All times are of CLOCK_MONOTONIC. Set the first two members, the rest to zeros. */
struct mw_supervisor {
    struct mw_restart restart;
    uint64_t stop_timeout_ns; /* MW_SUPERVISOR_NEVER: the program has all the time it takes */

    enum mw_supervisor_phase phase;
    bool is_stopping;     /* it was asked to: nothing is started any more */
    bool is_suspended;    /* the program has stopped (as by SIGSTOP) … */
    bool wants_suspend;   /* … and we have had a signal that means it for the whole job */
    bool has_left_behind; /* CLEARING: something was there */
    uint64_t kill_ns;     /* when the polite time is over; 0: it has not begun */
    uint64_t start_ns;    /* WAITING: until then */
    int exit_status;      /* of the last run; at the end memwatch-run's own */
    struct mw_restart_decision next;
};

enum mw_supervisor_event_kind {
    MW_EVENT_BEGIN,       /* once, before all others */
    MW_EVENT_STARTED,     /* the program runs */
    MW_EVENT_FAILED,      /* it cannot be started: exit_status says why */
    MW_EVENT_SIGNAL,      /* memwatch-run has had one; never SIGCHLD */
    MW_EVENT_SUSPENDED,   /* the program was stopped by SIGTSTP, SIGTTIN or SIGTTOU … */
    MW_EVENT_CONTINUED,   /* … and goes on */
    MW_EVENT_ENDED,       /* the program has: ending and exit_status */
    MW_EVENT_CLEARED,     /* answers `clear`: nothing is left … */
    MW_EVENT_NOT_CLEARED, /* … something is */
    MW_EVENT_TIME,        /* none of these, but it is wake_ns or later */
};

struct mw_supervisor_event {
    enum mw_supervisor_event_kind kind;
    int signal;
    bool is_from_terminal; /* the whole foreground group, the program too, has it already */
    bool is_from_program;  /* to pass it on would be to send it back */
    int exit_status;
    struct mw_restart_ending ending;
};

/* To be carried out in this order. */
struct mw_supervisor_orders {
    bool pass_on;     /* the signal of the event, to the program */
    bool suspend;     /* stop this process too: the shell waits for the whole job */
    bool start;       /* answered by STARTED or FAILED */
    int signal_all;   /* to the program and all that belongs to it; 0: nothing */
    bool is_overdue;  /* signal_all because the time to stop is over */
    bool clear;       /* see that nothing is left: answered by CLEARED or NOT_CLEARED */
    bool give_up;     /* something is left for good */
    bool end;         /* with exit_status */
    uint64_t wake_ns; /* MW_EVENT_TIME is due then; MW_SUPERVISOR_NEVER: never */
};

struct mw_supervisor_orders mw_supervisor_step(struct mw_supervisor *supervisor,
                                               const struct mw_supervisor_event *event, uint64_t now_ns);

#endif
