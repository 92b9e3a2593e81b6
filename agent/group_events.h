/* SPDX-License-Identifier: MIT
 *
 * What the kernel gives notice of in a memory cgroup of v1 (cgroup-v1/memory.rst, "Memory thresholds", "OOM control",
 * "Memory pressure"): a descriptor that counts by itself, and can be polled.
 */
#ifndef MW_GROUP_EVENTS_H
#define MW_GROUP_EVENTS_H

#include "cgroup.h"

/* An eventfd, closed on exec, that does not block; it also counts once when the group goes. arguments: what follows the
 * file in the request, "" for nothing. -1: no notice is given, or there is no such file. */
int mw_group_events_open(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, const char *arguments);

#endif
