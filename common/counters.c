/* SPDX-License-Identifier: MIT */
#include "counters.h"

#define FINE_CLASSES     64 /* of 16 bytes each: (0, 16], (16, 32], … (1008, 1024] */
#define FINE_LIMIT_BYTES ((uint64_t)FINE_CLASSES * 16)
#define STRIDE           (sizeof(struct memwatch_size_class) / sizeof(uint64_t))

unsigned mw_size_class(uint64_t usable_bytes)
{
    if (usable_bytes <= FINE_LIMIT_BYTES)
        return usable_bytes ? (unsigned)((usable_bytes - 1) / 16) : 0;
    unsigned class = FINE_CLASSES + 53 - (unsigned)__builtin_clzll(usable_bytes - 1);
    return class < MEMWATCH_SIZE_CLASSES ? class : MEMWATCH_SIZE_CLASSES - 1;
}

uint64_t mw_size_class_bytes(unsigned index)
{
    if (index < FINE_CLASSES)
        return UINT64_C(16) * (index + 1);
    return 2 * FINE_LIMIT_BYTES << (index - FINE_CLASSES);
}

void mw_others_count(struct mw_others *others, uint64_t usable_bytes, bool shared)
{
    uint64_t *count = &others->count[mw_size_class(usable_bytes)];
    if (shared) {
        mw_counter_add_shared(count, 1);
        mw_counter_add_shared(&others->bytes, usable_bytes);
    } else {
        mw_counter_add(count, 1);
        mw_counter_add(&others->bytes, usable_bytes);
    }
}

static uint64_t usable_of_class(unsigned class, struct mw_measure measure)
{
    return class * measure.scale_bytes - measure.overhead_bytes;
}

void mw_others_take(struct mw_others *others, uint64_t *counts, unsigned classes, struct mw_measure measure)
{
    for (unsigned i = 0; i < classes; i++) {
        if (!counts[i])
            continue;
        others->count[mw_size_class(usable_of_class(i, measure))] += counts[i];
        others->bytes += counts[i] * usable_of_class(i, measure);
        counts[i] = 0;
    }
}

/* Sums of one direction; by_size is the Mallocs or the Frees of the first element of an array of struct
 * memwatch_size_class. */
struct sums {
    uint64_t *objects;
    uint64_t *bytes;
    uint64_t *by_size;
};

static void add_classes(struct sums to, const uint64_t *counts, unsigned classes, struct mw_measure measure)
{
    for (unsigned i = 0; i < classes; i++) {
        uint64_t count = mw_counter_read(&counts[i]);
        if (!count)
            continue;
        uint64_t usable_bytes = usable_of_class(i, measure);
        *to.objects += count;
        *to.bytes += count * usable_bytes;
        to.by_size[mw_size_class(usable_bytes) * STRIDE] += count;
    }
}

static void add_others(struct sums to, const struct mw_others *others)
{
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        uint64_t count = mw_counter_read(&others->count[i]);
        *to.objects += count;
        to.by_size[i * STRIDE] += count;
    }
    *to.bytes += mw_counter_read(&others->bytes);
}

void mw_totals_add_freed(struct mw_totals *totals, const struct mw_counters *counters, struct mw_measure measure)
{
    struct sums sums = {&totals->freed_objects, &totals->freed_bytes, &totals->by_size[0].Frees};
    add_classes(sums, counters->freed, MW_FREED_CLASSES, measure);
    add_others(sums, &counters->freed_others);
}

void mw_totals_add_allocated(struct mw_totals *totals, const struct mw_counters *counters, struct mw_measure measure)
{
    struct sums sums = {&totals->allocated_objects, &totals->allocated_bytes, &totals->by_size[0].Mallocs};
    add_classes(sums, counters->allocated, MW_ALLOCATED_CLASSES, measure);
    add_others(sums, &counters->allocated_others);
}
