/* SPDX-License-Identifier: MIT
 *
 * The part of a report that tells what happened last. As report.h.
 */
#ifndef MW_REPORT_EVENTS_H
#define MW_REPORT_EVENTS_H

#include <stdio.h>

#include "report.h"

#define MW_REPORT_EVENTS 10 /* that are told at most */

/* The last events of a view, at most `most` of them, the newest last; only those about memory, where that is asked.
 * Fills `chosen` with their places in view->events; returns how many. */
size_t mw_report_choose_events(const struct mw_segment_view *view, bool about_memory, size_t most, size_t *chosen);

/* The profile's stack that an event names; SIZE_MAX: it names none, or it is not in the profile. */
size_t mw_report_event_stack(const struct mw_report *report, const struct mw_segment_event *event);

/* With a heading, and the stacks of allocations that failed. */
void mw_report_print_events(const struct mw_report *report, FILE *out);

/* A line each, without a heading. */
void mw_report_print_last_events(const struct mw_report *report, size_t most, FILE *out);

#endif
