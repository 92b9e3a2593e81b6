/* SPDX-License-Identifier: MIT
 *
 * A library that sites.c opens, early or late, or one whose symbols are in a file beside it: FUNCTION names the
 * function that allocates, BYTES says how much at a time.
 */
#include <stdlib.h>

#include "sites.h"

static SITE void FUNCTION(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(BYTES));
}

void sites_work(struct site *site, unsigned blocks)
{
    FUNCTION(site, blocks);
    __asm__ volatile(""); /* no jump: the caller stays on the stack */
}
