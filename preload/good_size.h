/* SPDX-License-Identifier: MIT
 *
 * How much an allocator sets aside for a request, without asking about the block: above jemalloc, tcmalloc and mimalloc
 * that question is what counting costs most. Each of them has a function that promises the answer; what it says is
 * believed of a size once a block of that size has been looked at and it was so.
 */
#ifndef MW_GOOD_SIZE_H
#define MW_GOOD_SIZE_H

#include <stddef.h>

/* Of the allocator beneath us; 0: not known. For requests from 1 byte up, without alignment. Any thread. */
size_t mw_good_size(size_t size);

/* Looks for it. Once, at the start, after the survey (real.h): a search that fails allocates. */
void mw_good_size_start(void);

#endif
