/* SPDX-License-Identifier: MIT
 *
 * A descriptor whose lines become entries of systemd's journal. By libsystemd, which is loaded for that moment only:
 * memwatch-run is to be small where nobody asks for it.
 */
#ifndef MW_JOURNAL_H
#define MW_JOURNAL_H

#include "error.h"

/* Closed on exec. -1: there is no journal, or no libsystemd. */
int mw_journal_open(const char *identifier, struct mw_error *error);

#endif
