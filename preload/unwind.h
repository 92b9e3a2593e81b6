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

/* What one walk has seen: for each frame where the walk was then, and where the words stood that led on. */
#define MW_UNWIND_STEPS 80 /* our own frames and 64 of the program's */
struct mw_unwind_trail {
    unsigned count;
    unsigned own; /* leading ones, of this library */
    bool is_truncated;
    uint32_t generation; /* of what was known of the modules */
    struct mw_unwind_step {
        uintptr_t sp;
        uintptr_t pc; /* stands right below sp */
        uintptr_t fp;
        uintptr_t fp_at; /* 0: as in the step before; 1: this step cannot be made again by looking at two words */
        bool uses_fp;    /* the next step is by the frame pointer */
        bool fp_matters; /* it or a later one is, by this value: mostly the register holds something else */
    } steps[MW_UNWIND_STEPS];
};

/* One thread's memory of its last walk. The outer frames of a stack are mostly those of the last time: where the walk
 * comes upon a frame that it knows, and the words further out are what they were, the rest is known. {0} at first. */
struct mw_unwind_memory {
    struct mw_unwind_trail trails[2];
    unsigned current;
    bool is_busy;    /* this thread is at it, and a signal handler has come in between */
    uint32_t number; /* the caller's, of the stack that the current trail is of */
};

/* Once, at the start: finds what the loader offers; takes its lock. */
void mw_unwind_start(enum mw_unwind_kind kind);

/* Fills frames; returns how many. *truncated: the stack goes on. */
unsigned mw_unwind(uint64_t *frames, unsigned capacity, bool *truncated);

/* The same with a memory, which is not busy. Returns how many frames there are, or, where the stack is the same to the
 * last frame as that of the memory's number, MW_UNWIND_SAME. */
#define MW_UNWIND_SAME UINT32_MAX
unsigned mw_unwind_again(struct mw_unwind_memory *memory, uint64_t *frames, unsigned capacity, bool *truncated);

/* The module in which the address lies. False: none, or this loader does not tell. */
bool mw_unwind_module_of(uintptr_t address, struct mw_unwind_module *module);

/* Modules have been unloaded: what was remembered of their addresses is forgotten. */
void mw_unwind_forget(void);

#endif
