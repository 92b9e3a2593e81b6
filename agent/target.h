/* SPDX-License-Identifier: MIT
 *
 * What a command is about: a watched process, by its pid, or a segment that one has left behind, by its path. Opened,
 * read and checked. A pid whose process is gone finds the segment that it left.
 *
 * The target belongs to its opener, one thread at a time, until mw_target_close.
 */
#ifndef MW_TARGET_H
#define MW_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "segment_view.h"
#include "segments.h"

struct mw_target {
    int fd;
    int pid;       /* as the process is called here; 0: a path was given, and it is of another PID namespace */
    bool is_alive; /* as far as can be known from here */
    char path[MW_SEGMENTS_PATH_BYTES]; /* what was opened */
    char name[256];                    /* for messages: "process 1234 (app)", "/dev/shm/…" */
    struct mw_segment_view view;
};

/* word: digits are a pid, all else is a path. False: *target holds nothing. */
bool mw_target_open(const char *word, struct mw_target *target, struct mw_error *error);
void mw_target_close(struct mw_target *target);

/* "alive", "ended" (by itself), "dead". */
const char *mw_target_state(const struct mw_target *target);

/* How long the process has lived, or had when its segment was last written. */
uint64_t mw_target_age_ns(const struct mw_target *target);

/* The same as mw_target_open in places of the caller's own. */
bool mw_target_open_at(const struct mw_segments_places *places, const char *word, struct mw_target *target,
                       struct mw_error *error);

#endif
