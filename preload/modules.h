/* SPDX-License-Identifier: MIT
 *
 * The modules (program and libraries) in which code has been seen, noted in the segment with their build ids, so that
 * addresses can be read after the end. A module is noted when the first stack leads through it: no lock of the loader's
 * is taken, and a library that was opened later is there as soon as it matters.
 *
 * Any thread, no lock, async-signal-safe; the module must be loaded, as it is while its code runs.
 */
#ifndef MW_MODULES_H
#define MW_MODULES_H

#include <stdint.h>

/* Notes the modules of these code addresses. */
void mw_modules_note(const uint64_t *addresses, unsigned count);

/* Those that are loaded at the start; takes the loader's lock. */
void mw_modules_start(void);

#endif
