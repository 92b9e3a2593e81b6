/* SPDX-License-Identifier: MIT
 *
 * A profile back out of pprof's format, as mw_pprof_pack makes it, so that one that was put by can be compared. What
 * other tools write in that format is taken too where it has the four kinds of values.
 *
 * The file is hostile input: every index is checked, and what it unpacks to is bounded. Belongs to its reader, one
 * thread at a time, until mw_pprof_read_free.
 */
#ifndef MW_PPROF_READ_H
#define MW_PPROF_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"
#include "profile.h"
#include "walk.h"

struct mw_pprof_read {
    struct mw_profile profile;  /* without samples and history; frames are numbers that only the namer knows */
    struct mw_symbol **symbols; /* one a location */
    struct mw_namer namer;      /* valid while the struct stays where it is */
    void *message;
};

/* Does it begin as such a file does? */
bool mw_pprof_is_one(const void *bytes, size_t count);

/* False: *read holds nothing; the text is a predicate ("is no profile…"). */
bool mw_pprof_read(const void *bytes, size_t count, struct mw_pprof_read *read, struct mw_error *error);
void mw_pprof_read_free(struct mw_pprof_read *read);

#endif
