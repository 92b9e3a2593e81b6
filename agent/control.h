/* SPDX-License-Identifier: MIT
 *
 * Asks a running process for something, through the control section of its segment: to return memory, or to change
 * how it is watched. Its monitor does it.
 *
 * One thread at a time: while it waits, SIGBUS is its own (a process can cut its segment off under our hands).
 */
#ifndef MW_CONTROL_H
#define MW_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "segment_view.h"

struct mw_control_request {
    uint32_t what; /* bits of enum mw_segment_request */
    uint64_t interval_ns;
    uint64_t sample_mean_bytes;
    int64_t limit_bytes; /* INT64_MAX: none */
    int trim_percent;    /* below 0: off */
};

struct mw_control_answer {
    int64_t result; /* of a trim: bytes returned; or a negative errno value */
    uint64_t pause_ns;
};

/* Asks, and waits for the answer, each for at most wait_ns. The descriptor may be one to read; the file is opened anew
 * to be written. False: *error is a predicate ("does not answer: …"). */
bool mw_control_ask(int fd, const struct mw_segment_view *view, const struct mw_control_request *request,
                    uint64_t wait_ns, struct mw_control_answer *answer, struct mw_error *error);

#endif
