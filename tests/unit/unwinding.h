/* SPDX-License-Identifier: MIT
 *
 * The unwinder in a library of its own, as it is in ours: its own frames are told from the program's by where they lie.
 */
#ifndef MW_UNWINDING_H
#define MW_UNWINDING_H

#include "unwind.h"

#define EXPORT __attribute__((visibility("default")))

struct unwound {
    uint64_t frames[MW_UNWIND_DEPTH];
    unsigned depth;
    bool is_truncated;
};

EXPORT void unwinding_start(void);
EXPORT void unwinding_forget(void);

/* The caller's stack, walked as a whole and with a memory. Returns the latter's key. */
EXPORT uint64_t unwinding_both(struct mw_unwind_memory *memory, struct unwound *whole, struct unwound *again);

#endif
