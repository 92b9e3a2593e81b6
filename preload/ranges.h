/* SPDX-License-Identifier: MIT
 *
 * A sorted set of address ranges, each either data or not, and somebody's or nobody's. Pure but for the memory it grows
 * into, which it maps itself. One thread at a time.
 */
#ifndef MW_RANGES_H
#define MW_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mw_range {
    uintptr_t start;
    uintptr_t end;
    uint32_t owner; /* 0: nobody */
    bool is_data;
};

struct mw_ranges {
    struct mw_range *items;
    size_t count;
    size_t capacity;
    uint64_t bytes;
    uint64_t data_bytes;
    /* Told of each piece of somebody's that is cut out; may be NULL. */
    void (*lost)(uint32_t owner, uint64_t bytes);
};

/* Makes it one range of the set, whatever was there before. False: no memory; the set may then lack it. */
bool mw_ranges_add(struct mw_ranges *set, struct mw_range range);

/* Cuts [start, end) out of the set. False: no memory to split a range; the set then lacks its upper part too. */
bool mw_ranges_remove(struct mw_ranges *set, uintptr_t start, uintptr_t end);

/* The range in which the byte at that address lies; NULL: it is not in the set. */
const struct mw_range *mw_ranges_find(const struct mw_ranges *set, uintptr_t address);

#endif
