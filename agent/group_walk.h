/* SPDX-License-Identifier: MIT
 *
 * A cgroup and the groups below it, leaves first, and the processes in them. One thread; what goes meanwhile is left
 * out.
 */
#ifndef MW_GROUP_WALK_H
#define MW_GROUP_WALK_H

#include <stdbool.h>

/* Returns whether to go on. */
typedef bool mw_group_visitor(const char *dir, void *context);

/* Visits all groups below dir, then dir. False: a visitor has put an end to it. */
bool mw_group_walk(const char *dir, mw_group_visitor *visit, void *context);

/* Returns whether to go on. pid 0: a process that this PID namespace does not see. */
typedef bool mw_group_process_visitor(long pid, void *context);

/* Visits all processes in dir itself. False: a visitor has put an end to it. */
bool mw_group_visit_processes(const char *dir, mw_group_process_visitor *visit, void *context);

/* Visits all processes in dir and below. False: a visitor has put an end to it. */
bool mw_group_walk_processes(const char *dir, mw_group_process_visitor *visit, void *context);

#endif
