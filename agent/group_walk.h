/* SPDX-License-Identifier: MIT
 *
 * A cgroup and the groups below it, leaves first. One thread; a group that goes meanwhile is left out.
 */
#ifndef MW_GROUP_WALK_H
#define MW_GROUP_WALK_H

#include <stdbool.h>

/* Returns whether to go on. */
typedef bool mw_group_visitor(const char *dir, void *context);

/* Visits all groups below dir, then dir. False: a visitor has put an end to it. */
bool mw_group_walk(const char *dir, mw_group_visitor *visit, void *context);

#endif
