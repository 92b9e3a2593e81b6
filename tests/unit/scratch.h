/* SPDX-License-Identifier: MIT
 *
 * A directory of a test's own, gone with it. The state of a test set up with scratch_setup is its path.
 */
#ifndef MW_SCRATCH_H
#define MW_SCRATCH_H

#include <stddef.h>

int scratch_setup(void **state);
int scratch_teardown(void **state);

/* dir/name in static memory, which the eighth call after overwrites. */
const char *scratch_path(const char *dir, const char *name);

/* Makes a file, and the directories above it; what was there is replaced in place. Returns its path as above. */
const char *scratch_write(const char *dir, const char *name, const char *content);

/* What a file holds, in static memory that the next call overwrites. */
const char *scratch_read(const char *path);

/* How many descriptors this process has open. */
unsigned open_descriptors(void);

#endif
