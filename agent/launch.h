/* SPDX-License-Identifier: MIT
 *
 * Starts a program inside its cgroup: it is charged there from its first instruction on.
 */
#ifndef MW_LAUNCH_H
#define MW_LAUNCH_H

#include <signal.h>
#include <sys/types.h>

#include "error.h"
#include "group.h"

struct mw_launch {
    char *const *command; /* searched for in PATH, as execvp does */
    char **environment;
    const sigset_t *mask; /* the program's signal mask */
    bool ignore_sigchld;
    int death_signal;             /* that it is to have when this process dies; 0: none */
    const struct mw_group *group; /* NULL: none */
};

enum mw_launch_failure { MW_LAUNCH_OWN, MW_LAUNCH_NOT_ENTERED, MW_LAUNCH_NOT_FOUND, MW_LAUNCH_NOT_EXECUTABLE };

/* Returns the process id, or -1 with *error and *failure set; no process is left then. */
pid_t mw_launch(const struct mw_launch *launch, enum mw_launch_failure *failure, struct mw_error *error);

#endif
