/* SPDX-License-Identifier: MIT
 *
 * Strings, each kept once and numbered from 0 in the order of their coming.
 *
 * The strings belong to the struct, which starts zeroed and is emptied by mw_interned_free. One thread at a time.
 */
#ifndef MW_INTERNED_H
#define MW_INTERNED_H

#include <stddef.h>

struct mw_interned {
    char **strings;
    size_t count;
    size_t *places; /* a hash table of number + 1; 0: free */
    size_t capacity;
};

/* The string's number; it is copied where it is new. */
size_t mw_interned_add(struct mw_interned *interned, const char *string);
void mw_interned_free(struct mw_interned *interned);

#endif
