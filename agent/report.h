/* SPDX-License-Identifier: MIT
 *
 * Who held the memory, told to a person. Pure: a view and its profile in, text out, up to 100 columns wide.
 *
 * One thread at a time. Whether the text could be written is the stream's to tell.
 */
#ifndef MW_REPORT_H
#define MW_REPORT_H

#include <stdio.h>

#include "holders.h"
#include "profile.h"
#include "segment_view.h"
#include "walk.h"

struct mw_report {
    const char *name;  /* "process 1234 (app)" */
    const char *state; /* "alive", "dead" */
    bool is_alive;
    const struct mw_segment_view *view;
    const struct mw_profile *profile;
    struct mw_namer namer;
    unsigned top; /* how many of each to name */
};

/* All there is to say. */
void mw_report_print(const struct mw_report *report, FILE *out);

/* Its figures, the stacks that hold the most and what happened last, as one JSON object and a newline. */
void mw_report_json(const struct mw_report *report, FILE *out);

/* At most 15 lines, for after a death: the callers that held the most, and what the limiter did last. */
void mw_report_post_mortem(const struct mw_report *report, FILE *out);

/* The stacks alone, all of them, the one that holds the most first; by what was ever allocated, where that is asked. */
void mw_report_stacks(const struct mw_report *report, bool allocated, bool objects, FILE *out);

/* ---- parts that other texts share ---- */

/* "42.1 MiB" in static memory, which the eighth call after overwrites. */
const char *mw_report_size(uint64_t bytes);
const char *mw_report_duration(uint64_t ns);

/* A stack's frames from the first that is no plumbing, at most `most`, a line each. */
void mw_report_frames(const struct mw_report *report, size_t stack, unsigned most, const char *indent, FILE *out);

/* "function file:line" without a line end, the function cut off so that all is at most that wide. */
void mw_report_frame(const struct mw_step *step, unsigned width, FILE *out);

#endif
