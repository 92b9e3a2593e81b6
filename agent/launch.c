/* SPDX-License-Identifier: MIT */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child tells when it does not get as far as the program; nothing is told when it does: the pipe closes. */
struct report {
    enum { AT_GROUP, AT_EXEC } step;
    int errno_value;
};

/* The kernel sends it when the parent's thread ends; one that had ended before is seen by the changed parent. */
static void follow_parent(int death_signal, pid_t parent)
{
    if (death_signal && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) == 0 && getppid() != parent)
        raise(death_signal);
}

static char **find_variable(char **environment, const char *name)
{
    while (*environment && strncmp(*environment, name, strlen(name)) != 0)
        environment++;
    return environment;
}

/* A variable that names the process it is for: if that is the parent, it becomes the child. */
static bool take_over(char **environment, const char *name, char own[32], pid_t parent)
{
    char parents[32];
    char **variable = find_variable(environment, name);
    snprintf(parents, sizeof parents, "%s%d", name, (int)parent);
    if (!*variable || strcmp(*variable, parents) != 0)
        return false;
    snprintf(own, sizeof parents, "%s%d", name, (int)getpid());
    *variable = own;
    return true;
}

/* sd_watchdog_enabled(3), sd_listen_fds(3). LISTEN_PIDFDID is the same by another number, which would have to be looked
 * up; where there is none the process id is enough. */
static void take_over_duties(char **environment, pid_t parent)
{
    static char own[2][32];
    take_over(environment, "WATCHDOG_PID=", own[0], parent);
    if (take_over(environment, "LISTEN_PID=", own[1], parent))
        for (char **variable = find_variable(environment, "LISTEN_PIDFDID="); *variable; variable++)
            variable[0] = variable[1];
}

_Noreturn static void become_program(const struct mw_launch *launch, int procs_fd, int report_fd, pid_t parent)
{
    struct report report = {.step = AT_GROUP};
    if (procs_fd < 0 || write(procs_fd, "0", 1) == 1) {
        report.step = AT_EXEC;
        if (launch->ignore_sigchld)
            signal(SIGCHLD, SIG_IGN);
        sigprocmask(SIG_SETMASK, launch->mask, NULL);
        follow_parent(launch->death_signal, parent);
        take_over_duties(launch->environment, parent);
        execvpe(launch->command[0], launch->command, launch->environment);
    }
    report.errno_value = errno;
    (void)!write(report_fd, &report, sizeof report);
    _exit(127);
}

/* fork, straight into the group of that directory. -1 with errno where the kernel will not: v1 (EBADF), before Linux
 * 5.7 (ENOSYS, E2BIG), not permitted (EPERM, EACCES). */
static pid_t fork_into(int directory_fd)
{
    struct clone_args arguments = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (__u64)directory_fd};
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
}

static pid_t start_child(const struct mw_launch *launch, int report_fd, struct mw_error *error)
{
    int procs_fd = -1;
    pid_t parent = getpid();
    if (launch->group && launch->group->cgroup.version == 2) {
        int directory_fd = mw_group_open_directory(launch->group, error);
        if (directory_fd < 0)
            return -1;
        pid_t pid = fork_into(directory_fd);
        if (pid == 0)
            become_program(launch, -1, report_fd, parent);
        close(directory_fd);
        if (pid > 0)
            return pid;
    }
    if (launch->group) {
        procs_fd = mw_group_open_procs(launch->group, error);
        if (procs_fd < 0)
            return -1;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_program(launch, procs_fd, report_fd, parent);
    if (pid < 0)
        mw_error_set(error, errno, "cannot start a process");
    if (procs_fd >= 0)
        close(procs_fd);
    return pid;
}

static void explain(const struct mw_launch *launch, struct report report, enum mw_launch_failure *failure,
                    struct mw_error *error)
{
    if (report.step == AT_GROUP) {
        *failure = MW_LAUNCH_NOT_ENTERED;
        mw_error_set(error, report.errno_value, "cannot enter the cgroup %s", launch->group->cgroup.dir);
    } else {
        *failure = report.errno_value == ENOENT ? MW_LAUNCH_NOT_FOUND : MW_LAUNCH_NOT_EXECUTABLE;
        mw_error_set(error, report.errno_value, "cannot execute %s", launch->command[0]);
    }
}

pid_t mw_launch(const struct mw_launch *launch, enum mw_launch_failure *failure, struct mw_error *error)
{
    int ends[2];
    struct report report;
    *failure = MW_LAUNCH_OWN;
    if (pipe2(ends, O_CLOEXEC)) {
        mw_error_set(error, errno, "cannot make a pipe");
        return -1;
    }
    pid_t pid = start_child(launch, ends[1], error);
    close(ends[1]);
    ssize_t n = 0;
    if (pid > 0) {
        do
            n = read(ends[0], &report, sizeof report);
        while (n < 0 && errno == EINTR);
    }
    close(ends[0]);
    if (n != (ssize_t)sizeof report)
        return pid;
    waitpid(pid, NULL, 0);
    explain(launch, report, failure, error);
    return -1;
}
