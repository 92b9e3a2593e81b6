/* SPDX-License-Identifier: MIT
 *
 * Where the monitor's lines go. A line is written whole or counted as dropped; the program is never held up, never
 * gets a signal, and a descriptor that is no longer what it was at the start is not written to.
 *
 * Standard output and error are the program's: no copy of them is kept, which would hold a pipe open behind it.
 * One thread at a time, with SIGPIPE blocked. No allocation, no errno.
 */
#ifndef MW_OUTPUT_H
#define MW_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "heldfile.h"
#include "options.h"

struct mw_output {
    struct mw_output_target target;
    struct mw_held_file file; /* for a path: held; for a descriptor: what it was */
    bool in_line;             /* the last write broke off within a line */
};

/* Returns 0 or a negative errno value; the output then drops every line. */
int mw_output_open(struct mw_output *output, struct mw_output_target target);

/* Writes a line. False: it was dropped. */
bool mw_output_write(struct mw_output *output, const char *line, size_t count);

#endif
