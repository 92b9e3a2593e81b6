/* SPDX-License-Identifier: MIT
 *
 * What has happened to a process, by its segment's log, in words and as JSON. Pure: an event in, text out; every value
 * of one may be anything. Any thread.
 */
#ifndef MW_EVENTS_H
#define MW_EVENTS_H

#include <stdbool.h>

#include "segment.h"
#include "text.h"

/* Does it tell of memory that was short: a trim, an allocation that failed, pressure, usage near the limit? */
bool mw_event_is_about_memory(const struct mw_segment_event *event);

/* "past the limit of 60 MiB, trim: 12 MiB came back in 3 ms, RSS 70 MiB -> 58 MiB": without a time, on one line. */
void mw_event_describe(struct mw_text *out, const struct mw_segment_event *event);

/* "Event":"trim","Reason":"limit",… without braces: keys as in the JSON lines. */
void mw_event_put_members(struct mw_text *out, const struct mw_segment_event *event);

/* The stack that the event names; 0: none. */
uint64_t mw_event_stack(const struct mw_segment_event *event);

#endif
