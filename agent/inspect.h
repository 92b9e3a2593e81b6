/* SPDX-License-Identifier: MIT
 *
 * A target with all that is made of it: its profile, and names for its addresses. What the commands about memory's
 * holders begin with.
 *
 * Belongs to its opener, one thread at a time, until mw_inspect_close.
 */
#ifndef MW_INSPECT_H
#define MW_INSPECT_H

#include "symbols.h"
#include "target.h"
#include "walk.h"

struct mw_inspect {
    struct mw_target target;
    struct mw_profile profile;
    struct mw_symbols *symbols;
    struct mw_namer namer;
};

/* word: a PID or a segment's path. False: *inspect holds nothing. A target without a profile is an error too. */
bool mw_inspect_open(const char *word, enum mw_symbols_effort effort, struct mw_inspect *inspect,
                     struct mw_error *error);

/* Says on standard error which modules' names were not to be had because their files have changed. */
void mw_inspect_say_other_builds(const struct mw_inspect *inspect);

void mw_inspect_close(struct mw_inspect *inspect);

#endif
