/* SPDX-License-Identifier: MIT
 *
 * A sorted set of address ranges, each either data or not. Pure but for the memory it grows into, which it maps
 * itself. One thread at a time.
 */
#ifndef MW_RANGES_H
#define MW_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mw_range {
    uintptr_t start;
    uintptr_t end : 63;
    uintptr_t is_data : 1;
};

struct mw_ranges {
    struct mw_range *items;
    size_t count;
    size_t capacity;
    uint64_t bytes;
    uint64_t data_bytes;
};

/* Makes [start, end) one range of the set, whatever was there before. False: no memory; the set may then lack it. */
bool mw_ranges_add(struct mw_ranges *set, uintptr_t start, uintptr_t end, bool is_data);

/* Cuts [start, end) out of the set. False: no memory to split a range; the set then lacks its upper part too. */
bool mw_ranges_remove(struct mw_ranges *set, uintptr_t start, uintptr_t end);

/* Is the byte at that address data? False where it is not in the set. */
bool mw_ranges_is_data(const struct mw_ranges *set, uintptr_t address);

#endif
