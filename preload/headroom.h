/* SPDX-License-Identifier: MIT
 *
 * How much may be allocated before the monitor has to look at the limit: time alone does not tell, for a program can
 * fill hundreds of MiB in the second between two looks. Threads take from it in portions, on their slow path; the one
 * that uses it up wakes the monitor, which looks and sets it anew.
 *
 * Any thread, no lock, async-signal-safe.
 */
#ifndef MW_HEADROOM_H
#define MW_HEADROOM_H

#include <stdbool.h>
#include <stdint.h>

#define MW_HEADROOM_UNLIMITED INT64_MAX

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern int64_t mw_headroom_bytes;
#pragma GCC visibility pop

void mw_headroom_take_portion(uint64_t bytes);

/* So much has been allocated, or is about to be. */
static inline void mw_headroom_take(uint64_t bytes)
{
    if (__builtin_expect(__atomic_load_n(&mw_headroom_bytes, __ATOMIC_RELAXED) != MW_HEADROOM_UNLIMITED, 0))
        mw_headroom_take_portion(bytes);
}

/* UINT64_MAX: unlimited. */
void mw_headroom_set(uint64_t bytes);
bool mw_headroom_is_spent(void);

#endif
