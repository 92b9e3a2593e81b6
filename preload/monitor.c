/* SPDX-License-Identifier: MIT */
#include "monitor.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "counters.h"
#include "format.h"
#include "limiter.h"
#include "memory_limit.h"
#include "output.h"
#include "rawthread.h"
#include "readings.h"
#include "record.h"
#include "sampler.h"
#include "store.h"
#include "syscall.h"
#include "trim.h"

#define STACK_BYTES     ((size_t)256 * 1024)
#define LONGEST_STEP_NS UINT64_C(1000000000) /* the limit is looked at this often, however seldom a line is printed */
#define LOOK_OFTEN_NS   UINT64_C(1000000000) /* for so long after a trim was asked for … */
#define LOOK_STEP_NS    UINT64_C(10000000)   /* … it is looked for this often */
#define GIVE_UP_TRIM_NS UINT64_C(2000000000) /* nobody has come by to do a trim that the agent waits for */
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
    uint64_t seccomp_at_start;
    size_t stack_bytes;
    bool is_running;
    bool is_raw; /* a thread that libc does not know of */
    struct mw_raw_thread raw;
    bool stopping;
    uint64_t interval_ns;
    int store_error; /* why there is no file for the segment, or 0 */
    uint32_t seen;   /* of the segment's control word */
    struct mw_trim_asked {
        bool pending;
        bool is_controls; /* the agent has asked, not the limit */
        uint64_t since_ns;
        uint64_t rss_before_bytes;
        enum mw_limiter_reason reason;
        struct mw_limiter_readings readings;
    } request;
    bool said_uncounted;
    bool said_unknown_allocator;
    bool said_no_segment;
    char line[MW_JSON_LINE_BYTES];
} monitor;

static void write_line(const struct mw_text *line)
{
    if (line->truncated || !mw_output_write(&monitor.output, line->start, line->length))
        mw_counter_add_shared(&monitor.drops, 1);
}

static struct mw_identity identity(void)
{
    mw_readings_comm(&monitor.probe, monitor.comm);
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

/* To the agent, who waits for it. */
static void answer(int64_t result)
{
    mw_store.control->result = result;
    __atomic_store_n(&mw_store.control->answered, monitor.seen, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)&mw_store.control->answered, FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

/* Tells of a trim; one for the limit is the limiter's to learn from. */
static void trimmed(const struct mw_trim_asked *asked, struct mw_trim_event event)
{
    if (!asked->is_controls) {
        struct mw_limiter_readings after = asked->readings;
        uint64_t returned = event.returned_bytes;
        after.resident_bytes -= returned < after.resident_bytes ? returned : after.resident_bytes;
        after.usage_bytes -= returned < after.usage_bytes ? returned : after.usage_bytes;
        mw_limiter_trimmed(&monitor.limiter, asked->reason, &asked->readings, &after, event.pause_ns,
                           mw_clock_ns(CLOCK_MONOTONIC));
        event.limit_bytes = asked->readings.limit_bytes;
    }
    const uint64_t values[] = {event.limit_bytes, event.rss_before_bytes, event.rss_after_bytes, event.returned_bytes,
                               event.pause_ns};
    mw_record_event(MW_SEGMENT_TRIM, 0, values, sizeof values / sizeof values[0]);
    PRINT(trim_, &event);
    if (asked->is_controls) {
        mw_store.control->pause_ns = event.pause_ns;
        answer((int64_t)event.returned_bytes);
    }
}

/* Trims, or, where the monitor may not do so itself, asks for it and looks again soon. */
static int ask_for_trim(struct mw_trim_asked asked)
{
    struct mw_trim_event event;
    int error = monitor.is_raw ? mw_trim_request() : mw_trim(asked.is_controls, &event);
    if (error)
        return error;
    asked.rss_before_bytes = monitor.stats.RSS;
    asked.pending = monitor.is_raw;
    monitor.request = asked;
    if (!monitor.is_raw)
        trimmed(&asked, event);
    return 0;
}

static void keep_limit(uint64_t now_ns)
{
    struct mw_limiter_readings readings = mw_memory_limit_now(&monitor.stats);
    if (monitor.request.pending)
        return;
    enum mw_limiter_reason reason = mw_limiter_step(&monitor.limiter, &readings, now_ns).reason;
    if (reason == MW_LIMITER_NONE)
        return;
    if (ask_for_trim((struct mw_trim_asked){.since_ns = now_ns, .reason = reason, .readings = readings}))
        note_once(&monitor.said_unknown_allocator,
                  "past the limit, but the allocator of this program is not known: it is only watched");
}

/* Looks whether the program has served the request. */
static void fetch_trim(void)
{
    uint64_t pause_ns;
    if (!monitor.request.pending || !mw_trim_fetch(&pause_ns))
        return;
    mw_readings_take(&monitor.probe, &monitor.stats);
    uint64_t before = monitor.request.rss_before_bytes;
    uint64_t after = monitor.stats.RSS;
    struct mw_trim_event event = {.rss_before_bytes = before,
                                  .rss_after_bytes = after,
                                  .returned_bytes = before > after ? before - after : 0,
                                  .pause_ns = pause_ns};
    monitor.request.pending = false;
    mw_trim_account_served(monitor.request.is_controls, event.returned_bytes);
    trimmed(&monitor.request, event);
}

/* ---- what the agent asks for ---- */

static void obey(uint32_t what)
{
    const struct mw_segment_control *control = mw_store.control;
    if (what & MW_SEGMENT_ASK_INTERVAL && control->interval_ns >= MW_SHORTEST_INTERVAL_NS) {
        monitor.interval_ns = control->interval_ns;
        mw_record_event(MW_SEGMENT_SET_INTERVAL, 0, &control->interval_ns, 1);
    }
    if (what & MW_SEGMENT_ASK_SAMPLE && control->sample_mean_bytes != 1 && mw_sampler_mean() != 1) {
        mw_sampler_set_mean(control->sample_mean_bytes);
        mw_store.header->sample_mean_bytes = control->sample_mean_bytes;
        mw_record_event(MW_SEGMENT_SET_SAMPLE, 0, &control->sample_mean_bytes, 1);
    }
    if (what & MW_SEGMENT_ASK_LIMIT && control->limit_bytes >= 0) {
        uint64_t limit_bytes = (uint64_t)control->limit_bytes;
        mw_memory_limit_set(control->limit_bytes);
        mw_record_event(MW_SEGMENT_SET_LIMIT, 0, &limit_bytes, 1);
    }
}

/* Looks whether something new is asked. What asks for a trim is answered when that is done, or nobody came to do it. */
static void look_at_control(uint64_t now_ns)
{
    uint32_t asked = __atomic_load_n(&mw_store.control->asked, __ATOMIC_ACQUIRE);
    if (monitor.request.pending && monitor.request.is_controls && now_ns - monitor.request.since_ns > GIVE_UP_TRIM_NS) {
        monitor.request.pending = false;
        answer(-EAGAIN);
    }
    if (asked == monitor.seen || monitor.request.pending)
        return;
    monitor.seen = asked;
    uint32_t what = __atomic_exchange_n(&mw_store.control->what, 0, __ATOMIC_ACQ_REL);
    obey(what);
    int error = 0;
    if (what & MW_SEGMENT_ASK_TRIM) {
        mw_readings_take(&monitor.probe, &monitor.stats); /* what it has now, not at the last step */
        error = ask_for_trim((struct mw_trim_asked){.since_ns = now_ns, .is_controls = true});
        if (!error)
            return;
    }
    answer(error);
}

/* Has the program put a filter on our system calls, which may kill it for one of them? */
static bool is_sandboxed(void)
{
    return monitor.probe.seccomp != monitor.seccomp_at_start;
}

/* Reads, prints, keeps the limit. False: it is better to end. */
static bool step(uint64_t now_ns, bool line_is_due)
{
    mw_readings_take(&monitor.probe, &monitor.stats);
    if (is_sandboxed() || mw_readings_is_over(&monitor.probe, &monitor.stats))
        return false;
    if (monitor.stats.Mallocs == 0)
        note_once(&monitor.said_uncounted, "this program's allocations do not pass through memwatch (it has a malloc "
                                           "of its own): heap figures are 0, the kernel's go on");
    if (monitor.store_error)
        note_once(&monitor.said_no_segment, "no file for the segment could be had: from outside, and after a kill, "
                                            "nothing is seen of this process (MEMWATCH_DIR)");
    mw_record_tick(&monitor.stats, now_ns);
    if (line_is_due)
        PRINT(, &monitor.stats);
    keep_limit(now_ns);
    return true;
}

/* Sleeps until then, or until the agent asks for something. False: the monitor is to stop. */
static bool sleep_until(uint64_t monotonic_ns)
{
    struct timespec until = {.tv_sec = (time_t)(monotonic_ns / 1000000000),
                             .tv_nsec = (long)(monotonic_ns % 1000000000)};
    const uint32_t *asked = &mw_store.control->asked;
    long result = 0;
    while (!__atomic_load_n(&monitor.stopping, __ATOMIC_ACQUIRE) && result != -ETIMEDOUT &&
           (__atomic_load_n(asked, __ATOMIC_ACQUIRE) == monitor.seen || monitor.request.pending))
        result = mw_syscall6(SYS_futex, (long)asked, FUTEX_WAIT_BITSET, __atomic_load_n(asked, __ATOMIC_ACQUIRE),
                             (long)&until, 0, FUTEX_BITSET_MATCH_ANY);
    return !__atomic_load_n(&monitor.stopping, __ATOMIC_ACQUIRE);
}

/* When the monitor is to look again: at its next step, or sooner while a trim is under way. */
static uint64_t next_look_ns(uint64_t next_step_ns)
{
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    bool is_soon = monitor.request.pending && now_ns - monitor.request.since_ns < LOOK_OFTEN_NS;
    return is_soon && now_ns + LOOK_STEP_NS < next_step_ns ? now_ns + LOOK_STEP_NS : next_step_ns;
}

static uint64_t step_of(uint64_t interval_ns)
{
    return interval_ns < LONGEST_STEP_NS ? interval_ns : LONGEST_STEP_NS;
}

/* The monitor's life, until it is told to stop. */
static void watch(void)
{
    uint64_t interval_ns = monitor.interval_ns;
    uint64_t step_ns = step_of(interval_ns);
    uint64_t start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t next_step_ns = start_ns + step_ns;
    uint64_t next_line_ns = start_ns + interval_ns;
    uint64_t steps = 0;
    mw_syscall6(SYS_prctl, PR_SET_NAME, (long)"memwatch", 0, 0, 0, 0);
    while (sleep_until(next_look_ns(next_step_ns))) {
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        fetch_trim();
        look_at_control(now_ns);
        if (interval_ns != monitor.interval_ns) {
            interval_ns = monitor.interval_ns;
            step_ns = step_of(interval_ns);
            next_line_ns = now_ns + interval_ns;
            next_step_ns = now_ns + step_ns;
        }
        if (now_ns < next_step_ns)
            continue;
        bool line_is_due = now_ns >= next_line_ns;
        if (++steps % CGROUP_STEPS == 0)
            mw_probe_forget_cgroup(&monitor.probe);
        if (!step(now_ns, line_is_due))
            break;
        /* After a stop or a long trim, go on from here: nobody wants the lines that were missed. */
        next_step_ns = next_step_ns + 2 * step_ns < now_ns ? now_ns + step_ns : next_step_ns + step_ns;
        if (line_is_due)
            next_line_ns = next_line_ns + interval_ns > now_ns ? next_line_ns + interval_ns : now_ns + interval_ns;
    }
}

static void *run_pthread(void *unused)
{
    (void)unused;
    watch();
    return NULL;
}

static void run_raw(void)
{
    /* Where the lines go to one of the program's descriptors, its table has to be shared. */
    if (monitor.options->output.kind != MW_OUTPUT_FD)
        mw_raw_thread_own_descriptors((unsigned)monitor.output.file.fd);
    if (mw_raw_thread_shed_privilege())
        watch();
    else
        PRINT(note_, "no lines: the monitor could not give up its privilege (MEMWATCH_MONITOR=thread needs not)");
    mw_raw_thread_exit();
}

static int start_pthread(size_t stack_bytes)
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
    error = pthread_create(&thread, &attributes, run_pthread, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

/* With every signal blocked, which the new thread inherits. */
static int start_blocked(void)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = start_pthread(STACK_BYTES);
    if (error == EINVAL)
        error = start_pthread(0); /* the program's static TLS does not fit into a small stack */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

static int start(void)
{
    monitor.probe.held = true;
    monitor.stopping = false;
    monitor.seen = mw_store.control->answered;
    if (monitor.is_raw)
        return mw_raw_thread_start(&monitor.raw, run_raw);
    return start_blocked();
}

int mw_monitor_start(const struct mw_options *options, int store_error)
{
    monitor.options = options;
    monitor.interval_ns = options->interval_ns;
    monitor.store_error = store_error;
    int output_error = mw_output_open(&monitor.output, options->output);
    if (options->monitor == MW_MONITOR_OFF)
        return output_error;
    monitor.seccomp_at_start = mw_readings_seccomp();
    monitor.is_raw = options->monitor == MW_MONITOR_AUTO && mw_raw_thread_is_possible();
    int error = start();
    monitor.is_running = !error;
    return error ? error : output_error;
}

void mw_monitor_start_in_child(void)
{
    if (!monitor.is_running)
        return;
    mw_probe_drop(&monitor.probe);
    mw_trim_after_fork();
    monitor.limiter = (struct mw_limiter){0};
    monitor.request.pending = false;
    monitor.is_running = start() == 0;
}

bool mw_monitor_pause(void)
{
    if (!monitor.is_running || !monitor.is_raw)
        return false;
    monitor.is_running = false;
    __atomic_store_n(&monitor.stopping, true, __ATOMIC_RELEASE);
    __atomic_fetch_add(&mw_store.control->asked, 1, __ATOMIC_RELEASE); /* nothing, but it does not sleep then */
    mw_syscall6(SYS_futex, (long)&mw_store.control->asked, FUTEX_WAKE, INT_MAX, 0, 0, 0);
    mw_raw_thread_wait(&monitor.raw);
    return true;
}

void mw_monitor_resume(bool paused)
{
    if (paused)
        monitor.is_running = start() == 0;
}

unsigned mw_monitor_threads(void)
{
    return monitor.is_running ? 1 : 0;
}

uint64_t mw_monitor_stack_bytes(void)
{
    return monitor.is_raw ? mw_raw_thread_bytes() : monitor.stack_bytes;
}

uint64_t mw_monitor_drops(void)
{
    return mw_counter_read(&monitor.drops);
}
