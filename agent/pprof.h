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

#include "error.h"
#include "profile.h"
#include "symbols.h"

/* The order of a sample's values. */
enum { MW_PPROF_ALLOC_OBJECTS, MW_PPROF_ALLOC_BYTES, MW_PPROF_LIVE_OBJECTS, MW_PPROF_LIVE_BYTES, MW_PPROF_VALUES };

#define MW_PPROF_LABEL_KIND "kind" /* of a sample; "mmap" for the program's own mappings, else there is none */
#define MW_PPROF_KIND_MMAP  "mmap"

/* The caller frees *bytes. */
bool mw_pprof_pack(const struct mw_profile *profile, struct mw_symbols *symbols, void **bytes, size_t *count,
                   struct mw_error *error);

#endif
