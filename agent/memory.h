/* SPDX-License-Identifier: MIT
 *
 * Memory, or an end: tools that look at a profile have nothing sensible to do without it. Any thread.
 */
#ifndef MW_MEMORY_H
#define MW_MEMORY_H

#include <stdlib.h>
#include <string.h>

/* count items of item_bytes each, zeroed, never NULL. Free with free. */
static inline void *mw_memory_new(size_t count, size_t item_bytes)
{
    void *memory = calloc(count ? count : 1, item_bytes);
    if (!memory)
        abort();
    return memory;
}

/* The same with what it held before. What is new is not zeroed. */
static inline void *mw_memory_resize(void *memory, size_t count, size_t item_bytes)
{
    memory = reallocarray(memory, count ? count : 1, item_bytes);
    if (!memory)
        abort();
    return memory;
}

static inline char *mw_memory_string(const char *string)
{
    char *copy = strdup(string);
    if (!copy)
        abort();
    return copy;
}

#endif
