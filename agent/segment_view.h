/* SPDX-License-Identifier: MIT
 *
 * A segment, read: a private copy of a file's bytes, checked, so that whoever looks into it can trust every count,
 * every string and every link. The file itself is hostile: anyone can write one, and its process writes on meanwhile.
 *
 * What does not make sense as a whole is refused; what is amiss in one entry (a module without an end, a chain that
 * runs in a circle) is left out and counted as damage. A process that SIGKILL has cut short leaves such entries.
 *
 * The view belongs to its reader, one thread at a time, until mw_segment_view_free. An error's text is a predicate
 * ("is not a memwatch segment"): the caller knows what the file is called and puts that before it.
 */
#ifndef MW_SEGMENT_VIEW_H
#define MW_SEGMENT_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"
#include "error.h"
#include "segment.h"

struct mw_segment_view {
    struct mw_segment_header header; /* its strings are terminated and printable, its counts within the capacities */

    struct mw_totals totals; /* the slots' counters, summed as their process sums them: live is never below 0 */
    uint64_t samples_chosen;

    struct mw_segment_snapshot snapshot; /* time_unix_ns 0: there was no tick yet; its strings as the header's */
    bool snapshot_is_torn;               /* it was being written whenever it was read, or when its process died */
    struct mw_segment_control control;

    /* In order, the oldest first, those that are whole. */
    struct mw_segment_event *events;
    size_t event_count;
    struct mw_segment_row *seconds;
    size_t second_count;
    struct mw_segment_row *minutes;
    size_t minute_count;

    struct mw_segment_module *modules;
    size_t module_count;

    uint64_t *stack_words; /* the section, as far as it was used */
    uint32_t *stacks;      /* the numbers of those that are published, ascending */
    size_t stack_count;

    struct mw_segment_sample *samples; /* live ones, each with a stack of the above */
    size_t sample_count;

    uint64_t moment_unix_ns; /* the latest time that the segment itself tells of */
    size_t damaged;          /* entries that were left out because they make no sense */
};

/* Reads a segment, also one that is being written. False: *view holds nothing. */
bool mw_segment_read(int fd, struct mw_segment_view *view, struct mw_error *error);

/* Only the header, the totals and the snapshot, all else empty: for one who looks at many processes every few seconds.
 * It does not wait: a snapshot that is being written is torn. Nothing is to be freed. */
bool mw_segment_read_figures(int fd, struct mw_segment_view *view, struct mw_error *error);

void mw_segment_view_free(struct mw_segment_view *view);

/* A published stack by its number. */
const struct mw_segment_stack *mw_segment_view_stack(const struct mw_segment_view *view, uint32_t number);

/* Its place in view->stacks; SIZE_MAX: it is not published. */
size_t mw_segment_view_find(const struct mw_segment_view *view, uint32_t number);

/* All statistics: the heap's counters as they are in the slots, exact whenever the process died; the kernel's figures
 * as they were at the monitor's last tick. */
void mw_segment_view_stats(const struct mw_segment_view *view, struct memwatch_stats *stats);

#endif
