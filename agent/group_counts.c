/* SPDX-License-Identifier: MIT */
#include "group_counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fileio.h"
#include "group_events.h"
#include "group_walk.h"
#include "procfs.h"

#define MW_CGROUP_NONE MW_CGROUP_FILES

/* Where each member of struct mw_level_counts comes from, by version. */
static const struct source {
    size_t offset;
    enum mw_cgroup_file file[2];
    const char *key[2];
} sources[] = {
#define SOURCE(member, v1_file, v1_key, v2_file, v2_key)                                                               \
    {offsetof(struct mw_level_counts, member), {MW_CGROUP_##v1_file, MW_CGROUP_##v2_file}, {v1_key, v2_key}},
    MW_LEVEL_COUNTS(SOURCE)
#undef SOURCE
};

static uint64_t *member(struct mw_level_counts *level, size_t offset)
{
    return (uint64_t *)(void *)((char *)level + offset);
}

/* ---- the difference ---- */

static uint64_t since(uint64_t before, uint64_t after)
{
    if (before == MW_COUNT_UNKNOWN || after == MW_COUNT_UNKNOWN)
        return MW_COUNT_UNKNOWN;
    return after > before ? after - before : 0; /* a sum falls when one of its groups goes */
}

static struct mw_level_counts level_since(const struct mw_level_counts *before, const struct mw_level_counts *after)
{
    struct mw_level_counts level = *after;
#define SINCE(member) level.member = since(before->member, after->member)
    SINCE(local_ooms);
    SINCE(ooms);
    SINCE(kills);
    SINCE(group_kills);
    SINCE(limit_hits);
    SINCE(high_hits);
    SINCE(swap_hits);
    SINCE(swap_fails);
    SINCE(notices);
#undef SINCE
    return level;
}

/* v1: the calls for a level's own limit are those that this level has notice of and the one above has not. Of the
 * uppermost level they are all, those for limits that are out of sight included. */
static uint64_t noticed_here(const struct mw_group_counts *counts, unsigned level)
{
    uint64_t here = counts->levels[level].notices;
    uint64_t above = level + 1 < counts->level_count ? counts->levels[level + 1].notices : 0;
    return since(above, here);
}

/* v2 before Linux 5.2: where a level has counted no more than the one below it, it was not that level's limit. */
static uint64_t derived_ooms(const struct mw_group_counts *counts, unsigned level)
{
    uint64_t below = level ? counts->levels[level - 1].ooms : 0;
    uint64_t more = since(below, counts->levels[level].ooms);
    return more == 0 || level == 0 ? more : MW_COUNT_UNKNOWN;
}

void mw_group_counts_since(const struct mw_group_counts *before, const struct mw_group_counts *after,
                           struct mw_group_counts *happened)
{
    *happened = *after;
    for (unsigned i = 0; i < after->level_count; i++)
        happened->levels[i] = level_since(&before->levels[i], &after->levels[i]);
    for (unsigned i = 0; i < after->level_count; i++) {
        uint64_t *ooms = &happened->levels[i].local_ooms;
        if (after->version == 1)
            *ooms = noticed_here(happened, i);
        else if (*ooms == MW_COUNT_UNKNOWN)
            *ooms = derived_ooms(happened, i);
    }
    happened->inner_limit_hits = since(before->inner_limit_hits, after->inner_limit_hits);
    happened->machine_kills = since(before->machine_kills, after->machine_kills);
    happened->machine_stalls = since(before->machine_stalls, after->machine_stalls);
}

/* ---- reading ---- */

static bool file_path(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, char *path, size_t capacity_bytes)
{
    return file != MW_CGROUP_NONE && mw_cgroup_file_path(cgroup, file, path, capacity_bytes) == 0;
}

static void read_level(const struct mw_cgroup *cgroup, struct mw_level_counts *level)
{
    enum mw_cgroup_file in_text = MW_CGROUP_NONE;
    char text[1024];
    level->notices = MW_COUNT_UNKNOWN;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        enum mw_cgroup_file file = sources[i].file[cgroup->version - 1];
        const char *key = sources[i].key[cgroup->version - 1];
        uint64_t *out = member(level, sources[i].offset);
        char path[MW_CGROUP_PATH_BYTES + 64];
        *out = MW_COUNT_UNKNOWN;
        if (!file_path(cgroup, file, path, sizeof path))
            continue;
        if (file != in_text && mw_file_read_whole(path, text, sizeof text) < 0)
            *text = '\0';
        in_text = file;
        if (!(key ? mw_key_value(text, key, out) : mw_single_value(text, out)))
            *out = MW_COUNT_UNKNOWN;
    }
}

/* v1, over a subtree: its counters speak of one group only. */
struct sums {
    const char *top;
    uint64_t kills;
    uint64_t inner_limit_hits;
};

static void add(uint64_t *sum, uint64_t count)
{
    if (count != MW_COUNT_UNKNOWN)
        *sum = (*sum == MW_COUNT_UNKNOWN ? 0 : *sum) + count;
}

static uint64_t count_in(const char *dir, enum mw_cgroup_file file, const char *key)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char text[256];
    uint64_t count;
    snprintf(path, sizeof path, "%s/%s", dir, mw_cgroup_file_name(1, file));
    if (mw_file_read_whole(path, text, sizeof text) < 0)
        return MW_COUNT_UNKNOWN;
    return (key ? mw_key_value(text, key, &count) : mw_single_value(text, &count)) ? count : MW_COUNT_UNKNOWN;
}

static bool add_group(const char *dir, void *context)
{
    struct sums *sums = context;
    add(&sums->kills, count_in(dir, MW_CGROUP_OOM, "oom_kill"));
    if (strcmp(dir, sums->top) != 0) {
        add(&sums->inner_limit_hits, count_in(dir, MW_CGROUP_FAILCNT, NULL));
        add(&sums->inner_limit_hits, count_in(dir, MW_CGROUP_SWAP_FAILCNT, NULL));
    }
    return true;
}

/* A file that only the uppermost group of a hierarchy has (v1), or only that one lacks (v2). */
static bool is_top(const struct mw_cgroup *cgroup)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", cgroup->dir, cgroup->version == 1 ? "release_agent" : "cgroup.type");
    return (access(path, F_OK) == 0) == (cgroup->version == 1);
}

static void read_machine(const char *root, struct mw_group_counts *out)
{
    char path[MW_CGROUP_PATH_BYTES];
    char text[32768];
    out->machine_kills = out->machine_stalls = MW_COUNT_UNKNOWN;
    int length = snprintf(path, sizeof path, "%s/proc/vmstat", root);
    if (length < 0 || (size_t)length >= sizeof path || mw_file_read_whole(path, text, sizeof text) < 0)
        return;
    if (!mw_key_value(text, "oom_kill", &out->machine_kills))
        out->machine_kills = MW_COUNT_UNKNOWN;
    /* One a zone: allocstall_normal and so on. */
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *space = strncmp(line, "allocstall", 10) == 0 ? strchr(line, ' ') : NULL;
        uint64_t stalls;
        if (space && mw_single_value(space + 1, &stalls))
            add(&out->machine_stalls, stalls);
    }
}

/* ---- v1: notices ---- */

static uint64_t take_notices(struct mw_group_counter *counter, unsigned level)
{
    uint64_t more;
    if (level >= counter->notice_count || counter->notice_fds[level] < 0)
        return MW_COUNT_UNKNOWN;
    if (read(counter->notice_fds[level], &more, sizeof more) == (ssize_t)sizeof more)
        counter->notices[level] += more;
    return counter->notices[level];
}

/* ---- all of it ---- */

void mw_group_counter_open(struct mw_group_counter *counter, const char *root, const struct mw_cgroup *cgroup)
{
    *counter = (struct mw_group_counter){.root = root};
    if (!cgroup)
        return;
    counter->cgroup = *cgroup;
    struct mw_cgroup level = *cgroup;
    do {
        if (cgroup->version != 1)
            break;
        counter->notice_fds[counter->notice_count++] = mw_group_events_open(&level, MW_CGROUP_OOM, "");
    } while (counter->notice_count < MW_GROUP_COUNTS_LEVELS && mw_cgroup_climb(&level));
}

/* From the group upwards: what is noticed meanwhile is then rather ascribed to a limit above than to the group's. */
void mw_group_counter_read(struct mw_group_counter *counter, struct mw_group_counts *out)
{
    *out = (struct mw_group_counts){.version = counter->cgroup.version, .inner_limit_hits = MW_COUNT_UNKNOWN};
    read_machine(counter->root, out);
    if (!out->version)
        return;
    struct mw_cgroup level = counter->cgroup;
    bool climbed = true;
    for (unsigned i = 0; climbed && i < MW_GROUP_COUNTS_LEVELS; i++) {
        read_level(&level, &out->levels[i]);
        out->levels[i].notices = take_notices(counter, i);
        out->level_count++;
        out->sees_top = is_top(&level);
        climbed = mw_cgroup_climb(&level);
    }
    out->sees_top &= !climbed;
    if (out->sees_top && out->version == 2)
        out->levels[out->level_count - 1].local_ooms = 0; /* the uppermost group has no limit, and no such file */
    if (out->version == 1) {
        struct sums sums = {counter->cgroup.dir, MW_COUNT_UNKNOWN, 0};
        mw_group_walk(counter->cgroup.dir, add_group, &sums);
        out->levels[0].kills = sums.kills;
        out->inner_limit_hits = sums.inner_limit_hits;
    }
}

void mw_group_counter_close(struct mw_group_counter *counter)
{
    for (unsigned i = 0; i < counter->notice_count; i++)
        if (counter->notice_fds[i] >= 0)
            close(counter->notice_fds[i]);
    counter->notice_count = 0;
}

static bool is_that_one(long pid, void *context)
{
    const int *that = context;
    return pid == *that;
}

bool mw_group_has_others(const struct mw_cgroup *cgroup, int pid)
{
    return !mw_group_walk_processes(cgroup->dir, is_that_one, &pid);
}
