/* SPDX-License-Identifier: MIT
 *
 * Allocators that can be preloaded beneath libmemwatch.so, and where their libraries are.
 *
 * The loader is not asked: to dlopen an allocator is to run it, and jemalloc cannot be loaded so late on every system
 * (its thread-local storage has no room then). Its usual directories are gone through instead.
 */
#ifndef MW_ALLOCATOR_H
#define MW_ALLOCATOR_H

#include <stddef.h>

#include "error.h"

enum mw_allocator { MW_ALLOCATOR_GLIBC, MW_ALLOCATOR_JEMALLOC, MW_ALLOCATOR_TCMALLOC, MW_ALLOCATOR_MIMALLOC };

/* By its name, such as "jemalloc". Returns 0, or -EINVAL. */
int mw_allocator_parse(const char *name, enum mw_allocator *out);

/* Finds the library of an allocator other than glibc's: first in the directories of library_path (an LD_LIBRARY_PATH,
 * or NULL), then in the system's, which lie below `root` ("": those of this machine). */
bool mw_allocator_find(enum mw_allocator allocator, const char *root, const char *library_path, char *path,
                       size_t capacity_bytes, struct mw_error *error);

#endif
