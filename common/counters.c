/* SPDX-License-Identifier: MIT */
#include "counters.h"

_Static_assert(MEMWATCH_SIZE_CLASSES == MW_SMALL_CLASSES / 2 + MW_LARGE_CLASSES,
               "the API's classes cover the counters");

#define SMALL_LIMIT_BYTES 1024
#define FINE_CLASSES      (MW_SMALL_CLASSES / 2) /* of 16 bytes each */

/* The API's class of a size up to 1 KiB: (0, 16], (16, 32], … */
static unsigned fine_class(uint64_t usable_bytes)
{
    return usable_bytes ? (unsigned)((usable_bytes - 1) / 16) : 0;
}

typedef void add_function(uint64_t *counter, uint64_t value);

static inline void count_other(struct mw_flow *flow, uint64_t usable_bytes, add_function *add)
{
    if (usable_bytes <= SMALL_LIMIT_BYTES) {
        add(&flow->odd[fine_class(usable_bytes)], 1);
        add(&flow->odd_bytes, usable_bytes);
    } else {
        add(&flow->large[mw_large_class(usable_bytes)], 1);
        add(&flow->large_bytes, usable_bytes);
    }
}

void mw_flow_count_other(struct mw_flow *flow, uint64_t usable_bytes)
{
    count_other(flow, usable_bytes, mw_counter_add);
}

void mw_flow_count_shared(struct mw_flow *flow, uint64_t usable_bytes)
{
    uint64_t class = mw_small_class(usable_bytes);
    if (class < MW_SMALL_CLASSES)
        mw_counter_add_shared(&flow->small[class], 1);
    else
        count_other(flow, usable_bytes, mw_counter_add_shared);
}

/* A flow's blocks and bytes, and its blocks by class at `by_size`, which is the Mallocs or the Frees of the first
 * element of an array of struct memwatch_size_class. */
static void add_flow(const struct mw_flow *flow, uint64_t *objects, uint64_t *bytes, uint64_t *by_size)
{
    const unsigned stride = sizeof(struct memwatch_size_class) / sizeof(uint64_t);
    for (unsigned i = 0; i < MW_SMALL_CLASSES; i++) {
        uint64_t count = mw_counter_read(&flow->small[i]);
        *objects += count;
        *bytes += count * i * 8;
        by_size[fine_class(UINT64_C(8) * i) * stride] += count;
    }
    for (unsigned i = 0; i < FINE_CLASSES; i++) {
        uint64_t count = mw_counter_read(&flow->odd[i]);
        *objects += count;
        by_size[i * stride] += count;
    }
    for (unsigned i = 0; i < MW_LARGE_CLASSES; i++) {
        uint64_t count = mw_counter_read(&flow->large[i]);
        *objects += count;
        by_size[(FINE_CLASSES + i) * stride] += count;
    }
    *bytes += mw_counter_read(&flow->odd_bytes) + mw_counter_read(&flow->large_bytes);
}

void mw_totals_add_freed(struct mw_totals *totals, const struct mw_counters *counters)
{
    add_flow(&counters->freed, &totals->freed_objects, &totals->freed_bytes, &totals->by_size[0].Frees);
}

void mw_totals_add_allocated(struct mw_totals *totals, const struct mw_counters *counters)
{
    add_flow(&counters->allocated, &totals->allocated_objects, &totals->allocated_bytes, &totals->by_size[0].Mallocs);
}

uint64_t mw_size_class_bytes(unsigned index)
{
    if (index < FINE_CLASSES)
        return UINT64_C(16) * (index + 1);
    return UINT64_C(2048) << (index - FINE_CLASSES);
}
