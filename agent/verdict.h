/* SPDX-License-Identifier: MIT
 *
 * How a run ended, and in a sentence. Pure: a wait status and the group's counters in, a verdict and text out.
 *
 * A SIGKILL by the kernel's OOM killer looks like any other; only the group's oom_kill counter tells them apart. The
 * kernel raises it before it sends the signal.
 */
#ifndef MW_VERDICT_H
#define MW_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

struct mw_verdict_facts {
    const char *program;
    int pid;
    int wait_status; /* of waitpid */
    uint64_t ran_ns;
    bool has_group;       /* the figures below are known */
    bool is_shared;       /* they are of a group in which others are too; the peak is nobody's in particular */
    uint64_t limit_bytes; /* 0: none */
    uint64_t peak_bytes;
    uint64_t oom_kills; /* since the start of this run */
};

enum mw_cause { MW_CAUSE_EXITED, MW_CAUSE_OOM_KILLED, MW_CAUSE_SIGNALLED };

enum mw_cause mw_verdict_cause(const struct mw_verdict_facts *facts);

/* The status that memwatch-run ends with for it. */
int mw_verdict_exit_status(int wait_status);

/* "app (pid 7) was killed by the kernel's OOM killer after 1.2 s: limit 60 MiB (62914560 bytes), peak …, 1 OOM kill" */
void mw_verdict_text(struct mw_text *out, const struct mw_verdict_facts *facts);

#endif
