/* SPDX-License-Identifier: MIT
 *
 * The ways to count a call. Each forwards to the allocator beneath with its arguments unchecked and its result, errno
 * included, untouched, and counts what was set aside, measured in its own way, on both sides.
 *
 *   glibc   reads the size from glibc's own chunk header, after a proof that the header is what it takes it for
 *   usable  asks malloc_usable_size: right above every allocator
 */
#ifndef MW_PATH_H
#define MW_PATH_H

#include <stdbool.h>

#include "counters.h"
#include "real.h"

struct mw_path {
#define MW_PATH_MEMBER(result, name, parameters, arguments) result(*name) parameters;
    MW_HEAP_FUNCTIONS(MW_PATH_MEMBER)
#undef MW_PATH_MEMBER
    struct mw_measure measure;
    int64_t grant; /* the largest weight that the fast path may count: see struct mw_counters */
};

extern const struct mw_path mw_path_glibc;
extern const struct mw_path mw_path_usable;

/* glibc maps blocks from a threshold on, each by itself, and notes their size in another way, which the fast path does
 * not look for: it is kept from weights that can be such a block's. A mapped block weighs a page at least. To be called
 * when the threshold is set (mallopt) and at the start, for what the environment says of it. */
void mw_path_glibc_threshold(size_t threshold_bytes);
void mw_path_glibc_read_environment(char *const *environment);

/* Is glibc's malloc right beneath us, with headers as we read them? Allocates and frees some blocks. */
bool mw_path_glibc_fits(void);

#endif
