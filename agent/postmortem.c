/* SPDX-License-Identifier: MIT */
#include "postmortem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "segments.h"
#include "syscall.h"
#include "text.h"

#define MOST_TOLD    3
#define DEADLINE_NS  (UINT64_C(60) * 1000000000) /* symbols may have to come from far away */
#define HISTORY_NAME "deaths.jsonl"

/* The tool lies beside the launcher. */
static void find_tool(struct mw_postmortem *postmortem)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    int needed = snprintf(postmortem->tool, sizeof postmortem->tool, "%s/memwatch", self);
    if (needed < 0 || (size_t)needed >= sizeof postmortem->tool || access(postmortem->tool, X_OK))
        postmortem->tool[0] = '\0';
}

bool mw_postmortem_prepare(struct mw_postmortem *postmortem, const char *keep_directory, struct mw_error *error)
{
    *postmortem = (struct mw_postmortem){0};
    if (*keep_directory) {
        postmortem->keep_directory = keep_directory;
        if (mkdir(keep_directory, 0700) && errno != EEXIST)
            return mw_error_set(error, errno, "--keep: cannot make %s", keep_directory);
        if (access(keep_directory, W_OK | X_OK))
            return mw_error_set(error, errno, "--keep: %s", keep_directory);
    }
    find_tool(postmortem);
    snprintf(postmortem->run, sizeof postmortem->run, "run-%d-%llu", (int)getpid(),
             (unsigned long long)mw_clock_ns(CLOCK_MONOTONIC));
    if (setenv("MEMWATCH_RUN", postmortem->run, 1))
        return mw_error_set(error, errno, "cannot set MEMWATCH_RUN");
    return true;
}

/* Does the segment belong to a process of the run, and has that ended by itself? Its first page is all it takes. */
static bool is_of_run(const struct mw_postmortem *postmortem, const struct mw_segments_dead *dead, bool *ended)
{
    struct mw_error ignored;
    struct mw_segment_header header;
    int fd = mw_segments_open_file(dead->path, &ignored);
    bool is_whole = fd >= 0 && pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header;
    if (fd >= 0)
        close(fd);
    if (!is_whole || header.magic != MW_SEGMENT_MAGIC || header.version != MW_SEGMENT_VERSION)
        return false;
    *ended = header.state == MW_SEGMENT_ENDED;
    if (postmortem->attached_pid)
        return dead->name.pid == postmortem->attached_pid && dead->name.start_ticks == postmortem->attached_ticks;
    return strncmp(header.run, postmortem->run, sizeof header.run) == 0;
}

/* The tool is not to be watched itself. */
static char **environment_without_library(void)
{
    size_t count = 0;
    size_t kept = 0;
    while (environ[count])
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0 && strncmp(environ[i], "MEMWATCH_RUN=", 13) != 0)
            copy[kept++] = environ[i];
    return copy;
}

static int wait_with_deadline(pid_t pid)
{
    uint64_t give_up_ns = mw_clock_ns(CLOCK_MONOTONIC) + DEADLINE_NS;
    const struct timespec moment = {.tv_nsec = 5000000};
    int status;
    for (;;) {
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return status;
        if (ended < 0 && errno != EINTR)
            return -1;
        if (mw_clock_ns(CLOCK_MONOTONIC) > give_up_ns)
            kill(pid, SIGKILL);
        nanosleep(&moment, NULL);
    }
}

/* Runs the tool, its output on standard error. Whether it succeeded. */
static bool run_tool(const struct mw_postmortem *postmortem, const char *const *arguments)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char **environment = environment_without_library();
    pid_t pid;
    if (!environment)
        return false;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, mw_log_fd(), STDOUT_FILENO);
    if (mw_log_fd() != STDERR_FILENO)
        posix_spawn_file_actions_adddup2(&actions, mw_log_fd(), STDERR_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &postmortem->mask);
    int error =
        posix_spawn(&pid, postmortem->tool, &actions, &attributes, (char *const *)(void *)arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return !error && wait_with_deadline(pid) == 0;
}

/* One line more in the history of deaths: the verdict, and where the profile is. */
static void note_death(const struct mw_postmortem *postmortem, const char *verdict, const char *profile)
{
    char path[PATH_MAX];
    char buffer[8192];
    char moment[32] = "";
    struct mw_text line = MW_TEXT(buffer);
    time_t now = time(NULL);
    struct tm utc;
    snprintf(path, sizeof path, "%s/%s", postmortem->keep_directory, HISTORY_NAME);
    if (gmtime_r(&now, &utc))
        strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", &utc);
    mw_text_string(&line, "{\"Time\":");
    mw_text_json_string(&line, moment);
    mw_text_string(&line, ",\"Run\":");
    mw_text_json_string(&line, postmortem->run);
    mw_text_string(&line, ",\"Verdict\":");
    mw_text_json_string(&line, verdict);
    if (profile) {
        mw_text_string(&line, ",\"Profile\":");
        mw_text_json_string(&line, profile);
    }
    mw_text_string(&line, "}\n");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    (void)!write(fd, line.start, line.length);
    close(fd);
}

static void tell_of(const struct mw_postmortem *postmortem, const struct mw_segments_dead *dead, const char *verdict)
{
    const char *const report[] = {"memwatch", "report", "--post-mortem", dead->path, NULL};
    char file[PATH_MAX];
    run_tool(postmortem, report);
    if (!postmortem->keep_directory)
        return;
    snprintf(file, sizeof file, "%s/heap-%d-%llu.pb.gz", postmortem->keep_directory, dead->name.pid,
             (unsigned long long)dead->name.start_ticks);
    const char *const profile[] = {"memwatch", "profile", dead->path, "-o", file, NULL};
    bool is_kept = run_tool(postmortem, profile);
    note_death(postmortem, verdict, is_kept ? file : NULL);
}

void mw_postmortem_tell(const struct mw_postmortem *postmortem, pid_t pid, const char *verdict)
{
    struct mw_segments_places places = mw_segments_places();
    struct mw_segments_list list = {0};
    struct mw_error ignored;
    unsigned told = 0;
    bool ended;
    if (!*postmortem->tool || !mw_segments_find_dead(&places, &list, &ignored))
        return;
    for (int is_others = 0; is_others < 2; is_others++)
        for (size_t i = 0; i < list.dead_count && told < MOST_TOLD; i++)
            if ((list.dead[i].name.pid != pid) == is_others && is_of_run(postmortem, &list.dead[i], &ended) && !ended) {
                tell_of(postmortem, &list.dead[i], verdict);
                told++;
            }
    if (!told && postmortem->keep_directory)
        note_death(postmortem, verdict, NULL);
    mw_segments_list_free(&list);
}

void mw_postmortem_sweep(const struct mw_postmortem *postmortem)
{
    struct mw_segments_places places = mw_segments_places();
    struct mw_segments_list list = {0};
    struct mw_error ignored;
    bool ended;
    if (!mw_segments_find_dead(&places, &list, &ignored))
        return;
    for (size_t i = 0; i < list.dead_count; i++)
        if (is_of_run(postmortem, &list.dead[i], &ended) && !ended)
            unlink(list.dead[i].path);
    mw_segments_list_free(&list);
}
