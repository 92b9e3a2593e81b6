/* SPDX-License-Identifier: MIT
 *
 * Where every block is to carry a tail (heap_profile.h), the allocator beneath is asked for so many bytes more from the
 * start.
 */
#ifndef MW_PADDED_H
#define MW_PADDED_H

/* From now on. Once, at the start, when the functions beneath are known (real.h). */
void mw_padded_start(void);

#endif
