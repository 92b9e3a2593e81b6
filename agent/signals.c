/* SPDX-License-Identifier: MIT */
#include "signals.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "syscall.h"

bool mw_signals_start(struct mw_signals *signals, struct mw_error *error)
{
    sigset_t all;
    *signals = (struct mw_signals){0};
    /* Where it is ignored, nothing tells that the program has ended. */
    signals->ignored_sigchld = signal(SIGCHLD, SIG_DFL) == SIG_IGN;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &signals->before);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    signals->fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return signals->fd >= 0 || mw_error_set(error, errno, "cannot wait for signals");
}

/* Of a process that has ended and is not reaped: had it not called exec? */
static bool is_before_exec(pid_t pid)
{
    struct mw_process_stat stat;
    return mw_process_read_stat(pid, &stat) && mw_process_is_before_exec(&stat);
}

static bool is_of_job_control(int signal)
{
    return signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/* Takes what children have to tell, up to the next of the program. False: there is nothing of it. */
static bool take_child(pid_t pid, enum mw_supervisor_event_kind *kind, struct mw_ending *ending)
{
    const int what = WEXITED | WSTOPPED | WCONTINUED | WNOHANG;
    for (siginfo_t next = {0}; waitid(P_ALL, 0, &next, what | WNOWAIT) == 0 && next.si_pid > 0; next.si_pid = 0) {
        bool before_exec = next.si_pid == pid && is_before_exec(pid);
        int status;
        if (waitpid(next.si_pid, &status, WNOHANG | WUNTRACED | WCONTINUED) != pid)
            continue;
        if (WIFSTOPPED(status) && !is_of_job_control(WSTOPSIG(status)))
            continue;
        *ending = (struct mw_ending){.wait_status = status, .before_exec = before_exec};
        *kind = WIFSTOPPED(status) ? MW_EVENT_SUSPENDED : WIFCONTINUED(status) ? MW_EVENT_CONTINUED : MW_EVENT_ENDED;
        return true;
    }
    return false;
}

/* Until a signal is pending, a descriptor has something to tell, or it is time. */
static void wait_for_any(const struct mw_signals *signals, const struct mw_until *until)
{
    struct pollfd polls[1 + MW_UNTIL_POLLS] = {{.fd = signals->fd, .events = POLLIN}};
    const struct timespec left = mw_clock_until(until->wake_ns);
    for (unsigned i = 0; i < until->poll_count; i++)
        polls[1 + i] = until->polls[i];
    if (ppoll(polls, 1 + until->poll_count, &left, NULL) <= 0)
        return;
    for (unsigned i = 0; i < until->poll_count; i++)
        until->polls[i].revents = polls[1 + i].revents;
}

static bool is_over(const struct mw_until *until)
{
    for (unsigned i = 0; i < until->poll_count; i++)
        if (until->polls[i].revents)
            return true;
    return mw_clock_ns(CLOCK_MONOTONIC) >= until->wake_ns;
}

enum mw_supervisor_event_kind mw_signals_next(struct mw_signals *signals, pid_t pid, const struct mw_until *until,
                                              struct mw_ending *ending)
{
    const struct timespec at_once = {0};
    sigset_t all;
    sigfillset(&all);
    for (;;) {
        enum mw_supervisor_event_kind kind;
        if (take_child(pid, &kind, ending))
            return kind;
        int signal = sigtimedwait(&all, &signals->last, &at_once);
        if (signal > 0 && signal != SIGCHLD)
            return MW_EVENT_SIGNAL;
        if (signal > 0)
            continue;
        if (is_over(until))
            return MW_EVENT_TIME;
        wait_for_any(signals, until);
    }
}

bool mw_signals_from_terminal(const struct mw_signals *signals)
{
    return signals->last.si_code == SI_KERNEL;
}

void mw_signals_pass_on(const struct mw_signals *signals, pid_t pid)
{
    if (signals->last.si_code == SI_QUEUE)
        sigqueue(pid, signals->last.si_signo, signals->last.si_value);
    else
        kill(pid, signals->last.si_signo);
}
