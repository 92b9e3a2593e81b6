/* SPDX-License-Identifier: MIT */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "syscall.h"
#include "text.h"

static bool is_digits(const char *word)
{
    return *word && !word[strspn(word, "0123456789")];
}

/* The newest segment that a dead process of that pid has left. -1: none. */
static int open_left_behind(const struct mw_segments_places *places, int pid, char path[MW_SEGMENTS_PATH_BYTES])
{
    struct mw_segments_list list = {0};
    struct mw_error none;
    const struct mw_segments_dead *newest = NULL;
    int fd = -1;
    if (mw_segments_find_dead(places, &list, &none))
        for (size_t i = 0; i < list.dead_count; i++)
            if (list.dead[i].name.pid == pid && (!newest || list.dead[i].name.start_ticks > newest->name.start_ticks))
                newest = &list.dead[i];
    if (newest) {
        snprintf(path, MW_SEGMENTS_PATH_BYTES, "%s", newest->path);
        fd = mw_segments_open_file(path, &none);
    }
    mw_segments_list_free(&list);
    return fd;
}

static int open_pid(const struct mw_segments_places *places, const char *word, struct mw_target *target,
                    struct mw_error *error)
{
    long pid = strlen(word) < 10 ? strtol(word, NULL, 10) : 0; /* the kernel's pids have seven digits at most */
    if (pid == 0) {
        mw_error_set(error, 0, "there is no process %s", word);
        return -1;
    }
    target->pid = (int)pid;
    target->is_alive = true;
    int fd = mw_segments_open_process(places, target->pid, target->path, error);
    if (fd < 0 && error->errno_value == ENOENT) {
        target->is_alive = false;
        fd = open_left_behind(places, target->pid, target->path);
    }
    return fd;
}

/* What a path cannot tell is in the header, which says of which process it is. */
static void look_whether_alive(const struct mw_segments_places *places, struct mw_target *target)
{
    const struct mw_segment_header *header = &target->view.header;
    const struct mw_segment_name name = {
        .pid = (int)header->pid, .start_ticks = header->start_ticks, .pid_namespace = header->pid_namespace};
    bool is_ours = mw_segments_is_ours(places, header->pid_namespace);
    target->pid = is_ours ? name.pid : 0;
    target->is_alive = header->state != MW_SEGMENT_ENDED && (!is_ours || mw_segments_is_alive(places, &name));
}

static void name_it(struct mw_target *target)
{
    struct mw_text name = MW_TEXT(target->name);
    if (!target->pid) {
        mw_text_string(&name, target->path);
        return;
    }
    mw_text_string(&name, "process ");
    mw_text_u64(&name, (uint64_t)target->pid);
    mw_text_string(&name, " (");
    mw_text_string(&name, target->view.header.comm);
    mw_text_char(&name, ')');
}

bool mw_target_open_at(const struct mw_segments_places *places, const char *word, struct mw_target *target,
                       struct mw_error *error)
{
    struct mw_error cause = {0};
    bool is_pid = is_digits(word);
    *target = (struct mw_target){0};
    if (!is_pid)
        snprintf(target->path, sizeof target->path, "%s", word);
    target->fd = is_pid ? open_pid(places, word, target, error) : mw_segments_open_file(word, error);
    if (target->fd < 0)
        return false;
    if (!mw_segment_read(target->fd, &target->view, &cause)) {
        close(target->fd);
        mw_error_set(error, 0, "%s %s", target->path, cause.text);
        return false;
    }
    if (!is_pid)
        look_whether_alive(places, target);
    if (target->is_alive)
        target->view.moment_unix_ns = mw_clock_ns(CLOCK_REALTIME);
    name_it(target);
    return true;
}

bool mw_target_open(const char *word, struct mw_target *target, struct mw_error *error)
{
    struct mw_segments_places places = mw_segments_places();
    return mw_target_open_at(&places, word, target, error);
}

void mw_target_close(struct mw_target *target)
{
    close(target->fd);
    mw_segment_view_free(&target->view);
}

const char *mw_target_state(const struct mw_target *target)
{
    if (target->is_alive)
        return "alive";
    return target->view.header.state == MW_SEGMENT_ENDED ? "ended" : "dead";
}

uint64_t mw_target_age_ns(const struct mw_target *target)
{
    uint64_t started_unix_ns = target->view.header.started_unix_ns;
    uint64_t moment_unix_ns = target->view.moment_unix_ns;
    return moment_unix_ns > started_unix_ns ? moment_unix_ns - started_unix_ns : 0;
}
