/* SPDX-License-Identifier: MIT */
#include "warner.h"

#include <signal.h>

#include "log.h"
#include "syscall.h"

static void tell(const struct mw_warner *warner, const struct mw_warning_step *step,
                 const struct mw_warning_reading *reading)
{
    char line[8192];
    struct mw_text text = MW_TEXT(line);
    if (warner->options->report == MW_REPORT_JSON) {
        mw_warning_json(&text, step, reading, warner->program, (int)warner->pid);
        if (!text.truncated)
            mw_log_line(line);
    } else {
        mw_warning_text(&text, step, reading, warner->program, (int)warner->pid);
        mw_warn("%s", line);
    }
}

/* The kernel takes some 10 ms for each mark: a program that ends within its first second is not to wait for that. */
static void ask_for_marks(struct mw_warner *warner)
{
    struct mw_warning *warning = &warner->warning;
    warning->is_told = mw_group_watch_marks(&warner->watch, warning->at_bytes, warning->again_bytes);
    warner->ask_ns = MW_WARNING_NEVER;
}

void mw_warner_look(struct mw_warner *warner)
{
    struct mw_warning_reading reading;
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    if (now_ns >= warner->ask_ns)
        ask_for_marks(warner);
    warner->look_ns = MW_WARNING_NEVER;
    if (!mw_group_watch_read(&warner->watch, &reading))
        return;
    struct mw_warning_step step = mw_warning_step(&warner->warning, &reading, now_ns);
    warner->look_ns = step.look_ns;
    if (step.reason == MW_WARNING_NONE)
        return;
    tell(warner, &step, &reading);
    if (step.reason == MW_WARNING_LIMIT && warner->options->warn_signal)
        kill(warner->pid, warner->options->warn_signal);
}

void mw_warner_start(struct mw_warner *warner, const struct mw_run_options *options, const char *program, pid_t pid,
                     const struct mw_cgroup *cgroup, uint64_t limit_bytes)
{
    struct mw_warning_reading reading;
    mw_warner_stop(warner);
    warner->options = options;
    warner->program = program;
    warner->pid = pid;
    if (options->warn.kind == MW_AMOUNT_NONE)
        return;
    mw_group_watch_open(&warner->watch, cgroup, pid, limit_bytes);
    uint64_t at_bytes = 0;
    if (mw_group_watch_read(&warner->watch, &reading) && reading.limit_bytes)
        at_bytes = mw_amount_bytes(options->warn, reading.limit_bytes);
    if (!at_bytes) { /* there is no limit to be near to */
        mw_warner_stop(warner);
        return;
    }
    mw_warning_begin(&warner->warning, at_bytes, reading.limit_bytes);
    warner->ask_ns = mw_clock_ns(CLOCK_MONOTONIC) + MW_WARNING_USUAL_NS;
    mw_warner_look(warner);
}

void mw_warner_stop(struct mw_warner *warner)
{
    mw_group_watch_close(&warner->watch);
    *warner = (struct mw_warner){.watch = warner->watch, .ask_ns = MW_WARNING_NEVER, .look_ns = MW_WARNING_NEVER};
}
