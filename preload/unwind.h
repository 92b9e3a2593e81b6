/* SPDX-License-Identifier: MIT
 *
 * The calling thread's stack: return addresses, the innermost first, from the first frame outside of this library.
 *
 * Not by libunwind: here nothing waits, allocates, opens or maps, no symbol is shared with an unwinder of the
 * program's, and no frame of a stack that is not what it seems is believed: every word is read only from pages that are
 * known to be readable, upwards. Frames are found by the modules' own unwind tables (.eh_frame_hdr, .eh_frame; LSB
 * Core, DWARF 4 section 6.4), reached through _dl_find_object, which takes no lock (glibc 2.35); what a return address
 * says is remembered. Code without tables, compiled at run time, is followed by frame pointers. A stack that cannot be
 * followed further is short, and says so.
 *
 * x86_64; elsewhere by frame pointers. Any thread, async-signal-safe, errno is left alone.
 */
#ifndef MW_UNWIND_H
#define MW_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

/* A module as the loader tells of it: where it is mapped, and its link map. */
struct mw_unwind_module {
    uintptr_t start;
    uintptr_t end;
    const void *link_map; /* struct link_map */
};

/* Once, at the start: finds what the loader offers; takes its lock. */
void mw_unwind_start(enum mw_unwind_kind kind);

/* Fills frames; returns how many. *truncated: the stack goes on. */
unsigned mw_unwind(uint64_t *frames, unsigned capacity, bool *truncated);

/* The module in which the address lies. False: none, or this loader does not tell. */
bool mw_unwind_module_of(uintptr_t address, struct mw_unwind_module *module);

/* Modules have been unloaded: what was remembered of their addresses is forgotten. */
void mw_unwind_forget(void);

#endif
