/* SPDX-License-Identifier: MIT
 *
 * What is said to systemd and what its answers mean. Pure; any thread.
 */
#ifndef MW_SCOPE_TEXT_H
#define MW_SCOPE_TEXT_H

#include <sys/types.h>

#include "error.h"
#include "text.h"

/* memwatch-PID.scope */
void mw_scope_unit_name(struct mw_text *out, pid_t pid);

/* "memwatch-run COMMAND": what is not printable ASCII becomes "?", since D-Bus takes UTF-8 alone. */
void mw_scope_description(struct mw_text *out, const char *command);

/* The D-Bus address of a socket: unix:path=PATH, escaped. */
void mw_scope_address(struct mw_text *out, const char *path);

/* A D-Bus error as a sentence. Returns false. */
bool mw_scope_refusal(struct mw_error *error, const char *name, const char *message, const char *unit);

/* The result of systemd's job. True: "done". */
bool mw_scope_job_result(struct mw_error *error, const char *result, const char *unit);

#endif
