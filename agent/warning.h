/* SPDX-License-Identifier: MIT
 *
 * When to warn that a limit is near, before anything is killed for it: pure. Readings and the time go in; what to say,
 * and when to look again, come out.
 *
 * What counts as used is the working set: file cache that can simply be dropped brings nobody near a kill. Where the
 * kernel tells when usage crosses a mark (v1) nothing is looked at as long as usage is below it. Elsewhere the time to
 * the next look follows from how fast the program has grown, and gets ever longer while nothing moves.
 */
#ifndef MW_WARNING_H
#define MW_WARNING_H

#include <stdbool.h>
#include <stdint.h>

#include "text.h"

#define MW_WARNING_NEVER      UINT64_MAX
#define MW_WARNING_SOONEST_NS UINT64_C(50000000)          /* from one look to the next */
#define MW_WARNING_USUAL_NS   UINT64_C(1000000000)        /* the longest, while anything moves … */
#define MW_WARNING_REST_NS    (16 * UINT64_C(1000000000)) /* … and while nothing does */
#define MW_WARNING_APART_NS   (60 * UINT64_C(1000000000)) /* warnings that a limit is near */
#define MW_WARNING_PRESSURE_NS                                                                                         \
    (10 * 60 * UINT64_C(1000000000)) /* … that it waits for memory; not after one of the others */
#define MW_WARNING_GROWTH_NS (10 * 60 * UINT64_C(1000000000)) /* an older look tells nothing about growth */

struct mw_warning_reading {
    uint64_t working_set_bytes;
    uint64_t usage_bytes; /* with all file cache */
    uint64_t limit_bytes; /* 0: none */
    bool is_pressed;      /* the kernel has told since the last reading that the program waits for memory */
};

enum mw_warning_reason { MW_WARNING_NONE, MW_WARNING_LIMIT, MW_WARNING_PRESSURE };

/* All times are of CLOCK_MONOTONIC. */
struct mw_warning {
    uint64_t at_bytes;    /* warn when so much is used */
    uint64_t again_bytes; /* once it has been less than that, again */
    bool is_told;         /* set it where the kernel tells when usage crosses one of them */

    bool has_warned;
    uint64_t warned_ns; /* 0: never */
    uint64_t pressed_ns;
    bool has_looked;
    uint64_t looked_ns;
    uint64_t looked_bytes;
    uint64_t pause_ns; /* the last one */
};

struct mw_warning_step {
    enum mw_warning_reason reason;
    uint64_t growth_bytes_s; /* bytes a second since the last look; 0: none, or not known */
    uint64_t look_ns;        /* when to look again; MW_WARNING_NEVER: when the kernel tells */
};

/* again_bytes becomes a tenth of the limit less than at_bytes. */
void mw_warning_begin(struct mw_warning *warning, uint64_t at_bytes, uint64_t limit_bytes);

struct mw_warning_step mw_warning_step(struct mw_warning *warning, const struct mw_warning_reading *reading,
                                       uint64_t now_ns);

/* What is said of a step with a reason, without a newline: a sentence, or one JSON object. */
void mw_warning_text(struct mw_text *out, const struct mw_warning_step *step, const struct mw_warning_reading *reading,
                     const char *program, int pid);
void mw_warning_json(struct mw_text *out, const struct mw_warning_step *step, const struct mw_warning_reading *reading,
                     const char *program, int pid);

#endif
