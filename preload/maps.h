/* SPDX-License-Identifier: MIT
 *
 * Which address ranges the program holds by its own mmap calls.
 *
 * A program may unmap half of what it mapped, map over it, or unmap what was never its own; sums of call arguments
 * would drift. So the ranges themselves are kept, in order, and every change is exact.
 * Any thread. A lock is held for as long as the table, or an munmap or mremap under it, takes; who cannot have it
 * soon (or holds it already, in a signal handler) is counted as a drop, and the figures are then no longer exact.
 * No allocation; errno is left alone.
 */
#ifndef MW_MAPS_H
#define MW_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mw_maps_figures {
    uint64_t bytes;      /* of address space, of any kind */
    uint64_t data_bytes; /* of these, mapped private and writable: what the kernel counts as VmData */
    uint64_t mmaps;
    uint64_t munmaps;
    uint64_t drops;
};

/* After an mmap that succeeded. */
void mw_maps_mapped(const void *address, size_t bytes, bool is_data);

/* Some allocators map before our constructor knows where their code lies. Such mappings are noted with who asked for
 * them, and those that were the allocator's are taken back once that can be told. The latter once, at the start. */
void mw_maps_note_early(const void *address, size_t bytes, const void *caller);
void mw_maps_settle_early(bool (*is_allocators)(const void *caller));

/* Around a call that may give ranges back: another thread may be handed the range as soon as the kernel has it, but
 * its mw_maps_mapped then waits for mw_maps_end. Returns what mw_maps_end is to be given. */
bool mw_maps_begin(void);
void mw_maps_end(bool begun);
/* Between the two, once the call has succeeded; a no-op where not begun. */
void mw_maps_unmapped(bool begun, const void *address, size_t bytes);
void mw_maps_moved(bool begun, const void *old, size_t old_bytes, const void *address, size_t bytes);

void mw_maps_read(struct mw_maps_figures *out);

/* Around a fork, so that the child's table is whole. */
void mw_maps_before_fork(void);
void mw_maps_after_fork_in_parent(void);
void mw_maps_after_fork_in_child(void);

#endif
