/* SPDX-License-Identifier: MIT */
#include "attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "adopt.h"
#include "log.h"
#include "outcome.h"
#include "place.h"
#include "postmortem.h"
#include "process.h"
#include "segments.h"
#include "syscall.h"
#include "warner.h"

#define REMOVAL_NS (2 * UINT64_C(1000000000)) /* what has been moved or killed may take a moment to leave */

enum { EXIT_OWN_FAILURE = 125, EXIT_OOM_KILLED = 128 + SIGKILL };

struct attached {
    const struct mw_run_options *options;
    struct mw_process process;
    struct mw_placing placing;
    struct mw_place place;
    struct mw_adoption adoption;
    struct mw_group_counter counter;
    struct mw_group_counts before;
    struct mw_postmortem postmortem;
    int signal_fd;
    struct mw_warner warner;
};

/* ---- the begin ---- */

/* Those by which people ask a program to stop, but for such as nohup(1) has it ignore. They are taken from a
 * descriptor: there is no handler. */
static int block_signals(sigset_t *before)
{
    static const int asking_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    struct sigaction action;
    sigset_t asking;
    sigemptyset(&asking);
    for (size_t i = 0; i < sizeof asking_signals / sizeof asking_signals[0]; i++)
        if (sigaction(asking_signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&asking, asking_signals[i]);
    sigprocmask(SIG_BLOCK, &asking, before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* where it is ignored, nothing tells how the post-mortem has ended */
    return signalfd(-1, &asking, SFD_CLOEXEC);
}

/* Counts from before the process is there: all that is counted is of it. */
static bool move_in(struct attached *attached, struct mw_error *error)
{
    mw_group_counter_close(&attached->counter);
    mw_group_counter_open(&attached->counter, "", &attached->place.group.cgroup);
    mw_group_counter_read(&attached->counter, &attached->before);
    attached->adoption = (struct mw_adoption){.process = &attached->process,
                                              .group = &attached->place.group,
                                              .may_ask_systemd = attached->placing.is_in_scope};
    return mw_adopt(&attached->adoption, error);
}

static bool is_not_permitted(const struct mw_error *error)
{
    return error->errno_value == EACCES || error->errno_value == EPERM;
}

static void remove_group(struct attached *attached)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    uint64_t give_up_ns = mw_clock_ns(CLOCK_MONOTONIC) + REMOVAL_NS;
    struct mw_error error;
    mw_group_counter_close(&attached->counter);
    while (!mw_group_remove(&attached->place.group, &error)) {
        if (mw_clock_ns(CLOCK_MONOTONIC) > give_up_ns) {
            mw_warn("%s", error.text);
            return;
        }
        nanosleep(&moment, NULL);
    }
}

/* A group that can be made but that the process cannot be moved to is no reason to do without systemd's. */
static bool find_place(struct attached *attached, struct mw_error *error)
{
    if (!mw_place_make(&attached->placing, &attached->place, error))
        return false;
    if (move_in(attached, error))
        return true;
    struct mw_error why = *error;
    if (is_not_permitted(&why)) {
        if (!mw_place_make_other(&attached->placing, &attached->place, &why, error))
            return false;
        if (move_in(attached, error))
            return true;
    }
    remove_group(attached);
    return false;
}

/* Where no group can be had, there is what the library can do, if it is there. */
static void fail_to_place(const struct attached *attached, const struct mw_error *error)
{
    struct mw_segments_places places = mw_segments_places();
    struct mw_error ignored;
    char path[MW_SEGMENTS_PATH_BYTES];
    int pid = attached->process.pid;
    int fd = mw_segments_open_process(&places, pid, path, &ignored);
    if (fd >= 0)
        mw_warn("%s; it is watched: `memwatch set %d limit=SIZE` has it give back memory beyond that size", error->text,
                pid);
    else
        mw_warn("%s; nor is it watched, so that it could be asked to give memory back", error->text);
    if (fd >= 0)
        close(fd);
}

/* ---- what is said ---- */

static void put_who(struct mw_text *out, const struct attached *attached)
{
    unsigned others = attached->adoption.moved_count - 1;
    mw_text_string(out, attached->process.name);
    mw_text_string(out, " (pid ");
    mw_text_u64(out, (uint64_t)attached->process.pid);
    mw_text_char(out, ')');
    if (!others)
        return;
    mw_text_string(out, " and ");
    mw_text_u64(out, others);
    mw_text_string(out, others > 1 ? " descendants" : " descendant");
}

/* What is held already, and how the limit is to be understood therefore. */
static void put_charges(struct mw_text *out, const struct attached *attached)
{
    const struct mw_adoption *adoption = &attached->adoption;
    uint64_t limit_bytes = attached->place.in_force.limit_bytes;
    struct mw_cgroup_reading reading = {0};
    struct mw_error ignored;
    bool counts = adoption->moves_charges && mw_group_read(&attached->place.group, &reading, &ignored);
    mw_text_string(out, counts ? "; of the " : "; the ");
    mw_text_size(out, adoption->held_bytes);
    mw_text_string(out, adoption->moved_count == 1 ? " that it holds now (RSS) "
                                                   : " that they hold now (RSS, all together) ");
    if (counts)
        mw_text_size(out, reading.usage_bytes);
    mw_text_string(out, counts ? " count here, the rest in " : "stay charged to ");
    mw_text_string(out, adoption->from.dir);
    if (counts)
        return;
    mw_text_string(out, " and do not count");
    if (!limit_bytes)
        return;
    mw_text_string(out, ": the limit is met at about ");
    mw_text_size(out, adoption->held_bytes + limit_bytes);
    mw_text_string(out, " in all");
}

static void say_begin(const struct attached *attached)
{
    char sentence[3 * MW_CGROUP_PATH_BYTES];
    char where[MW_CGROUP_PATH_BYTES + 256];
    struct mw_text text = MW_TEXT(sentence);
    struct mw_text where_text = MW_TEXT(where);
    unsigned left = attached->adoption.left_count;
    put_who(&text, attached);
    mw_text_string(&text, ": ");
    mw_place_text(&where_text, &attached->place);
    mw_text_string(&text, where);
    put_charges(&text, attached);
    if (left) {
        mw_text_string(&text, "; ");
        mw_text_u64(&text, left);
        mw_text_string(&text, left > 1 ? " more descendants are in other groups and stay there"
                                       : " more descendant is in another group and stays there");
    }
    mw_say("%s", sentence);
    mw_place_warn_of_less(&attached->placing, &attached->place);
}

/* ---- the end ---- */

/* Back to where they were, with what they have started. Where that cannot be, they stay, without a limit. */
static void let_go(struct attached *attached, const char *occasion)
{
    const struct mw_group *group = &attached->place.group;
    const char *from = attached->adoption.from.dir;
    struct mw_group scope = *group;
    struct mw_error error;
    unsigned count = mw_group_signal(group, 0);
    unsigned refused = mw_adopt_release(&attached->adoption);
    const char *who = count == 1 ? "process is" : "processes are";
    if (!refused) {
        remove_group(attached);
        if (count)
            mw_say("%s: %u %s back in %s, without the limit", occasion, count, who, from);
        return;
    }
    mw_group_counter_close(&attached->counter);
    if (attached->placing.is_in_scope && mw_cgroup_climb(&scope.cgroup))
        mw_group_limits_lift(&scope, &error);
    if (mw_group_limits_lift(group, &error))
        mw_say("%s: %u %s left in %s, which has no limit any more (the way back to %s is barred)", occasion, refused,
               refused == 1 ? "process is" : "processes are", group->cgroup.dir, from);
    else
        mw_warn("%s: %u %s left in %s, and the limit holds on: %s", occasion, refused,
                refused == 1 ? "process is" : "processes are", group->cgroup.dir, error.text);
}

static struct mw_verdict_facts gather_facts(struct attached *attached)
{
    struct mw_verdict_facts facts = {
        .program = attached->process.name,
        .pid = attached->process.pid,
        .ran_ns = mw_process_age_ns(&attached->process),
    };
    facts.has_no_status = !mw_process_wait_status(&attached->process, &facts.wait_status);
    mw_outcome_read(&facts, &attached->counter, &attached->before, &attached->place.group.cgroup);
    return facts;
}

static void tell(const struct attached *attached, const struct mw_verdict_facts *facts)
{
    char sentence[4096];
    struct mw_text text = MW_TEXT(sentence);
    struct mw_verdict verdict = mw_verdict(facts);
    bool is_well = verdict.cause == MW_CAUSE_EXITED && facts->wait_status == 0;
    bool by_itself = verdict.cause == MW_CAUSE_EXITED || verdict.cause == MW_CAUSE_ENDED;
    mw_verdict_text(&text, facts);
    if (verdict.oom_kills && !attached->adoption.moves_charges) {
        mw_text_string(&text, "; besides, ");
        mw_text_size(&text, attached->adoption.held_bytes);
        mw_text_string(&text, " were held before it was attached and did not count");
    }
    if (attached->options->report != MW_REPORT_JSON || !mw_outcome_put_json(facts))
        (is_well ? mw_say : mw_warn)("%s", sentence);
    if (verdict.oom_kills || !by_itself)
        mw_postmortem_tell(&attached->postmortem, facts->pid, sentence);
}

/* It is no child of ours: where nobody tells its status, an OOM kill in its group is taken for its end. */
static int exit_status(const struct mw_verdict_facts *facts)
{
    if (facts->has_no_status)
        return mw_verdict(facts).oom_kills ? EXIT_OOM_KILLED : 0;
    return mw_verdict_exit_status(facts->wait_status);
}

/* Until it has ended (false), or we are asked to stop. */
static bool is_asked_to_stop(struct attached *attached)
{
    struct mw_warner *warner = &attached->warner;
    struct pollfd waiting[2 + MW_GROUP_WATCH_POLLS] = {{.fd = attached->process.fd, .events = POLLIN},
                                                       {.fd = attached->signal_fd, .events = POLLIN}};
    for (;;) {
        const struct timespec left = mw_clock_until(warner->look_ns);
        memcpy(&waiting[2], warner->watch.polls, sizeof warner->watch.polls);
        if (ppoll(waiting, 2 + MW_GROUP_WATCH_POLLS, &left, NULL) < 0)
            continue; /* EINTR: stopped and continued */
        if (waiting[0].revents || waiting[1].revents)
            return !waiting[0].revents;
        memcpy(warner->watch.polls, &waiting[2], sizeof warner->watch.polls);
        mw_warner_look(warner);
    }
}

static int supervise(struct attached *attached)
{
    char occasion[MW_PROCESS_NAME_BYTES + 64];
    mw_warner_start(&attached->warner, attached->options, attached->process.name, attached->process.pid,
                    &attached->place.group.cgroup, 0);
    bool is_asked = is_asked_to_stop(attached);
    mw_warner_stop(&attached->warner);
    if (is_asked) {
        snprintf(occasion, sizeof occasion, "let go of %s (pid %d)", attached->process.name, attached->process.pid);
        let_go(attached, occasion);
        return 0;
    }
    struct mw_verdict_facts facts = gather_facts(attached);
    tell(attached, &facts);
    let_go(attached, "what it has left behind");
    return exit_status(&facts);
}

static int fail(const struct mw_error *error)
{
    mw_warn("%s", error->text);
    return EXIT_OWN_FAILURE;
}

int mw_attach_run(const struct mw_run_options *options)
{
    struct mw_error error;
    struct attached attached = {.options = options};
    if (!mw_log_open(options->log, options->quiet, &error) ||
        !mw_process_open(&attached.process, options->attach, &error) ||
        !mw_placing_prepare(&attached.placing, options, &error) ||
        !mw_postmortem_prepare(&attached.postmortem, options->keep, &error))
        return fail(&error);
    attached.postmortem.attached_pid = attached.process.pid;
    attached.postmortem.attached_ticks = attached.process.start_ticks;
    attached.signal_fd = block_signals(&attached.postmortem.mask);
    if (attached.signal_fd < 0) {
        mw_error_set(&error, errno, "cannot wait for signals");
        return fail(&error);
    }
    if (!find_place(&attached, &error)) {
        if (attached.place.has_group)
            return fail(&error);
        fail_to_place(&attached, &error);
        return EXIT_OWN_FAILURE;
    }
    say_begin(&attached);
    return supervise(&attached);
}
