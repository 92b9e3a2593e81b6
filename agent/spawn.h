/* SPDX-License-Identifier: MIT
 *
 * Starts a program inside its cgroup: it is charged there from its first instruction on.
 */
#ifndef MW_SPAWN_H
#define MW_SPAWN_H

#include <signal.h>
#include <sys/types.h>

#include "error.h"
#include "group.h"

struct mw_spawn {
    char *const *command; /* searched for in PATH, as execvp does */
    char *const *environment;
    const sigset_t *mask; /* the program's signal mask */
    bool ignore_sigchld;
    const struct mw_group *group; /* NULL: none */
};

enum mw_spawn_failure { MW_SPAWN_OWN, MW_SPAWN_NOT_ENTERED, MW_SPAWN_NOT_FOUND, MW_SPAWN_NOT_EXECUTABLE };

/* Returns the process id, or -1 with *error and *failure set; no process is left then. */
pid_t mw_spawn(const struct mw_spawn *spawn, enum mw_spawn_failure *failure, struct mw_error *error);

#endif
