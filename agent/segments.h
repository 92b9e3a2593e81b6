/* SPDX-License-Identifier: MIT
 *
 * Where segments are: in the maps of the processes that write them, and, of those that are dead, in their directory.
 *
 * A watched process is found by what it maps, not by a name that is agreed on, so that it is found in other containers
 * too. Nothing that is found is trusted: paths are opened inside the process's own root, without following links out
 * of it, and must be regular files of this user's, unless that is root.
 *
 * Descriptors and lists are the caller's. Any thread.
 */
#ifndef MW_SEGMENTS_H
#define MW_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "segment.h"

#define MW_SEGMENTS_PATH_BYTES 4096

/* So that tests can have their own. */
struct mw_segments_places {
    const char *proc;      /* "/proc" */
    const char *directory; /* in which the directories memwatch-UID stand */
};

/* The real ones: the directory is what MEMWATCH_DIR says, or else MW_SEGMENT_DIRECTORY. */
struct mw_segments_places mw_segments_places(void);

/* PID-STARTTICKS-PIDNAMESPACE.mw */
struct mw_segment_name {
    int pid; /* in its own namespace */
    uint64_t start_ticks;
    uint64_t pid_namespace;
};

/* From the last part of a path, which may be all of it. */
bool mw_segment_name_parse(const char *path, struct mw_segment_name *name);

/* The segment that a process maps, opened to be read. -1: *error says why, with errno ENOENT where there is no such
 * process, ENODATA where it is not watched. */
int mw_segments_open_process(const struct mw_segments_places *places, int pid, char path[MW_SEGMENTS_PATH_BYTES],
                             struct mw_error *error);

/* A segment by its path. */
int mw_segments_open_file(const char *path, struct mw_error *error);

/* Does the process still live that has this name? Only to be asked of this PID namespace: false for another. */
bool mw_segments_is_alive(const struct mw_segments_places *places, const struct mw_segment_name *name);
bool mw_segments_is_ours(const struct mw_segments_places *places, uint64_t pid_namespace);

struct mw_segments_dead {
    char *path;
    struct mw_segment_name name;
};

struct mw_segments_list {
    int *pids; /* watched processes, ascending */
    size_t pid_count;
    struct mw_segments_dead *dead; /* by path */
    size_t dead_count;
};

/* Watched processes that this user may look into. */
bool mw_segments_find_watched(const struct mw_segments_places *places, struct mw_segments_list *list,
                              struct mw_error *error);

/* Segments that dead processes of this PID namespace left, the user's own, or everybody's where it is root. */
bool mw_segments_find_dead(const struct mw_segments_places *places, struct mw_segments_list *list,
                           struct mw_error *error);

void mw_segments_list_free(struct mw_segments_list *list);

#endif
