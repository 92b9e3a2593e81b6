/* SPDX-License-Identifier: MIT */
#include "inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_same(const char *a, const char *b)
{
    struct stat left;
    struct stat right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

/* Where the process's paths are valid: NULL, where that is here. A process that is just being killed has no root any
 * more, and is as if dead. */
static const char *root_of(const struct mw_target *target, char *buffer, size_t capacity_bytes)
{
    char mounts[64];
    struct stat st;
    if (!target->is_alive || !target->pid)
        return NULL;
    snprintf(mounts, sizeof mounts, "/proc/%d/ns/mnt", target->pid);
    snprintf(buffer, capacity_bytes, "/proc/%d/root", target->pid);
    if (stat(buffer, &st) < 0 && errno == ENOENT)
        return NULL;
    return is_same(mounts, "/proc/self/ns/mnt") && is_same(buffer, "/") ? NULL : buffer;
}

bool mw_inspect_open(const char *word, enum mw_symbols_effort effort, struct mw_inspect *inspect,
                     struct mw_error *error)
{
    char buffer[64];
    *inspect = (struct mw_inspect){0};
    if (!mw_target_open(word, &inspect->target, error))
        return false;
    if (!mw_profile_load(&inspect->target.view, &inspect->profile, error)) {
        mw_target_close(&inspect->target);
        return false;
    }
    if (!inspect->profile.sample_mean_bytes && !inspect->profile.stack_count) {
        mw_error_set(error, 0, "%s has no heap profile: it runs with MEMWATCH_SAMPLE=off", inspect->target.name);
        mw_profile_free(&inspect->profile);
        mw_target_close(&inspect->target);
        return false;
    }
    inspect->symbols = mw_symbols_new(&inspect->profile, root_of(&inspect->target, buffer, sizeof buffer), effort);
    if (inspect->target.is_alive && inspect->target.pid) {
        snprintf(buffer, sizeof buffer, "/proc/%d/exe", inspect->target.pid);
        mw_symbols_set_running(inspect->symbols, buffer);
    }
    inspect->namer = mw_namer_of(inspect->symbols);
    return true;
}

void mw_inspect_say_other_builds(const struct mw_inspect *inspect)
{
    for (size_t i = 0; i < inspect->profile.module_count; i++)
        if (mw_symbols_module(inspect->symbols, i) == MW_SYMBOLS_OTHER_BUILD)
            fprintf(stderr, "memwatch: %s is another build now than the one that ran: its functions have no names\n",
                    inspect->profile.modules[i].path);
}

void mw_inspect_close(struct mw_inspect *inspect)
{
    mw_symbols_free(inspect->symbols);
    mw_profile_free(&inspect->profile);
    mw_target_close(&inspect->target);
}
