/* SPDX-License-Identifier: MIT */
#include "group_walk.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"

bool mw_group_walk(const char *dir, mw_group_visitor *visit, void *context)
{
    DIR *entries = opendir(dir);
    bool going_on = true;
    if (!entries)
        return true; /* gone meanwhile */
    for (struct dirent *entry; going_on && (entry = readdir(entries));) {
        char below[MW_CGROUP_PATH_BYTES];
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int length = snprintf(below, sizeof below, "%s/%s", dir, entry->d_name);
        if (length > 0 && (size_t)length < sizeof below)
            going_on = mw_group_walk(below, visit, context);
    }
    closedir(entries);
    return going_on && visit(dir, context);
}

bool mw_group_visit_processes(const char *dir, mw_group_process_visitor *visit, void *context)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    char line[32];
    bool going_on = true;
    /* the same name in both versions */
    snprintf(path, sizeof path, "%s/%s", dir, mw_cgroup_file_name(2, MW_CGROUP_PROCS));
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    while (going_on && fgets(line, sizeof line, file))
        going_on = visit(strtol(line, NULL, 10), context);
    fclose(file);
    return going_on;
}

struct processes {
    mw_group_process_visitor *visit;
    void *context;
};

static bool visit_processes(const char *dir, void *context)
{
    const struct processes *processes = context;
    return mw_group_visit_processes(dir, processes->visit, processes->context);
}

bool mw_group_walk_processes(const char *dir, mw_group_process_visitor *visit, void *context)
{
    return mw_group_walk(dir, visit_processes, &(struct processes){visit, context});
}
