/* SPDX-License-Identifier: MIT
 *
 * Whether to start the program again, and after how long. Pure arithmetic: how it ended goes in, a decision comes out.
 */
#ifndef MW_RESTART_H
#define MW_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum mw_restart_policy { MW_RESTART_ON_OOM, MW_RESTART_ON_FAILURE, MW_RESTART_ALWAYS, MW_RESTART_NO };

struct mw_restart {
    enum mw_restart_policy policy;
    uint64_t first_delay_ns;
    uint64_t longest_delay_ns; /* where the first one is not longer */
    unsigned growth;           /* each delay is so many times the one before */
    unsigned jitter_percent;   /* by which it is made longer or shorter at random */
    uint64_t good_run_ns;      /* after a run of so long all counts anew */
    unsigned limit;            /* restarts without a good run between them */
    unsigned count;            /* so far */
};

struct mw_restart_ending {
    bool oom_killed;
    bool failed; /* a status other than 0, or a signal */
    uint64_t ran_ns;
    uint32_t random; /* any number */
};

struct mw_restart_decision {
    enum { MW_RESTART_END, MW_RESTART_AGAIN, MW_RESTART_GIVE_UP } what;
    uint64_t delay_ns; /* for AGAIN */
};

struct mw_restart_decision mw_restart_step(struct mw_restart *restart, struct mw_restart_ending ending);

#endif
