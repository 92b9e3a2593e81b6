/* SPDX-License-Identifier: MIT */
#include "ranges.h"

#include <string.h>

#include "syscall.h"

static bool reserve(struct mw_ranges *set, size_t count)
{
    if (count <= set->capacity)
        return true;
    size_t capacity = set->capacity ? set->capacity * 2 : 4096 / sizeof *set->items;
    struct mw_range *items =
        mw_sys_mmap(NULL, capacity * sizeof *items, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (items == MAP_FAILED)
        return false;
    if (set->items) {
        memcpy(items, set->items, set->count * sizeof *items);
        mw_sys_munmap(set->items, set->capacity * sizeof *items);
    }
    set->items = items;
    set->capacity = capacity;
    return true;
}

/* The first range that ends after the address. */
static size_t first_ending_after(const struct mw_ranges *set, uintptr_t address)
{
    size_t low = 0;
    size_t high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->items[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void account(struct mw_ranges *set, const struct mw_range *range, int sign)
{
    uint64_t bytes = (uint64_t)sign * (range->end - range->start);
    set->bytes += bytes;
    if (range->is_data)
        set->data_bytes += bytes;
}

/* Puts `with[0..count)` where items [from, to) stood. */
static void replace(struct mw_ranges *set, size_t from, size_t to, const struct mw_range *with, size_t count)
{
    for (size_t i = from; i < to; i++)
        account(set, &set->items[i], -1);
    memmove(set->items + from + count, set->items + to, (set->count - to) * sizeof *set->items);
    if (count)
        memcpy(set->items + from, with, count * sizeof *with);
    set->count = set->count - (to - from) + count;
    for (size_t i = 0; i < count; i++)
        account(set, &with[i], 1);
}

/* Of items [from, to), what lies in [start, end). */
static void tell_lost(const struct mw_ranges *set, size_t from, size_t to, uintptr_t start, uintptr_t end)
{
    for (size_t i = from; i < to && set->lost; i++) {
        const struct mw_range *range = &set->items[i];
        uintptr_t first = range->start > start ? range->start : start;
        uintptr_t last = range->end < end ? range->end : end;
        if (range->owner)
            set->lost(range->owner, last - first);
    }
}

bool mw_ranges_remove(struct mw_ranges *set, uintptr_t start, uintptr_t end)
{
    struct mw_range left[2];
    size_t pieces = 0;
    bool whole = true;
    if (start >= end)
        return true;
    size_t from = first_ending_after(set, start);
    size_t to = from;
    while (to < set->count && set->items[to].start < end)
        to++;
    if (from == to)
        return true;
    const struct mw_range first = set->items[from];
    const struct mw_range last = set->items[to - 1];
    if (first.start < start)
        left[pieces++] = (struct mw_range){first.start, start, first.owner, first.is_data};
    if (last.end > end)
        left[pieces++] = (struct mw_range){end, last.end, last.owner, last.is_data};
    if (pieces > to - from && !reserve(set, set->count + 1)) {
        pieces = 1;
        whole = false;
    }
    tell_lost(set, from, to, start, whole ? end : last.end);
    replace(set, from, to, left, pieces);
    return whole;
}

static bool is_same_kind(const struct mw_range *a, const struct mw_range *b)
{
    return a->is_data == b->is_data && a->owner == b->owner;
}

bool mw_ranges_add(struct mw_ranges *set, struct mw_range range)
{
    if (range.start >= range.end)
        return true;
    if (!mw_ranges_remove(set, range.start, range.end) || !reserve(set, set->count + 1))
        return false;
    size_t from = first_ending_after(set, range.start);
    size_t to = from;
    /* Neighbours of the same kind become one with it: the kernel merges them too. */
    if (from > 0 && set->items[from - 1].end == range.start && is_same_kind(&set->items[from - 1], &range))
        range.start = set->items[--from].start;
    if (to < set->count && set->items[to].start == range.end && is_same_kind(&set->items[to], &range))
        range.end = set->items[to++].end;
    replace(set, from, to, &range, 1);
    return true;
}

const struct mw_range *mw_ranges_find(const struct mw_ranges *set, uintptr_t address)
{
    size_t i = first_ending_after(set, address);
    return i < set->count && set->items[i].start <= address ? &set->items[i] : NULL;
}
