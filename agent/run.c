/* SPDX-License-Identifier: MIT
 *
 * memwatch-run: a program in a memory cgroup of its own, watched, started again when the OOM killer took it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "allocator.h"
#include "group.h"
#include "group_counts.h"
#include "launch.h"
#include "library.h"
#include "postmortem.h"
#include "program.h"
#include "restart.h"
#include "run_options.h"
#include "scope.h"
#include "signals.h"
#include "syscall.h"
#include "verdict.h"

enum { EXIT_OWN_FAILURE = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* One line on standard error, in one write. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[4096] = "memwatch-run: ";
    size_t prefix = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is not
    int length = vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    size_t used = strlen(line);
    line[used] = '\n';
    (void)!write(STDERR_FILENO, line, used + 1);
}

static const char *size_text(uint64_t bytes, char *buffer, size_t capacity_bytes)
{
    struct mw_text text = mw_text_on(buffer, capacity_bytes);
    mw_text_size(&text, bytes);
    return buffer;
}

/* What is the same for every run. */
struct job {
    const struct mw_run_options *options;
    uint64_t limit_bytes; /* 0: none */
    char library[4096];
    bool has_library;
    char allocator[4096];
    bool has_allocator; /* beneath the library, or alone */
    bool has_asked_systemd;
    struct mw_signals signals;
    struct mw_postmortem postmortem;
};

/* One start of the program. */
struct run {
    struct mw_group group;
    bool has_group;
    bool has_shared; /* no group of its own, but the one that we are in, to read only */
    bool has_others; /* are in the shared one */
    uint64_t start_ns;
    unsigned restarts; /* before it */
    struct mw_group_counter counter;
    struct mw_group_counts before;
};

/* A share is of the least limit above us, or of the machine's memory. */
static uint64_t memory_to_be_had(void)
{
    struct mw_cgroup own;
    struct mw_cgroup_reading reading;
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (mw_cgroup_find("", "self", &own) || mw_cgroup_read(&own, NULL, &reading) || !reading.limit_bytes)
        return machine;
    return reading.limit_bytes < machine ? reading.limit_bytes : machine;
}

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
        say("%s needs %s, which is not there", job->options->command[0], program.missing);
    } else if (program.verdict != MW_PROGRAM_WATCHED) {
        mw_program_text(&text, &program, job->options->command[0]);
        say("%s: it is not watched%s", sentence, job->limit_bytes ? ", and only a memory cgroup can limit it" : "");
    }
}

static bool prepare_job(struct job *job, const struct mw_run_options *options, struct mw_error *error)
{
    struct mw_error no_library;
    *job = (struct job){.options = options, .limit_bytes = mw_amount_bytes(options->limit, memory_to_be_had())};
    if (options->limit.kind != MW_AMOUNT_NONE && job->limit_bytes < MW_SMALLEST_LIMIT_BYTES)
        return mw_error_set(error, 0, "--limit: %llu bytes are too few for any program; the least is 1M",
                            (unsigned long long)job->limit_bytes);
    job->has_allocator = options->allocator != MW_ALLOCATOR_GLIBC;
    if (job->has_allocator && !mw_allocator_find(options->allocator, "", getenv("LD_LIBRARY_PATH"), job->allocator,
                                                 sizeof job->allocator, error))
        return false;
    job->has_library = mw_library_find(job->library, sizeof job->library, &no_library);
    if (!job->has_library)
        say("the program is not watched: %s", no_library.text);
    look_at_program(job);
    return true;
}

/* Makes the group and sets what was asked for; nothing is left of it on failure. */
static bool prepare_group(const struct job *job, struct mw_group *group, uint64_t *in_force_bytes,
                          struct mw_error *error)
{
    struct mw_error ignored;
    unsigned left_behind;
    *in_force_bytes = 0;
    if (!mw_group_create(group, error))
        return false;
    uint64_t limit_bytes = job->limit_bytes;
    if (group->bound_bytes && (!limit_bytes || group->bound_bytes < limit_bytes))
        limit_bytes = group->bound_bytes;
    if (limit_bytes && !mw_group_limit(group, limit_bytes, in_force_bytes, error)) {
        mw_group_remove(group, &left_behind, &ignored);
        return false;
    }
    if (job->options->swappiness != MW_PERCENT_NONE && !mw_group_swappiness(group, job->options->swappiness, error))
        say("--swappiness has no effect: %s", error->text);
    return true;
}

static bool enter_scope(const struct job *job, struct mw_error *error)
{
    struct mw_scope_wish wish = {.manager = MW_SCOPE_USER,
                                 .command = job->options->command[0],
                                 .limit_bytes = job->limit_bytes ? job->limit_bytes : MW_SCOPE_NO_LIMIT,
                                 .high_bytes = MW_SCOPE_NO_LIMIT,
                                 .swap_bytes = MW_SCOPE_NO_LIMIT};
    return mw_scope_enter(&wish, error);
}

/* Has a mode been asked for by name that needs a group? Its name, or NULL. */
static const char *insisted_mode(const struct job *job)
{
    return job->options->mode == MW_MODE_CGROUP ? "cgroup" : job->options->mode == MW_MODE_SYSTEMD ? "systemd" : NULL;
}

/* Makes the group where the mode wants it; in auto mode in a scope only if it cannot be made without. */
static bool find_group(struct job *job, struct mw_group *group, uint64_t *in_force_bytes, struct mw_error *error)
{
    struct mw_error no_scope;
    if (job->options->mode == MW_MODE_IN_PROCESS)
        return mw_error_set(error, 0, "--limit-mode=in-process");
    if (job->options->mode == MW_MODE_SYSTEMD && !job->has_asked_systemd && !enter_scope(job, error))
        return false;
    bool is_made = prepare_group(job, group, in_force_bytes, error);
    bool asks = !is_made && job->options->mode == MW_MODE_AUTO && job->limit_bytes && !job->has_asked_systemd;
    job->has_asked_systemd = true;
    if (!asks || !mw_scope_is_there())
        return is_made;
    if (enter_scope(job, &no_scope))
        return prepare_group(job, group, in_force_bytes, error);
    say("systemd's user manager cannot help: %s", no_scope.text);
    return false;
}

static void say_no_group(const struct job *job, const struct mw_error *error)
{
    char wanted[32];
    if (job->limit_bytes)
        say("no memory cgroup can be used (%s): the kernel enforces no limit; past %s the program is only asked to "
            "return memory",
            error->text, size_text(job->limit_bytes, wanted, sizeof wanted));
}

static void start_counting(struct run *run)
{
    bool has_any = run->has_group || run->has_shared;
    mw_group_counter_close(&run->counter);
    mw_group_counter_open(&run->counter, "", has_any ? &run->group.cgroup : NULL);
    mw_group_counter_read(&run->counter, &run->before);
}

/* In most containers no group can be made, but the one we are in tells of OOM kills as well. */
static void share_group(struct run *run)
{
    struct mw_cgroup_reading reading;
    run->has_group = false;
    run->has_shared =
        mw_cgroup_find("", "self", &run->group.cgroup) == 0 && mw_cgroup_read(&run->group.cgroup, NULL, &reading) == 0;
    run->has_others = run->has_shared && mw_group_has_others(&run->group.cgroup, getpid());
    start_counting(run);
}

/* False: what was insisted on cannot be had. */
static bool begin_run(struct job *job, struct run *run, unsigned restarts, struct mw_error *error)
{
    uint64_t in_force_bytes = 0;
    char wanted[32];
    char given[32];
    *run = (struct run){.restarts = restarts};
    run->has_group = find_group(job, &run->group, &in_force_bytes, error);
    if (!run->has_group && insisted_mode(job))
        return false;
    if (!run->has_group) {
        say_no_group(job, error);
        share_group(run);
        return true;
    }
    start_counting(run);
    if (job->limit_bytes)
        say("limit %s (%llu bytes) by cgroup v%d %s", size_text(in_force_bytes, given, sizeof given),
            (unsigned long long)in_force_bytes, run->group.cgroup.version, run->group.cgroup.dir);
    if (job->limit_bytes && in_force_bytes + 65536 <= job->limit_bytes)
        say("the limit asked for was %s; the groups above allow no more",
            size_text(job->limit_bytes, wanted, sizeof wanted));
    return true;
}

static pid_t start_program(struct job *job, struct run *run, enum mw_launch_failure *failure, struct mw_error *error)
{
    char limit[32];
    snprintf(limit, sizeof limit, "%llu", (unsigned long long)job->limit_bytes);
    struct mw_launch launch = {
        .command = job->options->command,
        .environment = mw_library_environment(environ, job->has_library ? job->library : NULL,
                                              job->has_allocator ? job->allocator : NULL,
                                              job->limit_bytes && !run->has_group ? limit : NULL),
        .mask = &job->signals.before,
        .ignore_sigchld = job->signals.ignored_sigchld,
        .group = run->has_group ? &run->group : NULL,
    };
    run->start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    return mw_launch(&launch, failure, error);
}

static struct mw_verdict_facts gather_facts(const struct job *job, struct run *run, pid_t pid, struct mw_ending ending)
{
    struct mw_cgroup_reading reading;
    struct mw_group_counts after;
    struct mw_verdict_facts facts = {
        .program = job->options->command[0],
        .pid = (int)pid,
        .wait_status = ending.wait_status,
        .before_exec = ending.before_exec,
        .ran_ns = mw_clock_ns(CLOCK_MONOTONIC) - run->start_ns,
        .restarts = run->restarts,
    };
    mw_group_counter_read(&run->counter, &after);
    mw_group_counts_since(&run->before, &after, &facts.happened);
    if ((run->has_group || run->has_shared) && mw_cgroup_read(&run->group.cgroup, NULL, &reading) == 0) {
        const struct mw_level_counts *own = &facts.happened.levels[0];
        facts.has_group = true;
        facts.cgroup = run->group.cgroup;
        facts.is_shared = run->has_shared;
        facts.has_others = run->has_others;
        facts.limit_bytes = reading.limit_bytes;
        facts.peak_bytes = reading.peak_bytes;
        facts.working_set_bytes = reading.working_set_bytes;
        facts.swap_limit_bytes = mw_cgroup_is_unlimited(own->swap_limit_bytes) ? 0 : own->swap_limit_bytes;
        facts.swap_peak_bytes = own->swap_peak_bytes == MW_COUNT_UNKNOWN ? 0 : own->swap_peak_bytes;
    }
    return facts;
}

static void end_run(struct run *run)
{
    struct mw_error error;
    unsigned left_behind;
    mw_group_counter_close(&run->counter);
    if (!run->has_group)
        return;
    bool removed = mw_group_remove(&run->group, &left_behind, &error);
    mw_signals_reap();
    if (left_behind)
        say("%u process%s that it left behind %s ended", left_behind, left_behind > 1 ? "es" : "",
            left_behind > 1 ? "were" : "was");
    if (!removed)
        say("%s", error.text);
}

static int failure_status(enum mw_launch_failure failure)
{
    return failure == MW_LAUNCH_NOT_FOUND        ? EXIT_NOT_FOUND
           : failure == MW_LAUNCH_NOT_EXECUTABLE ? EXIT_NOT_EXECUTABLE
                                                 : EXIT_OWN_FAILURE;
}

/* Says how it ended, and who held the memory; and decides what is next. */
static struct mw_restart_decision conclude(struct job *job, struct mw_restart *restart,
                                           const struct mw_verdict_facts *facts)
{
    char sentence[2048];
    char delay[32];
    struct mw_text text = MW_TEXT(sentence);
    struct mw_text delay_text = MW_TEXT(delay);
    enum mw_cause cause = mw_verdict(facts).cause;
    mw_verdict_text(&text, facts);
    struct mw_restart_decision decision = {.what = MW_RESTART_END};
    if (!job->signals.stop_asked)
        decision = mw_restart_step(
            restart, (struct mw_restart_ending){
                         .oom_killed = mw_cause_is_oom(cause) || (cause == MW_CAUSE_KILLED_OR_OOM && facts->has_group),
                         .failed = facts->wait_status != 0,
                         .ran_ns = facts->ran_ns,
                     });
    mw_text_duration(&delay_text, decision.delay_ns);
    switch (decision.what) {
    case MW_RESTART_END:
        say("%s", sentence);
        break;
    case MW_RESTART_GIVE_UP:
        say("%s; not started again: %u restarts within a minute of running are the limit", sentence, restart->limit);
        break;
    case MW_RESTART_AGAIN:
        say("%s; restart %u of at most %u in %s", sentence, restart->count, restart->limit, delay);
        break;
    }
    /* Not of a program that was asked to stop: that is no death to be explained. */
    bool is_told = mw_verdict(facts).oom_kills || (cause != MW_CAUSE_EXITED && !job->signals.stop_asked);
    if (is_told)
        mw_postmortem_tell(&job->postmortem, facts->pid, sentence);
    return decision;
}

/* Runs the program until it is not to be started again. Returns the exit status. */
static int supervise(struct job *job)
{
    struct mw_restart restart = {.policy = job->options->restart,
                                 .first_delay_ns = job->options->restart_delay_ns,
                                 .limit = job->options->start_limit};
    for (unsigned restarts = 0;; restarts++) {
        struct run run;
        struct mw_error error;
        enum mw_launch_failure failure;
        if (!begin_run(job, &run, restarts, &error)) {
            say("--limit-mode=%s cannot be had: %s", insisted_mode(job), error.text);
            return EXIT_OWN_FAILURE;
        }
        pid_t pid = start_program(job, &run, &failure, &error);
        if (pid < 0 && failure == MW_LAUNCH_NOT_ENTERED && !insisted_mode(job)) {
            say_no_group(job, &error);
            end_run(&run);
            share_group(&run);
            pid = start_program(job, &run, &failure, &error);
        }
        if (pid < 0) {
            end_run(&run);
            say("%s", error.text);
            return failure_status(failure);
        }
        struct mw_ending ending = mw_signals_wait(&job->signals, pid);
        struct mw_verdict_facts facts = gather_facts(job, &run, pid, ending);
        struct mw_restart_decision next = conclude(job, &restart, &facts);
        end_run(&run);
        mw_postmortem_sweep(&job->postmortem);
        if (next.what == MW_RESTART_AGAIN)
            mw_signals_sleep(&job->signals, next.delay_ns);
        if (next.what != MW_RESTART_AGAIN || job->signals.stop_asked)
            return mw_verdict_exit_status(ending.wait_status);
    }
}

int main(int argc, char **argv)
{
    struct mw_run_options options;
    struct mw_error error;
    struct job job;
    if (!mw_run_options_parse(&options, argc, argv, &error)) {
        say("%s", error.text);
        return EXIT_OWN_FAILURE;
    }
    if (options.action == MW_RUN_HELP) {
        mw_run_options_help();
        return 0;
    }
    if (options.action == MW_RUN_VERSION) {
        puts("memwatch-run " MEMWATCH_VERSION);
        return 0;
    }
    if (!prepare_job(&job, &options, &error)) {
        say("%s", error.text);
        return EXIT_OWN_FAILURE;
    }
    if (!mw_postmortem_prepare(&job.postmortem, options.keep, &error)) {
        say("%s", error.text);
        return EXIT_OWN_FAILURE;
    }
    mw_signals_start(&job.signals);
    job.postmortem.mask = job.signals.before;
    return supervise(&job);
}
