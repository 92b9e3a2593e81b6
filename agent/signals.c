/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "syscall.h"

void mw_signals_start(struct mw_signals *signals)
{
    sigset_t all;
    *signals = (struct mw_signals){0};
    /* Where it is ignored, nothing tells that the program has ended. */
    signals->ignored_sigchld = signal(SIGCHLD, SIG_DFL) == SIG_IGN;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &signals->before);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Did the terminal send it? Then the whole foreground group, the program too, has it already. */
static bool from_terminal(const siginfo_t *info)
{
    return info->si_code == SI_KERNEL;
}

static bool asks_to_stop(const siginfo_t *info)
{
    return info->si_signo == SIGINT || info->si_signo == SIGTERM || info->si_signo == SIGQUIT ||
           (info->si_signo == SIGHUP && from_terminal(info));
}

static bool suspends(int signal)
{
    return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* pid 0: there is no program just now. */
static void take(struct mw_signals *signals, const siginfo_t *info, pid_t pid)
{
    if (asks_to_stop(info))
        signals->stop_asked = true;
    if (info->si_signo == SIGCHLD)
        return;
    if (!from_terminal(info) && pid > 0) {
        if (info->si_code == SI_QUEUE)
            sigqueue(pid, info->si_signo, info->si_value);
        else
            kill(pid, info->si_signo);
    }
    if (from_terminal(info) && suspends(info->si_signo))
        raise(SIGSTOP); /* the shell waits for the whole job to stop */
}

/* Of a process that has ended and is not reaped: had it not called exec? By the flag PF_FORKNOEXEC in /proc/PID/stat,
 * the ninth field; the second, in brackets, may hold anything. */
static bool is_before_exec(pid_t pid)
{
    const unsigned long fork_no_exec = 0x40;
    char path[64];
    char text[1024];
    unsigned long flags = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (mw_file_read_whole(path, text, sizeof text) <= 0)
        return false;
    const char *bracket = strrchr(text, ')');
    return bracket && sscanf(bracket + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 && (flags & fork_no_exec);
}

/* Reaps all that has ended. True: pid was among it. */
static bool reap(pid_t pid, struct mw_ending *ending)
{
    bool ended = false;
    for (siginfo_t next = {0}; waitid(P_ALL, 0, &next, WEXITED | WNOHANG | WNOWAIT) == 0 && next.si_pid > 0;
         next.si_pid = 0) {
        bool before_exec = next.si_pid == pid && is_before_exec(pid);
        int status;
        if (waitpid(next.si_pid, &status, WNOHANG) == pid) {
            *ending = (struct mw_ending){.wait_status = status, .before_exec = before_exec};
            ended = true;
        }
    }
    return ended;
}

void mw_signals_reap(void)
{
    struct mw_ending unused;
    reap(0, &unused);
}

struct mw_ending mw_signals_wait(struct mw_signals *signals, pid_t pid)
{
    sigset_t all;
    siginfo_t info;
    struct mw_ending ending = {0};
    sigfillset(&all);
    while (!reap(pid, &ending))
        if (sigwaitinfo(&all, &info) > 0)
            take(signals, &info, pid);
    return ending;
}

void mw_signals_sleep(struct mw_signals *signals, uint64_t ns)
{
    sigset_t all;
    siginfo_t info;
    uint64_t end_ns = mw_clock_ns(CLOCK_MONOTONIC) + ns;
    sigfillset(&all);
    for (uint64_t now_ns; !signals->stop_asked && (now_ns = mw_clock_ns(CLOCK_MONOTONIC)) < end_ns;) {
        uint64_t left_ns = end_ns - now_ns;
        struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000), .tv_nsec = (long)(left_ns % 1000000000)};
        if (sigtimedwait(&all, &info, &left) > 0)
            take(signals, &info, 0);
    }
}
