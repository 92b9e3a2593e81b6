/* SPDX-License-Identifier: MIT */
#include "monitor.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "counters.h"
#include "format.h"
#include "limiter.h"
#include "memory_limit.h"
#include "output.h"
#include "readings.h"
#include "syscall.h"
#include "trim.h"

#define STACK_BYTES     ((size_t)256 * 1024)
#define LONGEST_STEP_NS UINT64_C(1000000000) /* the limit is looked at this often, however seldom a line is printed */
#define CGROUP_STEPS    60                   /* how often to see whether the process was moved */

/* The monitor's own, but for what is read through the functions below. */
static struct {
    const struct mw_options *options;
    struct mw_output output;
    struct mw_probe probe;
    struct mw_limiter limiter;
    struct memwatch_stats stats;
    char comm[MW_COMM_BYTES];
    uint64_t drops;
    size_t stack_bytes; /* 0: not running */
    bool said_uncounted;
    bool said_unknown_allocator;
    char line[MW_JSON_LINE_BYTES];
} monitor;

static void write_line(const struct mw_text *line)
{
    if (line->truncated || !mw_output_write(&monitor.output, line->start, line->length))
        mw_counter_add_shared(&monitor.drops, 1);
}

static struct mw_identity identity(void)
{
    return (struct mw_identity){
        .pid = mw_sys_getpid(), .comm = monitor.comm, .time_unix_ns = mw_clock_ns(CLOCK_REALTIME)};
}

/* Prints by the chosen format: PRINT(, stats) calls mw_format_text or mw_format_json, PRINT(trim_, event) those of
 * the trim. */
#define PRINT(what, argument)                                                                                          \
    do {                                                                                                               \
        struct mw_text line = MW_TEXT(monitor.line);                                                                   \
        struct mw_identity who = identity();                                                                           \
        if (monitor.options->format == MW_FORMAT_JSON)                                                                 \
            mw_format_##what##json(&line, &who, argument);                                                             \
        else                                                                                                           \
            mw_format_##what##text(&line, &who, argument);                                                             \
        write_line(&line);                                                                                             \
    } while (0)

static void note_once(bool *said, const char *note)
{
    if (*said)
        return;
    *said = true;
    PRINT(note_, note);
}

static void keep_limit(uint64_t now_ns)
{
    struct mw_limiter_readings readings = mw_memory_limit_now(&monitor.stats);
    struct mw_trim_event event;
    if (mw_limiter_step(&monitor.limiter, readings, now_ns) != MW_LIMITER_TRIM)
        return;
    if (mw_trim(false, &event)) {
        note_once(&monitor.said_unknown_allocator,
                  "past the limit, but the allocator of this program is not known: it is only watched");
        return;
    }
    mw_limiter_trimmed(&monitor.limiter, readings, event.returned_bytes, mw_clock_ns(CLOCK_MONOTONIC));
    event.limit_bytes = readings.limit_bytes;
    PRINT(trim_, &event);
}

static void step(uint64_t now_ns, bool line_is_due)
{
    mw_readings_take(&monitor.probe, &monitor.stats, monitor.comm);
    if (monitor.stats.Mallocs == 0)
        note_once(&monitor.said_uncounted, "this program's allocations do not pass through memwatch (it has a malloc "
                                           "of its own): heap figures are 0, the kernel's go on");
    if (line_is_due)
        PRINT(, &monitor.stats);
    keep_limit(now_ns);
}

static void *run(void *unused)
{
    uint64_t interval_ns = monitor.options->interval_ns;
    uint64_t step_ns = interval_ns < LONGEST_STEP_NS ? interval_ns : LONGEST_STEP_NS;
    uint64_t next_step_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t next_line_ns = next_step_ns + interval_ns;
    (void)unused;
    mw_syscall6(SYS_prctl, PR_SET_NAME, (long)"memwatch", 0, 0, 0, 0);
    for (uint64_t steps = 1;; steps++) {
        next_step_ns += step_ns;
        while (mw_sys_sleep_until(next_step_ns) == -EINTR)
            ;
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        bool line_is_due = now_ns >= next_line_ns;
        if (steps % CGROUP_STEPS == 0)
            mw_probe_forget_cgroup(&monitor.probe);
        step(now_ns, line_is_due);
        /* After a stop or a long trim, go on from here: nobody wants the lines that were missed. */
        if (next_step_ns + step_ns < now_ns)
            next_step_ns = now_ns;
        if (line_is_due)
            next_line_ns = next_line_ns + interval_ns > now_ns ? next_line_ns + interval_ns : now_ns + interval_ns;
    }
    return NULL;
}

static int start_thread(size_t stack_bytes)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    if (stack_bytes)
        pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_attr_getstacksize(&attributes, &monitor.stack_bytes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attributes, run, NULL);
    pthread_attr_destroy(&attributes);
    if (error)
        monitor.stack_bytes = 0;
    return error;
}

/* With every signal blocked, which the new thread inherits. */
static int start(void)
{
    sigset_t all;
    sigset_t before;
    monitor.probe.held = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = start_thread(STACK_BYTES);
    if (error == EINVAL)
        error = start_thread(0); /* the program's static TLS does not fit into a small stack */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int mw_monitor_start(const struct mw_options *options)
{
    monitor.options = options;
    int output_error = mw_output_open(&monitor.output, options->output);
    int error = start();
    return error ? error : output_error;
}

void mw_monitor_start_in_child(void)
{
    if (!monitor.stack_bytes)
        return;
    mw_probe_drop(&monitor.probe);
    monitor.limiter = (struct mw_limiter){0};
    monitor.stack_bytes = 0;
    start();
}

unsigned mw_monitor_threads(void)
{
    return monitor.stack_bytes ? 1 : 0;
}

uint64_t mw_monitor_stack_bytes(void)
{
    return monitor.stack_bytes;
}

uint64_t mw_monitor_drops(void)
{
    return mw_counter_read(&monitor.drops);
}
