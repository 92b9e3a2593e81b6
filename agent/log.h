/* SPDX-License-Identifier: MIT
 *
 * Where memwatch-run's own lines go: standard error, a file, or the journal. One line is one write, so that lines of
 * several writers do not mix. Before mw_log_open, and where it fails, it is standard error. One thread.
 */
#ifndef MW_LOG_H
#define MW_LOG_H

#include <stdbool.h>

#include "error.h"

/* "stderr", "journal", or the path of a file, which is appended to. quiet: mw_say says nothing from now on. */
bool mw_log_open(const char *target, bool quiet, struct mw_error *error);

/* A whole line as it is, whatever quiet says. */
void mw_log_line(const char *line);

/* For what another program is to write there; it is closed on exec. */
int mw_log_fd(void);

/* What is good to know … */
void mw_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* … and what must be known: it went wrong, or is not as asked for. */
void mw_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
