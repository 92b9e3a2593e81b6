/* SPDX-License-Identifier: MIT
 *
 * Where libmemwatch.so is, and the environment that loads it into a program.
 */
#ifndef MW_LIBRARY_H
#define MW_LIBRARY_H

#include <stddef.h>

#include "error.h"

/* Finds the library next to this program: as installed, or in a build tree. */
bool mw_library_find(char *path, size_t capacity_bytes, struct mw_error *error);

/* A copy of `environment` with the library in front of what LD_PRELOAD holds, unless it is there already, and `limit`
 * (NULL: leave it) as MEMWATCH_LIMIT. library may be NULL: nothing is preloaded. The copy is the caller's for the
 * life of the program: it is not freed. */
char **mw_library_environment(char *const *environment, const char *library, const char *limit);

#endif
