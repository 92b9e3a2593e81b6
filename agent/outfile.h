/* SPDX-License-Identifier: MIT
 *
 * A result, written whole or not at all: under a temporary name beside its own, and then renamed.
 *
 * "-" is standard output; what is there already and is no regular file (a FIFO, /dev/stdout) is written into. Any
 * thread.
 */
#ifndef MW_OUTFILE_H
#define MW_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

bool mw_outfile_write(const char *path, const void *bytes, size_t count, struct mw_error *error);

#endif
