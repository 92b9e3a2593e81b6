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

/* One thread's memory of its last walk, the outermost frame first, so that it grows and shrinks at its end as the stack
 * does. The outer frames are mostly those of the last time: where the walk comes upon a frame that it knows, and the
 * words further out are what they were, the rest is known. {0} at first; it holds only what can be found again. */
#define MW_UNWIND_DEPTH 64 /* frames that are asked for */
#define MW_UNWIND_STEPS                                                                                                \
    128                  /* more, so that a deep stack may shrink for a while before it is walked to the end again     \
                          */
#define MW_UNWIND_WAYS 4 /* from here out to the program: malloc's, realloc's … */
#define MW_UNWIND_OWN  7

struct mw_unwind_memory {
    unsigned count;
    bool is_whole;       /* the outermost of the steps is the outermost that there is */
    bool is_lost;        /* or as far as the stack can be followed */
    uint32_t generation; /* of what was known of the modules */
    unsigned next_way;
    struct mw_unwind_way {
        uint32_t length_bytes; /* from here to the program's frame; 0: unknown */
        uint32_t fp_at_bytes;  /* where the program's frame pointer is saved; 0: it is in its register still */
        unsigned count;
        struct mw_unwind_own {
            uint32_t at_bytes;
            uintptr_t pc;
        } frames[MW_UNWIND_OWN];
    } ways[MW_UNWIND_WAYS];
    /* What is looked at each time: where each frame's return address stands, and what it is. */
    struct mw_unwind_word {
        uintptr_t at; /* with the lowest bit set: the frame pointer has to be looked at, too */
        uintptr_t pc;
    } words[MW_UNWIND_STEPS];
    struct mw_unwind_step {
        uintptr_t sp;
        uintptr_t pc; /* stands right below sp */
        uintptr_t fp;
        uintptr_t fp_at; /* 0: as in the step further in; 1: this step cannot be made again by looking at two words */
        uint64_t key;    /* tells this step and those further out that are here */
        bool uses_fp;    /* the next step is by the frame pointer */
        bool fp_matters; /* it or a later one is, by this value: mostly the register holds something else */
    } steps[MW_UNWIND_STEPS], fresh[MW_UNWIND_STEPS];
};

/* Once, at the start: finds what the loader offers; takes its lock. */
void mw_unwind_start(enum mw_unwind_kind kind);

/* Fills frames; returns how many. *truncated: the stack goes on. */
unsigned mw_unwind(uint64_t *frames, unsigned capacity, bool *truncated);

/* The same with a memory. Returns a key that tells the stack, as well as 64 bits can; then the frames can be had, which
 * are MW_UNWIND_DEPTH at most. A memory is used by one thread, and not by a signal handler that comes in between. */
uint64_t mw_unwind_again(struct mw_unwind_memory *memory);
unsigned mw_unwind_remembered(const struct mw_unwind_memory *memory, uint64_t *frames, bool *truncated);

#endif
