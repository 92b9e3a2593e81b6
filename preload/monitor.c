/* SPDX-License-Identifier: MIT */
#include "monitor.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "arenas.h"
#include "counters.h"
#include "format.h"
#include "hard_limit.h"
#include "headroom.h"
#include "keeper.h"
#include "memory_limit.h"
#include "output.h"
#include "ownthread.h"
#include "pressure_level.h"
#include "rawthread.h"
#include "readings.h"
#include "reclaimer.h"
#include "record.h"
#include "sampler.h"
#include "store.h"
#include "syscall.h"
#include "trim.h"

#define LONGEST_STEP_NS UINT64_C(1000000000) /* the limit is looked at this often, however seldom a line is printed */
#define BUSY_LOOK_NS    UINT64_C(2000000)    /* and no more often than this, however much is allocated */
#define CGROUP_STEPS    60                   /* how often to see whether the process was moved */

/* The monitor's own, but for what is read through the functions below. */
static struct {
    const struct mw_options *options;
    struct mw_output output;
    struct mw_probe probe;
    struct memwatch_stats stats;
    char comm[MW_COMM_BYTES];
    uint64_t drops;
    uint64_t seccomp_at_start;
    bool is_running;
    bool is_raw; /* a thread that libc does not know of */
    struct mw_raw_thread raw;
    struct mw_own_thread own; /* or one that it does */
    bool stopping;
    bool was_reclaimer_there; /* before a pause */
    uint64_t interval_ns;
    uint64_t looked_ns;
    int store_error; /* why there is no file for the segment, or 0 */
    uint32_t seen;   /* of the segment's control word */
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

/* What the monitor sleeps on: it changes with all that there is for it. */
static uint32_t *asked_word(void)
{
    return &mw_store.control->asked;
}

/* To the agent, who waits for it. pause_ns: of a trim. */
static void answer(int64_t result, uint64_t pause_ns)
{
    mw_store.control->result = result;
    mw_store.control->pause_ns = pause_ns;
    __atomic_store_n(&mw_store.control->answered, monitor.seen, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)&mw_store.control->answered, FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

/* ---- what the keeper has to tell ---- */

static void print_trim(const struct mw_trim_event *event)
{
    PRINT(trim_, event);
}

static void say_unknown_allocator(void)
{
    note_once(&monitor.said_unknown_allocator,
              "memory could be asked back, but the allocator of this program is not known: it is only watched");
}

static void start_keeper(void)
{
    static struct mw_keeper_hooks hooks = {.probe = &monitor.probe,
                                           .stats = &monitor.stats,
                                           .print = print_trim,
                                           .answer = answer,
                                           .cannot = say_unknown_allocator};
    hooks.may_trim = !monitor.is_raw;
    mw_keeper_start(&hooks);
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
    if (what & MW_SEGMENT_ASK_PERCENT) {
        int64_t percent = control->trim_percent;
        mw_memory_limit_set_percent(percent > MW_LARGEST_PERCENT ? MW_LARGEST_PERCENT
                                                                 : (int)(percent < 0 ? -1 : percent));
    }
}

/* Looks whether something new is asked. What asks for a trim is answered when that is done, or nobody came to do it. */
static void look_at_control(uint64_t now_ns)
{
    uint32_t asked = __atomic_load_n(asked_word(), __ATOMIC_ACQUIRE);
    mw_keeper_see_time(now_ns);
    if (asked == monitor.seen || mw_keeper_owes_answer())
        return;
    monitor.seen = asked;
    uint32_t what = __atomic_exchange_n(&mw_store.control->what, 0, __ATOMIC_ACQ_REL);
    if (!what) { /* the library's own call: what was answered last may not have been read yet */
        __atomic_store_n(&mw_store.control->answered, asked, __ATOMIC_RELEASE);
        return;
    }
    obey(what);
    if (!(what & MW_SEGMENT_ASK_TRIM)) {
        answer(0, 0);
        return;
    }
    mw_readings_take(&monitor.probe, &monitor.stats); /* what it has now, not at the last step */
    int error = mw_keeper_ask(now_ns);
    if (error)
        answer(error, 0);
}

/* Has the program put a filter on our system calls, which may kill it for one of them? */
static bool is_sandboxed(void)
{
    return monitor.probe.seccomp != monitor.seccomp_at_start;
}

/* Reads. False: it is better to end. */
static bool look(void)
{
    mw_readings_take(&monitor.probe, &monitor.stats);
    return !is_sandboxed() && !mw_readings_is_over(&monitor.probe, &monitor.stats);
}

static void record_and_print(uint64_t now_ns, bool line_is_due)
{
    if (monitor.stats.Mallocs == 0)
        note_once(&monitor.said_uncounted, "this program's allocations do not pass through memwatch (it has a malloc "
                                           "of its own): heap figures are 0, the kernel's go on");
    if (monitor.store_error)
        note_once(&monitor.said_no_segment, "no file for the segment could be had: from outside, and after a kill, "
                                            "nothing is seen of this process (MEMWATCH_DIR)");
    mw_record_tick(&monitor.stats, now_ns);
    if (line_is_due)
        PRINT(, &monitor.stats);
}

/* True: an allocation has just failed for it. */
static bool say_hard_limit(void)
{
    const char *news = mw_hard_limit_news();
    if (!news)
        return false;
    PRINT(note_, news);
    mw_hard_limit_has_said();
    return true;
}

/* Is there something that it has not seen yet? */
static bool has_mail(void)
{
    return (!mw_keeper_owes_answer() && __atomic_load_n(asked_word(), __ATOMIC_ACQUIRE) != monitor.seen) ||
           mw_keeper_has_mail() || mw_hard_limit_has_news();
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When so much has been allocated since the last look that the time of the next does not matter. */
static uint64_t next_urgent_look_ns(void)
{
    return mw_headroom_is_spent() ? monitor.looked_ns + BUSY_LOOK_NS : UINT64_MAX;
}

/* Sleeps until then, or until somebody has something for it. False: the monitor is to stop. */
static bool sleep_until(uint64_t monotonic_ns)
{
    long result = 0;
    while (!__atomic_load_n(&monitor.stopping, __ATOMIC_ACQUIRE) && result != -ETIMEDOUT) {
        uint32_t word = __atomic_load_n(asked_word(), __ATOMIC_ACQUIRE);
        if (has_mail())
            break;
        uint64_t until_ns = sooner(monotonic_ns, next_urgent_look_ns());
        struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000)};
        result = mw_syscall6(SYS_futex, (long)asked_word(), FUTEX_WAIT_BITSET, word, (long)&until, 0,
                             FUTEX_BITSET_MATCH_ANY);
    }
    return !__atomic_load_n(&monitor.stopping, __ATOMIC_ACQUIRE);
}

static uint64_t step_of(uint64_t interval_ns)
{
    return interval_ns < LONGEST_STEP_NS ? interval_ns : LONGEST_STEP_NS;
}

/* The monitor's life, until it is told to stop. It looks when a step is due, and in between when the limiter wants to
 * know. */
static void watch(void)
{
    uint64_t interval_ns = monitor.interval_ns;
    uint64_t step_ns = step_of(interval_ns);
    uint64_t start_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t next_step_ns = start_ns + step_ns;
    uint64_t next_line_ns = start_ns + interval_ns;
    uint64_t next_look_ns = start_ns;
    uint64_t steps = 0;
    mw_syscall6(SYS_prctl, PR_SET_NAME, (long)"memwatch", 0, 0, 0, 0);
    while (sleep_until(sooner(next_step_ns, next_look_ns))) {
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        if (mw_keeper_fetch() || say_hard_limit())
            next_look_ns = now_ns;
        look_at_control(now_ns);
        if (interval_ns != monitor.interval_ns) {
            interval_ns = monitor.interval_ns;
            step_ns = step_of(interval_ns);
            next_line_ns = now_ns + interval_ns;
            next_step_ns = now_ns + step_ns;
        }
        if (now_ns < sooner(next_step_ns, sooner(next_look_ns, next_urgent_look_ns())))
            continue;
        monitor.looked_ns = now_ns;
        if (!look())
            break;
        if (now_ns >= next_step_ns) {
            bool line_is_due = now_ns >= next_line_ns;
            if (++steps % CGROUP_STEPS == 0) {
                mw_probe_forget_cgroup(&monitor.probe);
                mw_keeper_listen();
            }
            record_and_print(now_ns, line_is_due);
            /* After a stop or a long trim, go on from here: nobody wants the lines that were missed. */
            next_step_ns = next_step_ns + 2 * step_ns < now_ns ? now_ns + step_ns : next_step_ns + step_ns;
            if (line_is_due)
                next_line_ns = next_line_ns + interval_ns > now_ns ? next_line_ns + interval_ns : now_ns + interval_ns;
        }
        next_look_ns = mw_keeper_look(now_ns);
    }
    if (__atomic_load_n(&monitor.stopping, __ATOMIC_ACQUIRE))
        mw_keeper_stop_listening(); /* in a sandbox one call more may be one too many */
    mw_reclaimer_stop();            /* nobody will ask it any more, and it would keep the process alive */
}

static void *run_pthread(void *unused)
{
    (void)unused;
    mw_keeper_listen();
    watch();
    return NULL;
}

static void run_raw(void)
{
    /* Where the lines go to one of the program's descriptors, its table has to be shared. */
    if (monitor.options->output.kind != MW_OUTPUT_FD)
        mw_raw_thread_own_descriptors((unsigned)monitor.output.file.fd);
    mw_keeper_listen(); /* some of its files are root's alone */
    if (mw_raw_thread_shed_privilege())
        watch();
    else
        PRINT(note_, "no lines: the monitor could not give up its privilege (MEMWATCH_MONITOR=thread needs not)");
    mw_arenas_settle(0); /* if it has not come to a look */
    mw_raw_thread_exit();
}

static int start(void)
{
    monitor.probe.held = true;
    monitor.stopping = false;
    monitor.seen = mw_store.control->answered;
    if (monitor.is_raw)
        return mw_raw_thread_start(&monitor.raw, run_raw);
    int error = mw_own_thread_start(&monitor.own, run_pthread);
    if (!error)
        pthread_detach(monitor.own.thread);
    return error;
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
    start_keeper();
    int error = start();
    monitor.is_running = !error;
    if (!error)
        mw_reclaimer_allow(monitor.is_raw);
    return error ? error : output_error;
}

void mw_monitor_start_in_child(void)
{
    if (!monitor.is_running)
        return;
    mw_probe_drop(&monitor.probe);
    mw_trim_after_fork();
    mw_reclaimer_after_fork();
    mw_pressure_level_after_fork();
    start_keeper();
    monitor.is_running = start() == 0;
    if (monitor.is_running && mw_pressure_level_has_callbacks())
        mw_reclaimer_demand();
}

void mw_monitor_wake(void)
{
    __atomic_fetch_add(asked_word(), 1, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)asked_word(), FUTEX_WAKE, INT_MAX, 0, 0, 0);
}

bool mw_monitor_pause(void)
{
    if (!monitor.is_running || !monitor.is_raw)
        return false;
    monitor.is_running = false;
    __atomic_store_n(&monitor.stopping, true, __ATOMIC_RELEASE);
    mw_monitor_wake();
    mw_raw_thread_wait(&monitor.raw);
    monitor.was_reclaimer_there = mw_reclaimer_pause();
    return true;
}

void mw_monitor_resume(bool paused)
{
    if (!paused)
        return;
    monitor.is_running = start() == 0;
    if (monitor.was_reclaimer_there)
        mw_reclaimer_demand();
}

void mw_monitor_tell(const struct mw_trim_event *event)
{
    if (!monitor.is_running)
        return;
    mw_keeper_tell(event);
    mw_monitor_wake();
}

bool mw_monitor_is_there(void)
{
    return monitor.is_running;
}

bool mw_monitor_asks(void)
{
    return monitor.is_running && monitor.is_raw;
}

unsigned mw_monitor_threads(void)
{
    return (monitor.is_running ? 1U : 0U) + (mw_reclaimer_is_there() ? 1U : 0U);
}

uint64_t mw_monitor_stack_bytes(void)
{
    return monitor.is_raw ? mw_raw_thread_bytes() : monitor.own.stack_bytes;
}

uint64_t mw_monitor_drops(void)
{
    return mw_counter_read(&monitor.drops);
}
