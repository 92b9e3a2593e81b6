/* SPDX-License-Identifier: MIT
 *
 * A process that we have not started: which one it is, whether it still lives, and how it ended.
 *
 * A number may become another process's once that one has ended. So a descriptor of the process is opened first, and
 * what is then read by its number is believed only if the process lives on afterwards.
 *
 * We are not its parent, whom alone wait(2) tells of its end. There are two other ways, and both may fail: while it
 * waits for its parent, /proc/PID/stat has its exit status; and once its parent has taken that, its descriptor does,
 * from Linux 6.15 on.
 *
 * mw_process_stat_parse is pure. A struct mw_process holds descriptors, closed on exec, until mw_process_close. One
 * thread.
 */
#ifndef MW_PROCESS_H
#define MW_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

#define MW_PROCESS_NAME_BYTES 64

/* Of /proc/PID/stat, proc(5). */
struct mw_process_stat {
    char name[MW_PROCESS_NAME_BYTES]; /* what is not printable ASCII is "?" */
    char state;
    int parent;
    int session;
    uint64_t flags;
    uint64_t start_ticks;
    uint64_t stack_start; /* 0 where this user may not know, and then the exit status is not told either */
    int wait_status;      /* as of waitpid, once it has ended; 0 before, and where this user may not know */
};

/* False: it is no such text. Of an older kernel's shorter one, what it does not hold is 0. */
bool mw_process_stat_parse(const char *text, struct mw_process_stat *out);

/* The kernel's own, which has no memory of its own. */
bool mw_process_is_kernels(const struct mw_process_stat *stat);

/* It has been forked and has not become another program yet. */
bool mw_process_is_before_exec(const struct mw_process_stat *stat);

/* Reads the file of that process. False: there is no such process, or this user may not see it. */
bool mw_process_read_stat(int pid, struct mw_process_stat *out);

/* Its resident memory, as VmRSS of /proc/PID/status. False: it cannot be read. */
bool mw_process_resident(int pid, uint64_t *bytes);

struct mw_process {
    int pid;
    int fd;      /* a pidfd: readable once the process has ended */
    int stat_fd; /* of /proc/PID/stat, opened while it lived */
    char name[MW_PROCESS_NAME_BYTES];
    uint64_t start_ticks;
    bool tells_status; /* by stat_fd */
};

/* False: *error says in one sentence why it cannot be supervised: it is gone, a thread, the kernel's, another user's.
 */
bool mw_process_open(struct mw_process *process, int pid, struct mw_error *error);

void mw_process_close(struct mw_process *process);

bool mw_process_has_ended(const struct mw_process *process);

/* Of one that has ended: as of waitpid. False: nobody has told us. May wait a second for its parent to take notice. */
bool mw_process_wait_status(const struct mw_process *process, int *wait_status);

/* For how long it has run until now. */
uint64_t mw_process_age_ns(const struct mw_process *process);

#endif
