/* SPDX-License-Identifier: MIT
 *
 * Call sites that keep books: how many bytes and blocks each has allocated, and how many of them live. A site's live
 * blocks are a list through their first words, so that the books themselves allocate nothing.
 *
 * A site is called by the function in which it allocates. One thread at a time for each site.
 */
#ifndef SITES_H
#define SITES_H

#include <malloc.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct site {
    const char *name;
    uint64_t live_bytes;
    uint64_t live_blocks;
    uint64_t allocated_bytes;
    uint64_t allocated_blocks;
    void *blocks;
};

#define SITE __attribute__((noinline, noclone))

static inline void site_add(struct site *site, uint64_t bytes)
{
    site->live_bytes += bytes;
    site->allocated_bytes += bytes;
    site->live_blocks++;
    site->allocated_blocks++;
}

static inline void site_take_away(struct site *site, uint64_t bytes)
{
    site->live_bytes -= bytes;
    site->live_blocks--;
}

static inline void site_keep(struct site *site, void *block)
{
    site_add(site, malloc_usable_size(block));
    *(void **)block = site->blocks;
    site->blocks = block;
}

/* The one that was kept last; it is the caller's to free or to resize. */
static inline void *site_let_go(struct site *site)
{
    void *block = site->blocks;
    site->blocks = *(void **)block;
    site_take_away(site, malloc_usable_size(block));
    return block;
}

/* Of other parts of the program. Each allocates so many blocks and keeps them. */
typedef void site_work(struct site *site, unsigned blocks);

site_work site_operator_new;
site_work site_operator_new_array;
site_work sites_work; /* of a library that is opened: its own static function does it */

#ifdef __cplusplus
}
#endif

#endif
