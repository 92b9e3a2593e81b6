/* SPDX-License-Identifier: MIT */
#include "oom_group.h"

#include <stdio.h>

#include "cgroup.h"
#include "fileio.h"
#include "memory.h"
#include "procfs.h"

#define COUNTER_BYTES 1024

struct mw_oom_group {
    char *path; /* of the file with the counter */
    unsigned holders;
    struct mw_oom_claims claims;
};

struct mw_oom_groups {
    char *mountinfo;
    struct mw_oom_group **groups;
    size_t count;
};

/* ---- the arithmetic ---- */

struct mw_oom_claims mw_oom_claims_start(uint64_t oom_kills, uint64_t now_ns)
{
    return (struct mw_oom_claims){.claimed = oom_kills, .noticed = oom_kills, .noticed_ns = now_ns};
}

void mw_oom_claims_notice(struct mw_oom_claims *claims, uint64_t oom_kills, uint64_t now_ns)
{
    if (oom_kills < claims->noticed) /* another group by the same name */
        *claims = mw_oom_claims_start(oom_kills, now_ns);
    if (now_ns - claims->noticed_ns > MW_OOM_CLAIM_NS)
        claims->claimed = claims->noticed;
    if (oom_kills == claims->noticed)
        return;
    claims->noticed = oom_kills;
    claims->noticed_ns = now_ns;
}

bool mw_oom_claims_take(struct mw_oom_claims *claims)
{
    if (claims->claimed >= claims->noticed)
        return false;
    claims->claimed++;
    return true;
}

/* ---- groups ---- */

struct mw_oom_groups *mw_oom_groups_new(const char *mountinfo_text)
{
    struct mw_oom_groups *groups = mw_memory_new(1, sizeof *groups);
    groups->mountinfo = mw_memory_string(mountinfo_text);
    return groups;
}

void mw_oom_groups_free(struct mw_oom_groups *groups)
{
    free(groups->groups); /* nobody holds one any more */
    free(groups->mountinfo);
    free(groups);
}

static bool read_counter(const char *path, uint64_t *oom_kills)
{
    char text[COUNTER_BYTES];
    return mw_file_read_whole(path, text, sizeof text) >= 0 && mw_key_value(text, "oom_kill", oom_kills);
}

/* What a mount shows need not be the part of the tree where the process is: then its name leads to another group. */
static bool is_in(const struct mw_cgroup *cgroup, int pid)
{
    char path[MW_CGROUP_PATH_BYTES];
    char line[16];
    bool found = false;
    if (mw_cgroup_file_path(cgroup, MW_CGROUP_PROCS, path, sizeof path))
        return false;
    FILE *procs = fopen(path, "re");
    while (procs && !found && fgets(line, sizeof line, procs))
        found = strtol(line, NULL, 10) == pid;
    if (procs)
        fclose(procs);
    return found;
}

static struct mw_oom_group *find(const struct mw_oom_groups *groups, const char *path)
{
    for (size_t i = 0; i < groups->count; i++)
        if (strcmp(groups->groups[i]->path, path) == 0)
            return groups->groups[i];
    return NULL;
}

struct mw_oom_group *mw_oom_groups_hold(struct mw_oom_groups *groups, const char *cgroup_text, int pid, uint64_t now_ns)
{
    struct mw_cgroup cgroup;
    char path[MW_CGROUP_PATH_BYTES];
    uint64_t oom_kills;
    if (mw_cgroup_locate(cgroup_text, groups->mountinfo, &cgroup) || !is_in(&cgroup, pid) ||
        mw_cgroup_file_path(&cgroup, MW_CGROUP_OOM, path, sizeof path) || !read_counter(path, &oom_kills))
        return NULL;
    struct mw_oom_group *group = find(groups, path);
    if (!group) {
        group = mw_memory_new(1, sizeof *group);
        group->path = mw_memory_string(path);
        group->claims = mw_oom_claims_start(oom_kills, now_ns);
        groups->groups = mw_memory_resize(groups->groups, groups->count + 1, sizeof(struct mw_oom_group *));
        groups->groups[groups->count++] = group;
    }
    group->holders++;
    return group;
}

void mw_oom_groups_let_go(struct mw_oom_groups *groups, struct mw_oom_group *group)
{
    if (!group || --group->holders)
        return;
    for (size_t i = 0; i < groups->count; i++)
        if (groups->groups[i] == group)
            groups->groups[i] = groups->groups[--groups->count];
    free(group->path);
    free(group);
}

static void notice(struct mw_oom_group *group, uint64_t now_ns)
{
    uint64_t oom_kills;
    if (read_counter(group->path, &oom_kills)) /* else it is gone, and what was noticed stands */
        mw_oom_claims_notice(&group->claims, oom_kills, now_ns);
}

void mw_oom_groups_notice(struct mw_oom_groups *groups, uint64_t now_ns)
{
    for (size_t i = 0; i < groups->count; i++)
        notice(groups->groups[i], now_ns);
}

bool mw_oom_group_take(struct mw_oom_group *group, uint64_t now_ns)
{
    if (!group)
        return false;
    notice(group, now_ns);
    return mw_oom_claims_take(&group->claims);
}
