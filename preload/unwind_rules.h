/* SPDX-License-Identifier: MIT
 *
 * What a code address says of the frame that it stands in, by its module's unwind tables; and which module that is.
 * What has been looked up is remembered.
 *
 * Modules are found by _dl_find_object, which takes no lock (glibc 2.35); with an older libc there are none. Any
 * thread, async-signal-safe, errno is left alone. The address stands on the stack of whoever asks, so that its module
 * is loaded.
 */
#ifndef MW_UNWIND_RULES_H
#define MW_UNWIND_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cfi.h"

/* A module as the loader tells of it: where it is mapped, and its link map. */
struct mw_unwind_module {
    uintptr_t start;
    uintptr_t end;
    const void *link_map; /* struct link_map */
};

/* Once, at the start. */
void mw_rules_start(void);

/* The module in which the address lies. False: none, or this loader does not tell. */
bool mw_unwind_module_of(uintptr_t address, struct mw_unwind_module *module);

/* Modules have been unloaded: what was remembered of their addresses is forgotten. */
void mw_unwind_forget(void);

#define MW_RULES_REMEMBERED 4096 /* a power of two */

#pragma GCC visibility push(hidden) /* or the compiler would look for them in the global offset table */
/* Each in its place or next door; shared by all threads without a lock: the first word is the address and the second
 * combined, so that a pair of which two threads wrote one half each fits no address. */
extern struct mw_remembered_rule {
    uint64_t mixed;
    uint64_t rule;
} mw_rules_remembered[MW_RULES_REMEMBERED];

/* Goes up when what was remembered may not hold any more. */
extern uint32_t mw_rules_generation;
#pragma GCC visibility pop

static inline size_t mw_rules_place_of(uintptr_t address)
{
    return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
}

_Static_assert(MW_RULES_REMEMBERED == 1 << (64 - 52), "a place is 12 bits");

/* What it says, if it is remembered in that place; else 0. */
static inline uint64_t mw_rules_recall(size_t place, uintptr_t address)
{
    uint64_t mixed = __atomic_load_n(&mw_rules_remembered[place].mixed, __ATOMIC_RELAXED);
    uint64_t packed = __atomic_load_n(&mw_rules_remembered[place].rule, __ATOMIC_RELAXED);
    return (mixed ^ packed) == address ? packed : 0;
}

uint64_t mw_rules_learn(uintptr_t address);

/* The rule of that address, packed (cfi.h). It lies in the call, or is where a signal came. */
static inline __attribute__((always_inline)) uint64_t mw_rule_of(uintptr_t address)
{
    uint64_t packed = mw_rules_recall(mw_rules_place_of(address), address);
    return __builtin_expect(packed != 0, 1) ? packed : mw_rules_learn(address);
}

#endif
