/* SPDX-License-Identifier: MIT
 *
 * A profile in pprof's format, gzipped, as go tool pprof, Pyroscope, Parca and Speedscope read it. Pure: bytes out.
 *
 * Values are scaled up already. Addresses are those of the calls, not of where they return to, so that whoever looks
 * them up later need not know; mappings carry build ids for that.
 */
#ifndef MW_PPROF_H
#define MW_PPROF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "error.h"
#include "profile.h"
#include "symbols.h"

/* The order of a sample's values. */
enum { MW_PPROF_ALLOC_OBJECTS, MW_PPROF_ALLOC_BYTES, MW_PPROF_LIVE_OBJECTS, MW_PPROF_LIVE_BYTES, MW_PPROF_VALUES };

#define MW_PPROF_LABEL_KIND "kind" /* of a sample; "mmap" for the program's own mappings, else there is none */
#define MW_PPROF_KIND_MMAP  "mmap"

struct mw_pprof_wishes {
    unsigned shown_first;           /* which of the values a reader is to show if it is not told */
    const struct mw_profile *since; /* an earlier one of the same segment, from which only the difference is wanted */
};
#define MW_PPROF_ALL ((struct mw_pprof_wishes){.shown_first = MW_PPROF_LIVE_BYTES})

/* The caller frees *bytes. */
bool mw_pprof_pack(const struct mw_profile *profile, struct mw_symbols *symbols, const struct mw_pprof_wishes *wishes,
                   void **bytes, size_t *count, struct mw_error *error);

/* The same as the text that Go's net/http/pprof gives for ?debug=1: counts and addresses of each stack, for pprof, and
 * behind # what they are called, for people. */
void mw_pprof_print(const struct mw_profile *profile, struct mw_symbols *symbols, FILE *out);

#endif
