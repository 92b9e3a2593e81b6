/* SPDX-License-Identifier: MIT
 *
 * Where libmemwatch.so is, and the environment that loads it into a program, an allocator beneath it.
 */
#ifndef MW_LIBRARY_H
#define MW_LIBRARY_H

#include <stddef.h>

#include "error.h"

/* Finds the library next to this program: as installed, or in a build tree. */
bool mw_library_find(char *path, size_t capacity_bytes, struct mw_error *error);

/* Copies the path of a library's file, if LD_PRELOAD can hold it. */
bool mw_library_take(const char *file, char *path, size_t capacity_bytes, struct mw_error *error);

/* A copy of `environment` with the library in front of what LD_PRELOAD holds, unless it is there already. With an
 * allocator both stand in front, whatever is there: it is to serve what the library forwards, and of a file that is
 * listed twice the loader heeds the first. Either may be NULL: it is not preloaded. The copy is the caller's for the
 * life of the program: it is not freed. */
char **mw_library_environment(char *const *environment, const char *library, const char *allocator);

#endif
