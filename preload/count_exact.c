/* SPDX-License-Identifier: MIT */
#include "count_exact.h"

#include <string.h>

#include "heap_profile.h"
#include "padded.h"
#include "store.h"
#include "threads.h"

static struct mw_measure measure;
static unsigned scale_bits;

void mw_exact_start(void)
{
    measure = mw_store.header->measure;
    measure.overhead_bytes += MW_PROFILE_TAIL_BYTES;
    scale_bits = (unsigned)__builtin_ctzll(measure.scale_bytes);
    mw_threads_be_exact(measure);
    mw_padded_start();
}

/* The class of blocks that are the program's with so many bytes; beyond every table where there is none. */
static uint64_t class_of(uint64_t own_bytes)
{
    uint64_t weight = own_bytes + measure.overhead_bytes;
    return weight % (UINT64_C(1) << scale_bits) ? UINT64_MAX : weight >> scale_bits;
}

static void *tail_of(void *block, uint64_t own_bytes)
{
    return (char *)block + own_bytes;
}

bool mw_exact_allocated(void *block, uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    if (counters == &mw_threads_nobody || usable_bytes < MW_PROFILE_TAIL_BYTES)
        return false;
    uint64_t own_bytes = usable_bytes - MW_PROFILE_TAIL_BYTES;
    uint32_t number = mw_profile_allocated_exactly(own_bytes);
    uint64_t tail = mw_profile_tail(block, number);
    uint64_t class = class_of(own_bytes);
    memcpy(tail_of(block, own_bytes), &tail, sizeof tail); /* of none, too: an old one may stand there */
    mw_counter_add(&counters->samples, 1);
    if (number && class < MW_ALLOCATED_CLASSES)
        mw_counter_add(&counters->allocated[class], 1);
    else
        mw_others_count(&counters->allocated_others, number ? own_bytes : usable_bytes, false);
    return true;
}

bool mw_exact_freed(void *block, uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    uint64_t tail;
    if (counters == &mw_threads_nobody || usable_bytes < sizeof tail)
        return false;
    uint64_t own_bytes = usable_bytes - sizeof tail;
    memcpy(&tail, tail_of(block, own_bytes), sizeof tail);
    uint32_t number = mw_profile_number(block, tail);
    if (!number)
        return false;
    memset(tail_of(block, own_bytes), 0, sizeof tail); /* whoever has the memory next must not find it */
    uint64_t class = class_of(own_bytes);
    if (class < MW_FREED_CLASSES)
        mw_counter_add(&counters->freed[class], 1);
    else
        mw_others_count(&counters->freed_others, own_bytes, false);
    mw_profile_freed(number, own_bytes);
    return true;
}
