/* SPDX-License-Identifier: MIT
 *
 * A process's cgroup in a tree where only the end of its path is known: by looking which group lists the process. Any
 * thread, async-signal-safe; no allocation, no errno. Functions return 0 or a negative errno value.
 */
#ifndef MW_CGROUP_SEARCH_H
#define MW_CGROUP_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define MW_CGROUP_SEARCH_LEVELS 8

/* Appends to path, which holds a directory, `levels` names that are looked for and then `below` ("" or "/name..."), so
 * that the group there holds the process. -ENOENT: no such group is to be seen, and path is as it was;
 * -ENAMETOOLONG. */
int mw_cgroup_search(char *path, size_t capacity_bytes, unsigned levels, struct mw_span below, uint64_t pid);

#endif
