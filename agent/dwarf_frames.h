/* SPDX-License-Identifier: MIT
 *
 * One module's addresses to frames, by libdw: its debug information where it has it, else its symbol table.
 *
 * The handle is the caller's and must outlive the struct. One thread at a time.
 */
#ifndef MW_DWARF_FRAMES_H
#define MW_DWARF_FRAMES_H

#include <elfutils/libdwfl.h>

#include "symbols.h"

struct mw_dwarf;

/* use_debug_information: false, and only the symbol table is looked at. */
struct mw_dwarf *mw_dwarf_new(Dwfl_Module *handle, bool use_debug_information);
void mw_dwarf_free(struct mw_dwarf *dwarf);

/* The frames at an address of the handle's; NULL: it is in no function that is known. Free it with free; what it
 * points to lives as long as the struct and the handle. */
struct mw_symbol *mw_dwarf_find(struct mw_dwarf *dwarf, uint64_t address);

#endif
