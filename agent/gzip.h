/* SPDX-License-Identifier: MIT
 *
 * Bytes in the gzip format. Pure; any thread.
 */
#ifndef MW_GZIP_H
#define MW_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

enum mw_gzip_effort { MW_GZIP_FAST, MW_GZIP_SMALL };

/* The caller frees *bytes. */
bool mw_gzip(const void *plain, size_t plain_bytes, enum mw_gzip_effort effort, void **bytes, size_t *count,
             struct mw_error *error);

#endif
