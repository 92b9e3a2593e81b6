/* SPDX-License-Identifier: MIT */
#include "interned.h"

#include <stdint.h>

#include "memory.h"

/* FNV-1a */
static uint64_t hash(const char *string)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (; *string; string++)
        value = (value ^ (unsigned char)*string) * UINT64_C(0x100000001b3);
    return value;
}

static size_t *place_of(const struct mw_interned *interned, const char *string)
{
    size_t at = (size_t)hash(string) & (interned->capacity - 1);
    while (interned->places[at] && strcmp(interned->strings[interned->places[at] - 1], string) != 0)
        at = (at + 1) & (interned->capacity - 1);
    return &interned->places[at];
}

static void grow(struct mw_interned *interned)
{
    free(interned->places);
    interned->capacity = interned->capacity ? 2 * interned->capacity : 64;
    interned->places = mw_memory_new(interned->capacity, sizeof *interned->places);
    interned->strings = mw_memory_resize(interned->strings, interned->capacity / 2, sizeof *interned->strings);
    for (size_t i = 0; i < interned->count; i++)
        *place_of(interned, interned->strings[i]) = i + 1;
}

size_t mw_interned_add(struct mw_interned *interned, const char *string)
{
    if (2 * interned->count >= interned->capacity)
        grow(interned);
    size_t *place = place_of(interned, string);
    if (!*place) {
        interned->strings[interned->count++] = mw_memory_string(string);
        *place = interned->count;
    }
    return *place - 1;
}

void mw_interned_free(struct mw_interned *interned)
{
    for (size_t i = 0; i < interned->count; i++)
        free(interned->strings[i]);
    free(interned->strings);
    free(interned->places);
    *interned = (struct mw_interned){0};
}
