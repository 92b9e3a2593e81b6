/* SPDX-License-Identifier: MIT */
#include "group_walk.h"

#include <dirent.h>
#include <stdio.h>
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
