/* SPDX-License-Identifier: MIT
 *
 * What the program tells the service manager (sd_notify(3)) passes through memwatch-run: a manager listens to the main
 * process of a service, and that is memwatch-run. The program gets a socket of ours as NOTIFY_SOCKET; what comes there,
 * descriptors too, is sent on in our name. One thread.
 */
#ifndef MW_NOTIFY_H
#define MW_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "cgroup.h"

struct mw_notify {
    int fd; /* ours, closed on exec; -1: nobody is to be told */
    struct sockaddr_un manager;
    socklen_t manager_length;
};

/* Who may speak: the program, whatever has our own user, and whatever is in its group. */
struct mw_notify_speakers {
    pid_t pid;
    const struct mw_cgroup *group; /* NULL: it has none of its own */
};

/* Takes the manager's socket out of this process's NOTIFY_SOCKET, if there is one, and puts ours there for the program
 * to inherit. Where that cannot be done it is said, and the variable is left as it is. */
void mw_notify_open(struct mw_notify *notify);

/* Passes on all that has come. is_stopping: memwatch-run has been asked to. */
void mw_notify_pass_on(const struct mw_notify *notify, const struct mw_notify_speakers *speakers, bool is_stopping);

/* Takes out of a message what is not for the manager, line by line: which process the main one is, since it is us; and
 * that the service stops, unless it is to, since the program may be started again. */
void mw_notify_filter(char *message, bool is_stopping);

#endif
