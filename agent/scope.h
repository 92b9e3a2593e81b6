/* SPDX-License-Identifier: MIT
 *
 * Memory cgroups for those who may make none: a scope of systemd's around this process, by asking the manager of the
 * user's own units.
 *
 * The scope is delegated: below it the launcher is in a group of its own, `launcher`, and whatever mw_group_create
 * makes stands beside that. So the launcher stays in the scope, which is there as long as the counters are wanted, and
 * goes by itself, with all below, when the last process in it has ended. The limit proper is that of the program's
 * group. The scope has it too, with some room for the launcher: for people to see (`systemctl --user status`), and to
 * hold a program that moves to another group within the scope.
 *
 * systemd is spoken to by a child process, which alone loads libsystemd: nothing of it stays in the launcher, and a
 * manager that does not answer is given up. For a process with one thread; not to be called in signal handlers.
 */
#ifndef MW_SCOPE_H
#define MW_SCOPE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

#define MW_SCOPE_NO_LIMIT   UINT64_MAX
#define MW_SCOPE_DEADLINE_S 5

/* What the scope may hold beyond the program: the launcher, and `memwatch report` after a death. */
#define MW_SCOPE_ROOM_BYTES (UINT64_C(64) << 20)

/* Of the program; MW_SCOPE_NO_LIMIT where there is none. */
struct mw_scope_wish {
    const char *command; /* for the scope's description */
    uint64_t limit_bytes;
    uint64_t high_bytes;
    uint64_t swap_bytes;
};

/* Is there a user manager to ask? A look for its socket, no more. */
bool mw_scope_is_there(void);

/* Moves this process into a scope of its own, memwatch-PID.scope, as told above. Takes at most MW_SCOPE_DEADLINE_S.
 * False: *error says in one line what is in the way. The process may be in another group than before all the same. */
bool mw_scope_enter(const struct mw_scope_wish *wish, struct mw_error *error);

/* Has systemd move processes of this user's into a group below the scope that this process has entered: from where we
 * may not take them ourselves, as out of a login session. All of them, or *error is set. Takes as long at most. */
bool mw_scope_take_in(const char *directory, const pid_t *pids, unsigned count, struct mw_error *error);

/* Where a manager listens. */
struct mw_scope_socket {
    char path[512];
    bool is_bus; /* a message bus, on which the manager has a name; else the manager itself */
};

/* Of the user's: in runtime_dir, the value of XDG_RUNTIME_DIR or NULL, else in the directory that it is by default. All
 * paths are taken below root, "" on a live system. */
bool mw_scope_find_socket(const char *root, const char *runtime_dir, uid_t user, struct mw_scope_socket *out,
                          struct mw_error *error);

#endif
