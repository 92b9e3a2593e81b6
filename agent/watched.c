/* SPDX-License-Identifier: MIT */
#include "watched.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "memory.h"
#include "oom_group.h"
#include "segment_view.h"
#include "workload.h"

#define MOST_FILE_BYTES (64U << 20)
#define LABELS_BYTES    (2 * MW_CGROUP_PATH_BYTES + 512) /* every character may have to be escaped */
#define STILL_NS        UINT64_C(2000000000)             /* figures that are as old as that have stopped */
#define TEXT_BYTES      16384                            /* of /proc/PID/cgroup */

struct process {
    struct mw_metrics_process metrics; /* its texts belong to it */
    int pid;
    int fd;    /* the segment */
    int pidfd; /* can be read when the process has ended */
    bool is_read;
    uint32_t state; /* of the segment */
    uint32_t exited_status;
    uint64_t moved_ns; /* when its figures were seen to have changed, or it was looked at anew */
    char comm[64];
    char *cgroup;
    struct mw_oom_group *group; /* NULL: not known */
    struct mw_death_row *deaths;
};

/* A process that is not watched, so far. */
struct other {
    int pid;
    bool is_unreadable;
    uint64_t pause_ns;
    uint64_t next_ns;
};

struct mw_watched {
    struct mw_segments_places places;
    int epoll;
    struct process **processes; /* by pid, as the others */
    size_t process_count;
    struct other *others;
    size_t other_count;
    struct mw_deaths deaths;
    struct mw_oom_groups *groups;
    uint64_t scanned_ns; /* 0: not yet */
    uint64_t scans;
    const struct mw_metrics_process **metrics_processes; /* what mw_watched_metrics hands out */
    const struct mw_metrics_deaths **metrics_deaths;
};

/* ---- one process ---- */

/* What it is called: pid (or not), comm, and whose it is. */
static char *make_labels(const struct process *process, const struct mw_workload *workload, bool with_pid)
{
    char buffer[LABELS_BYTES];
    char pid[16];
    struct mw_text text = MW_TEXT(buffer);
    snprintf(pid, sizeof pid, "%d", process->pid);
    mw_metrics_label(&text, "pid", with_pid ? pid : "");
    mw_metrics_label(&text, "comm", process->comm);
    mw_metrics_label(&text, "cgroup", workload->cgroup);
    mw_metrics_label(&text, "container_id", workload->container_id);
    return mw_memory_string(buffer);
}

static void forget_name(struct mw_watched *watched, struct process *process)
{
    if (process->deaths)
        mw_deaths_let_go(&watched->deaths, process->deaths);
    mw_oom_groups_let_go(watched->groups, process->group);
    free((char *)process->metrics.labels);
    free(process->cgroup);
}

/* Where it belongs, which may change while it runs. */
static void name(struct mw_watched *watched, struct process *process, uint64_t now_ns)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    char text[TEXT_BYTES];
    struct mw_workload workload = {0};
    int length = snprintf(path, sizeof path, "%s/%d/cgroup", watched->places.proc, process->pid);
    if (length < (int)sizeof path && mw_file_read_whole(path, text, sizeof text) >= 0)
        mw_workload_parse(text, &workload);
    else if (process->cgroup)
        return; /* it has ended meanwhile */
    if (process->cgroup && strcmp(process->cgroup, workload.cgroup) == 0)
        return;
    forget_name(watched, process);
    process->cgroup = mw_memory_string(workload.cgroup);
    process->group = mw_oom_groups_hold(watched->groups, *workload.cgroup ? text : "", process->pid, now_ns);
    process->metrics.labels = make_labels(process, &workload, true);
    char *labels = make_labels(process, &workload, false);
    process->deaths = mw_deaths_hold(&watched->deaths, labels);
    free(labels);
}

/* False: the segment cannot be read any more, *error says why. What it said last holds on where it is being written. */
static bool read_figures(struct process *process, uint64_t now_ns, struct mw_error *error)
{
    struct mw_segment_view view;
    struct memwatch_stats stats;
    if (!mw_segment_read_figures(process->fd, &view, error))
        return false;
    process->state = view.header.state;
    process->exited_status = view.header.exited_status;
    if (view.snapshot_is_torn || !view.snapshot.time_unix_ns)
        return true;
    if (view.snapshot.time_unix_ns != process->metrics.tick_unix_ns)
        process->moved_ns = now_ns;
    mw_segment_view_stats(&view, &stats);
    process->metrics.values = mw_metrics_values(&stats);
    process->metrics.tick_unix_ns = view.snapshot.time_unix_ns;
    process->is_read = true;
    return true;
}

/* What the header says once and for all. False: it is no segment, *error says why. */
static bool read_header(struct process *process, struct mw_error *error)
{
    char buffer[2 * 512];
    struct mw_segment_view view;
    struct mw_text info = MW_TEXT(buffer);
    if (!mw_segment_read_figures(process->fd, &view, error))
        return false;
    if (view.header.state == MW_SEGMENT_STARTING)
        return mw_error_set(error, ENODATA, "process %d has only begun", process->pid);
    snprintf(process->comm, sizeof process->comm, "%s", view.header.comm);
    mw_metrics_label(&info, "program", view.header.program);
    process->metrics.info = mw_memory_string(buffer);
    process->metrics.started_unix_ns = view.header.started_unix_ns;
    return true;
}

static void drop(struct mw_watched *watched, struct process *process)
{
    forget_name(watched, process);
    free((char *)process->metrics.info);
    close(process->fd);
    close(process->pidfd); /* which takes it out of the epoll set */
    free(process);
}

static bool has_ended(const struct process *process)
{
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    return mw_sys_poll(&ended, 0) > 0;
}

/* Opened first: what is read later of a process by its pid is of this one, if it still lives then. */
static bool open_process(struct mw_watched *watched, struct process *process, struct mw_error *error)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = process}};
    process->pidfd = (int)mw_syscall6(SYS_pidfd_open, process->pid, 0, 0, 0, 0, 0);
    if (process->pidfd < 0)
        return mw_error_set(error, -process->pidfd, "cannot follow process %d", process->pid);
    process->fd = mw_segments_open_process(&watched->places, process->pid, path, error);
    if (process->fd < 0 || !read_header(process, error))
        return false;
    if (has_ended(process) || epoll_ctl(watched->epoll, EPOLL_CTL_ADD, process->pidfd, &event))
        return mw_error_set(error, ESRCH, "process %d has ended", process->pid);
    return true;
}

/* NULL: it is not watched, or *error says what else. */
static struct process *take(struct mw_watched *watched, int pid, uint64_t now_ns, struct mw_error *error)
{
    struct process *process = mw_memory_new(1, sizeof *process);
    *process = (struct process){.pid = pid, .fd = -1, .moved_ns = now_ns};
    if (!open_process(watched, process, error)) {
        drop(watched, process);
        return NULL;
    }
    name(watched, process, now_ns);
    read_figures(process, now_ns, error);
    return process;
}

/* ---- the end of one ---- */

static enum mw_death_cause cause_of(const struct process *process, uint64_t now_ns)
{
    if (process->state == MW_SEGMENT_ENDED)
        return process->exited_status ? MW_DEATH_FAILURE : MW_DEATH_EXIT;
    return mw_oom_group_take(process->group, now_ns) ? MW_DEATH_OOM_KILL : MW_DEATH_KILLED;
}

static void remove_process(struct mw_watched *watched, const struct process *process)
{
    size_t kept = 0;
    for (size_t i = 0; i < watched->process_count; i++)
        if (watched->processes[i] != process)
            watched->processes[kept++] = watched->processes[i];
    watched->process_count = kept;
}

void mw_watched_bury(struct mw_watched *watched, uint64_t now_ns)
{
    struct epoll_event event;
    while (epoll_wait(watched->epoll, &event, 1, 0) == 1) {
        struct process *process = event.data.ptr;
        struct mw_error none;
        read_figures(process, now_ns, &none); /* what it has left says how it ended */
        process->deaths->deaths.counts[cause_of(process, now_ns)]++;
        remove_process(watched, process);
        drop(watched, process);
    }
}

/* ---- finding them ---- */

static int compare_pids(const void *left, const void *right)
{
    int a = *(const int *)left;
    int b = *(const int *)right;
    return (a > b) - (a < b);
}

/* All processes of this machine, ascending. NULL: /proc is not to be had. The caller frees them. */
static int *list_pids(const struct mw_watched *watched, size_t *count)
{
    DIR *proc = opendir(watched->places.proc);
    int *pids = NULL;
    *count = 0;
    if (!proc)
        return NULL;
    for (struct dirent *entry; (entry = readdir(proc));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (pid <= 0 || pid > INT_MAX || *end)
            continue;
        if (!(*count & (*count - 1)))
            pids = mw_memory_resize(pids, *count ? 2 * *count : 1, sizeof *pids);
        pids[(*count)++] = (int)pid;
    }
    closedir(proc);
    if (pids)
        qsort(pids, *count, sizeof *pids, compare_pids);
    return pids;
}

/* An error that says that there is nothing to see, rather than that what there is cannot be seen. */
static bool is_nothing(const struct mw_error *error)
{
    static const int nothing[] = {ENODATA, ENOENT, ESRCH, EACCES, EPERM};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        if (error->errno_value == nothing[i])
            return true;
    return false;
}

/* Looks at a process that is not watched, so far, if it is time to. NULL: it is not, and *other says so. */
static struct process *look_at(struct mw_watched *watched, struct other *other, uint64_t now_ns)
{
    struct mw_error error = {0};
    if (now_ns < other->next_ns)
        return NULL;
    struct process *process = take(watched, other->pid, now_ns, &error);
    other->is_unreadable = !process && !is_nothing(&error);
    other->pause_ns = other->pause_ns ? 2 * other->pause_ns : MW_WATCHED_LEAST_PAUSE_NS;
    if (other->pause_ns > MW_WATCHED_LONGEST_PAUSE_NS)
        other->pause_ns = MW_WATCHED_LONGEST_PAUSE_NS;
    other->next_ns = now_ns + other->pause_ns;
    return process;
}

/* Three ascending lists become two: who is watched, and who is not. */
static void scan(struct mw_watched *watched, uint64_t now_ns)
{
    size_t pid_count;
    int *pids = list_pids(watched, &pid_count);
    size_t old_process = 0;
    size_t old_other = 0;
    size_t process_count = 0;
    size_t other_count = 0;
    if (!pids)
        return;
    struct process **processes = mw_memory_new(watched->process_count + pid_count, sizeof(struct process *));
    struct other *others = mw_memory_new(pid_count, sizeof *others);
    for (size_t i = 0; i < pid_count; i++) {
        while (old_process < watched->process_count && watched->processes[old_process]->pid < pids[i])
            processes[process_count++] = watched->processes[old_process++]; /* has just ended: to be buried */
        if (old_process < watched->process_count && watched->processes[old_process]->pid == pids[i]) {
            processes[process_count++] = watched->processes[old_process++];
            continue;
        }
        while (old_other < watched->other_count && watched->others[old_other].pid < pids[i])
            old_other++;
        struct other other = {.pid = pids[i]};
        if (old_other < watched->other_count && watched->others[old_other].pid == pids[i])
            other = watched->others[old_other];
        struct process *process = look_at(watched, &other, now_ns);
        if (process)
            processes[process_count++] = process;
        else
            others[other_count++] = other;
    }
    while (old_process < watched->process_count)
        processes[process_count++] = watched->processes[old_process++];
    free(pids);
    free(watched->processes);
    free(watched->others);
    watched->processes = processes;
    watched->process_count = process_count;
    watched->others = others;
    watched->other_count = other_count;
    watched->scans++;
    watched->scanned_ns = now_ns;
}

/* ---- following them ---- */

static bool is_same_file(int a, int b)
{
    struct stat left;
    struct stat right;
    return fstat(a, &left) == 0 && fstat(b, &right) == 0 && left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

/* Has it executed another program? Then it has another segment, or none: what was held is let go. */
static bool is_another_program(const struct mw_watched *watched, const struct process *process)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    struct mw_error error;
    int fd = mw_segments_open_process(&watched->places, process->pid, path, &error);
    if (fd < 0)
        return error.errno_value == ENODATA;
    bool is_another = !is_same_file(fd, process->fd);
    close(fd);
    return is_another;
}

/* Where the figures of a process stand still it may not be the one that was found. */
static bool is_still_it(const struct mw_watched *watched, struct process *process, uint64_t now_ns)
{
    if (now_ns - process->moved_ns < STILL_NS)
        return true;
    process->moved_ns = now_ns;
    return !is_another_program(watched, process);
}

static void read_all(struct mw_watched *watched, uint64_t now_ns)
{
    size_t kept = 0;
    struct mw_error error;
    for (size_t i = 0; i < watched->process_count; i++) {
        struct process *process = watched->processes[i];
        if (read_figures(process, now_ns, &error) && is_still_it(watched, process, now_ns)) {
            name(watched, process, now_ns);
            watched->processes[kept++] = process;
        } else {
            drop(watched, process);
        }
    }
    watched->process_count = kept;
}

void mw_watched_refresh(struct mw_watched *watched, uint64_t now_ns)
{
    mw_oom_groups_notice(watched->groups, now_ns);
    mw_watched_bury(watched, now_ns);
    read_all(watched, now_ns);
    if (!watched->scanned_ns || now_ns - watched->scanned_ns >= MW_WATCHED_LEAST_PAUSE_NS)
        scan(watched, now_ns);
}

/* ---- all of them ---- */

/* A file of any length. The caller frees it; "" where it cannot be read. */
static char *read_whole(const char *path)
{
    char *text = mw_memory_new(1, 1);
    for (size_t bytes = 65536; bytes <= MOST_FILE_BYTES; bytes *= 4) {
        text = mw_memory_resize(text, bytes, 1);
        long length = mw_file_read_whole(path, text, bytes);
        if (length < 0)
            text[0] = '\0';
        if (length < (long)bytes - 1)
            break;
    }
    return text;
}

struct mw_watched *mw_watched_new(const struct mw_segments_places *places, struct mw_error *error)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        return mw_error_set(error, errno, "cannot follow processes"), NULL;
    struct mw_watched *watched = mw_memory_new(1, sizeof *watched);
    snprintf(path, sizeof path, "%s/self/mountinfo", places->proc);
    char *mountinfo = read_whole(path);
    *watched = (struct mw_watched){.places = *places, .epoll = epoll, .groups = mw_oom_groups_new(mountinfo)};
    free(mountinfo);
    return watched;
}

void mw_watched_free(struct mw_watched *watched)
{
    for (size_t i = 0; i < watched->process_count; i++)
        drop(watched, watched->processes[i]);
    mw_deaths_free(&watched->deaths);
    mw_oom_groups_free(watched->groups);
    free(watched->processes);
    free(watched->others);
    free(watched->metrics_processes);
    free(watched->metrics_deaths);
    close(watched->epoll);
    free(watched);
}

int mw_watched_fd(const struct mw_watched *watched)
{
    return watched->epoll;
}

size_t mw_watched_count(const struct mw_watched *watched)
{
    return watched->process_count;
}

int mw_watched_pid(const struct mw_watched *watched, size_t index)
{
    return watched->processes[index]->pid;
}

const char *mw_watched_comm(const struct mw_watched *watched, size_t index)
{
    return watched->processes[index]->comm;
}

struct mw_metrics mw_watched_metrics(struct mw_watched *watched)
{
    struct mw_metrics metrics = {.agent = {.scans = watched->scans}};
    watched->metrics_processes =
        mw_memory_resize(watched->metrics_processes, watched->process_count, sizeof(struct mw_metrics_process *));
    watched->metrics_deaths =
        mw_memory_resize(watched->metrics_deaths, watched->deaths.count, sizeof(struct mw_metrics_deaths *));
    for (size_t i = 0; i < watched->process_count; i++)
        if (watched->processes[i]->is_read)
            watched->metrics_processes[metrics.process_count++] = &watched->processes[i]->metrics;
    for (size_t i = 0; i < watched->deaths.count; i++)
        watched->metrics_deaths[metrics.death_count++] = &watched->deaths.rows[i]->deaths;
    for (size_t i = 0; i < watched->other_count; i++)
        metrics.agent.unreadable += watched->others[i].is_unreadable;
    metrics.agent.watched = metrics.process_count;
    metrics.processes = watched->metrics_processes;
    metrics.deaths = watched->metrics_deaths;
    return metrics;
}
