/* SPDX-License-Identifier: MIT
 *
 * Is this the header of a segment that can be read? Pure; any thread.
 */
#ifndef MW_SEGMENT_CHECK_H
#define MW_SEGMENT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "segment.h"

#define MW_SEGMENT_MOST_BYTES (UINT64_C(256) << 20)

/* Checks a copy of the header against the length of its file, terminates its strings and bounds its counts by the
 * capacities. False: *error is a predicate, such as "is of version 7, this memwatch reads version 2". */
bool mw_segment_check_header(struct mw_segment_header *header, uint64_t file_bytes, struct mw_error *error);

/* Terminates a string, and leaves nothing in it that could speak to a terminal: no control characters, neither those
 * of ASCII nor U+0080 to U+009F. */
void mw_segment_make_printable(char *string, size_t capacity_bytes);

#endif
