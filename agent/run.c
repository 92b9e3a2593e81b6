/* SPDX-License-Identifier: MIT
 *
 * memwatch-run: a program in a memory cgroup of its own, watched, started again when the OOM killer took it. One that
 * runs already is for attach.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "allocator.h"
#include "attach.h"
#include "group_counts.h"
#include "launch.h"
#include "library.h"
#include "log.h"
#include "notify.h"
#include "outcome.h"
#include "place.h"
#include "postmortem.h"
#include "program.h"
#include "run_options.h"
#include "signals.h"
#include "supervisor.h"
#include "syscall.h"
#include "verdict.h"
#include "warner.h"

enum { EXIT_OWN_FAILURE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* What is the same for every run. */
struct job {
    const struct mw_run_options *options;
    struct mw_placing placing;
    char library[4096];
    bool has_library;
    char allocator[4096];
    bool has_allocator; /* beneath the library, or alone */
    struct mw_signals signals;
    struct mw_notify notify;
    struct mw_postmortem postmortem;
    struct mw_supervisor supervisor;
    unsigned starts;
};

/* One run of the program. */
struct run {
    pid_t pid; /* 0: there is none now */
    struct mw_place place;
    bool has_others; /* are in the shared group */
    uint64_t start_ns;
    struct mw_group_counter counter;
    struct mw_group_counts before;
    unsigned left_behind;
    struct mw_warner warner;
};

/* ---- before the first run ---- */

/* What the preload cannot do there is said, and not tried; the limit holds all the same. What cannot be started is
 * left to exec to tell. */
static void look_at_program(struct job *job)
{
    struct mw_program program;
    struct mw_error error;
    char sentence[4096 + 512];
    struct mw_text text = MW_TEXT(sentence);
    if (!mw_program_examine(job->options->command[0], getenv("PATH"), &program, &error))
        return;
    bool keeps_preload = mw_program_keeps_preload(&program, getenv("LD_PRELOAD"));
    job->has_library = job->has_library && keeps_preload;
    job->has_allocator = job->has_allocator && keeps_preload;
    if (*program.missing) {
        mw_warn("%s needs %s, which is not there", job->options->command[0], program.missing);
    } else if (program.verdict != MW_PROGRAM_WATCHED) {
        mw_program_text(&text, &program, job->options->command[0]);
        mw_warn("%s: it is not watched%s", sentence,
                job->placing.limits.limit_bytes ? ", and only a memory cgroup can limit it" : "");
    }
}

static bool prepare_job(struct job *job, const struct mw_run_options *options, struct mw_error *error)
{
    struct mw_error no_library;
    *job = (struct job){.options = options,
                        .supervisor = {.restart = {.policy = options->restart,
                                                   .first_delay_ns = options->restart_delay_ns,
                                                   .longest_delay_ns = options->restart_delay_max_ns,
                                                   .growth = options->restart_growth,
                                                   .jitter_percent = (unsigned)options->restart_jitter,
                                                   .good_run_ns = options->restart_reset_ns,
                                                   .limit = options->start_limit},
                                       .stop_timeout_ns = options->stop_timeout_ns}};
    if (!mw_log_open(options->log, options->quiet, error) || !mw_placing_prepare(&job->placing, options, error))
        return false;
    job->has_allocator = options->allocator != MW_ALLOCATOR_GLIBC;
    if (job->has_allocator && !mw_allocator_find(options->allocator, "", getenv("LD_LIBRARY_PATH"), job->allocator,
                                                 sizeof job->allocator, error))
        return false;
    job->has_library = mw_library_find(job->library, sizeof job->library, &no_library);
    if (!job->has_library)
        mw_warn("the program is not watched: %s", no_library.text);
    look_at_program(job);
    return true;
}

/* ---- a run's begin ---- */

static void start_counting(struct run *run)
{
    bool has_any = run->place.has_group || run->place.has_shared;
    run->has_others = run->place.has_shared && mw_group_has_others(&run->place.group.cgroup, getpid());
    mw_group_counter_close(&run->counter);
    mw_group_counter_open(&run->counter, "", has_any ? &run->place.group.cgroup : NULL);
    mw_group_counter_read(&run->counter, &run->before);
}

static pid_t start_program(struct job *job, struct run *run, enum mw_launch_failure *failure, struct mw_error *error)
{
    start_counting(run);
    mw_place_tell_program(&job->placing, &run->place);
    struct mw_launch launch = {
        .command = job->options->command,
        .environment = mw_library_environment(environ, job->has_library ? job->library : NULL,
                                              job->has_allocator ? job->allocator : NULL),
        .mask = &job->signals.before,
        .ignore_sigchld = job->signals.ignored_sigchld,
        .death_signal = job->options->pdeathsig,
        .group = run->place.has_group ? &run->place.group : NULL,
    };
    run->start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    return mw_launch(&launch, failure, error);
}

static int failure_status(enum mw_launch_failure failure)
{
    return failure == MW_LAUNCH_NOT_FOUND        ? EXIT_NOT_FOUND
           : failure == MW_LAUNCH_NOT_EXECUTABLE ? EXIT_NOT_EXECUTABLE
                                                 : EXIT_OWN_FAILURE;
}

static void write_pidfile(const struct job *job, pid_t pid)
{
    char line[32];
    if (!*job->options->pidfile)
        return;
    int length = snprintf(line, sizeof line, "%d\n", (int)pid);
    int fd = open(job->options->pidfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        mw_warn("--pidfile: cannot write %s: %s", job->options->pidfile, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* Else by the library, if at all. */
static bool is_limited_by_group(const struct job *job, const struct run *run)
{
    return run->place.has_group || (run->place.has_shared && !job->placing.limits.limit_bytes);
}

/* The event that has come of it. */
static struct mw_supervisor_event begin_run(struct job *job, struct run *run)
{
    struct mw_error error;
    struct mw_error why;
    enum mw_launch_failure failure = MW_LAUNCH_OWN;
    *run = (struct run){0};
    mw_warner_stop(&run->warner);
    pid_t pid = -1;
    if (mw_place_make(&job->placing, &run->place, &error)) {
        pid = start_program(job, run, &failure, &error);
        if (pid < 0 && failure == MW_LAUNCH_NOT_ENTERED) {
            why = error;
            if (mw_place_make_other(&job->placing, &run->place, &why, &error))
                pid = start_program(job, run, &failure, &error);
        }
    }
    if (pid < 0) {
        mw_group_counter_close(&run->counter);
        if (run->place.has_group)
            mw_group_remove(&run->place.group, &why);
        mw_warn("%s", error.text);
        return (struct mw_supervisor_event){.kind = MW_EVENT_FAILED, .exit_status = failure_status(failure)};
    }
    job->starts++;
    run->pid = pid;
    write_pidfile(job, pid);
    mw_warner_start(&run->warner, job->options, job->options->command[0], pid,
                    is_limited_by_group(job, run) ? &run->place.group.cgroup : NULL, job->placing.limits.limit_bytes);
    return (struct mw_supervisor_event){.kind = MW_EVENT_STARTED};
}

/* ---- a run's end ---- */

static struct mw_verdict_facts gather_facts(const struct job *job, struct run *run, struct mw_ending ending)
{
    struct mw_verdict_facts facts = {
        .program = job->options->command[0],
        .pid = (int)run->pid,
        .wait_status = ending.wait_status,
        .before_exec = ending.before_exec,
        .ran_ns = mw_clock_ns(CLOCK_MONOTONIC) - run->start_ns,
        .restarts = job->starts - 1,
    };
    bool has_any = run->place.has_group || run->place.has_shared;
    mw_outcome_read(&facts, &run->counter, &run->before, has_any ? &run->place.group.cgroup : NULL);
    facts.is_shared = facts.has_group && run->place.has_shared;
    facts.has_others = facts.has_group && run->has_others;
    mw_group_counter_close(&run->counter);
    return facts;
}

static struct mw_restart_ending ending_of(const struct mw_verdict_facts *facts, enum mw_cause cause)
{
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    return (struct mw_restart_ending){
        .oom_killed = mw_cause_is_oom(cause) || (cause == MW_CAUSE_KILLED_OR_OOM && facts->has_group),
        .failed = facts->wait_status != 0,
        .ran_ns = facts->ran_ns,
        .random = random,
    };
}

/* How it ended and what is next, and who held the memory. */
static void tell(const struct job *job, const struct mw_verdict_facts *facts, enum mw_cause cause)
{
    char sentence[2048];
    char delay[32];
    struct mw_text text = MW_TEXT(sentence);
    struct mw_text delay_text = MW_TEXT(delay);
    const struct mw_supervisor *supervisor = &job->supervisor;
    bool is_asked_for = supervisor->is_stopping || (cause == MW_CAUSE_EXITED && facts->wait_status == 0);
    void (*put)(const char *format, ...) = is_asked_for ? mw_say : mw_warn;
    mw_verdict_text(&text, facts);
    mw_text_duration(&delay_text, supervisor->next.delay_ns);
    bool is_told = job->options->report == MW_REPORT_JSON && mw_outcome_put_json(facts);
    switch (supervisor->next.what) {
    case MW_RESTART_END:
        if (!is_told)
            put("%s", sentence);
        break;
    case MW_RESTART_GIVE_UP:
        put("%s; not started again: %u restarts without a good run between them are the limit", sentence,
            supervisor->restart.limit);
        break;
    case MW_RESTART_AGAIN:
        put("%s; restart %u of at most %u in %s", sentence, supervisor->restart.count, supervisor->restart.limit,
            delay);
        break;
    }
    /* Not of a program that was asked to stop: that is no death to be explained. */
    if (mw_verdict(facts).oom_kills || (cause != MW_CAUSE_EXITED && !supervisor->is_stopping))
        mw_postmortem_tell(&job->postmortem, facts->pid, sentence);
}

/* The event that has come of it. */
static struct mw_supervisor_event clear(struct job *job, struct run *run)
{
    struct mw_error error;
    if (run->place.has_group && !mw_group_remove(&run->place.group, &error))
        return (struct mw_supervisor_event){.kind = MW_EVENT_NOT_CLEARED};
    if (run->left_behind)
        mw_say("%u process%s that it left behind %s ended", run->left_behind, run->left_behind > 1 ? "es" : "",
               run->left_behind > 1 ? "were" : "was");
    mw_postmortem_sweep(&job->postmortem);
    return (struct mw_supervisor_event){.kind = MW_EVENT_CLEARED};
}

static void signal_all(struct run *run, int signal)
{
    unsigned count = 0;
    if (run->place.has_group)
        count = mw_group_signal(&run->place.group, signal);
    else if (run->pid)
        kill(run->pid, signal);
    if (!run->pid && !run->left_behind)
        run->left_behind = count;
}

/* ---- all runs ---- */

static uint64_t sooner(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static void pass_on_notices(const struct job *job, const struct run *run)
{
    const struct mw_notify_speakers speakers = {.pid = run->pid,
                                                .group = run->place.has_group ? &run->place.group.cgroup : NULL};
    mw_notify_pass_on(&job->notify, &speakers, job->supervisor.is_stopping);
}

/* Until something happens that is for the supervisor, warnings and notices are taken care of. */
static enum mw_supervisor_event_kind wait_for_event(struct job *job, struct run *run, uint64_t wake_ns,
                                                    struct mw_ending *ending)
{
    struct pollfd polls[] = {
        [MW_GROUP_WATCH_POLLS] = {.fd = job->notify.fd, .events = POLLIN},
    };
    struct pollfd *warnings = run->warner.watch.polls;
    for (;;) {
        memcpy(polls, warnings, sizeof run->warner.watch.polls);
        const struct mw_until until = {.wake_ns = sooner(wake_ns, run->warner.look_ns),
                                       .polls = polls,
                                       .poll_count = sizeof polls / sizeof polls[0]};
        enum mw_supervisor_event_kind kind = mw_signals_next(&job->signals, run->pid, &until, ending);
        if (kind != MW_EVENT_TIME || mw_clock_ns(CLOCK_MONOTONIC) >= wake_ns)
            return kind;
        memcpy(warnings, polls, sizeof run->warner.watch.polls);
        if (!polls[MW_GROUP_WATCH_POLLS].revents)
            mw_warner_look(&run->warner);
        else
            pass_on_notices(job, run);
        polls[MW_GROUP_WATCH_POLLS].revents = 0;
    }
}

static struct mw_supervisor_event next_event(struct job *job, struct run *run, uint64_t wake_ns,
                                             struct mw_ending *ending)
{
    struct mw_supervisor_event event = {.kind = wait_for_event(job, run, wake_ns, ending)};
    if (event.kind == MW_EVENT_SIGNAL) {
        event.signal = job->signals.last.si_signo;
        event.is_from_terminal = mw_signals_from_terminal(&job->signals);
        event.is_from_program = run->pid && job->signals.last.si_pid == run->pid;
    }
    return event;
}

/* Carries out what is to be done. True: a new event has come of it at once. */
static bool carry_out(struct job *job, struct run *run, const struct mw_supervisor_orders *orders,
                      struct mw_supervisor_event *event)
{
    char time[32];
    struct mw_text time_text = MW_TEXT(time);
    if (orders->pass_on)
        mw_signals_pass_on(&job->signals, run->pid);
    if (orders->suspend)
        raise(SIGSTOP);
    if (orders->is_overdue) {
        mw_text_duration(&time_text, job->supervisor.stop_timeout_ns);
        mw_warn("%s (pid %d) has not ended within %s of being asked to: it is killed", job->options->command[0],
                (int)run->pid, time);
    }
    if (orders->signal_all)
        signal_all(run, orders->signal_all);
    if (orders->give_up)
        mw_warn("%s cannot be removed: what is left in it does not end", run->place.group.cgroup.dir);
    if (orders->clear)
        *event = clear(job, run);
    if (orders->start)
        *event = begin_run(job, run);
    return orders->clear || orders->start;
}

/* Runs the program until it is not to be started again. Returns the exit status. */
static int supervise(struct job *job)
{
    struct run run = {0};
    struct mw_supervisor_event event = {.kind = MW_EVENT_BEGIN};
    struct mw_ending ending = {0};
    for (;;) {
        struct mw_verdict_facts facts;
        enum mw_cause cause = MW_CAUSE_EXITED;
        bool has_ended = event.kind == MW_EVENT_ENDED;
        if (has_ended) {
            facts = gather_facts(job, &run, ending);
            cause = mw_verdict(&facts).cause;
            event.exit_status = mw_verdict_exit_status(ending.wait_status);
            event.ending = ending_of(&facts, cause);
            pass_on_notices(job, &run);
            run.pid = 0;
            mw_warner_stop(&run.warner);
        }
        struct mw_supervisor_orders orders = mw_supervisor_step(&job->supervisor, &event, mw_clock_ns(CLOCK_MONOTONIC));
        if (has_ended)
            tell(job, &facts, cause);
        if (orders.end)
            return job->supervisor.exit_status;
        if (!carry_out(job, &run, &orders, &event))
            event = next_event(job, &run, orders.wake_ns, &ending);
    }
}

static int fail(const struct mw_error *error)
{
    mw_warn("%s", error->text);
    return EXIT_OWN_FAILURE;
}

int main(int argc, char **argv)
{
    struct mw_run_options options;
    struct mw_error error;
    struct job job;
    if (!mw_run_options_parse(&options, argc, argv, &error))
        return fail(&error);
    if (options.help) {
        mw_run_options_help();
        return 0;
    }
    if (options.version) {
        puts("memwatch-run " MEMWATCH_VERSION);
        return 0;
    }
    if (options.attach)
        return mw_attach_run(&options);
    if (!prepare_job(&job, &options, &error) || !mw_postmortem_prepare(&job.postmortem, options.keep, &error))
        return fail(&error);
    if (!mw_signals_start(&job.signals, &error))
        return fail(&error);
    job.postmortem.mask = job.signals.before;
    mw_notify_open(&job.notify);
    int status = supervise(&job);
    if (*options.pidfile && job.starts)
        unlink(options.pidfile);
    return status;
}
