/* SPDX-License-Identifier: MIT
 *
 * The heap profile: which call stacks allocated what, and which of it is live. It is born in the segment.
 *
 * A block that was sampled carries eight bytes at the end of its usable space, a number and a tag made from its address
 * (and malloc_usable_size does not tell of them). By them it is known when it is freed, with no table to be searched:
 * only blocks too large for the fast path of free are looked at, and small ones are made that large when they are
 * sampled. In the exact mode every block is looked at, and has eight bytes more from the start.
 *
 * The block stays one of the allocator's own, so that a free that does not come by here does no harm.
 *
 * Any thread, no lock, async-signal-safe, errno is left alone.
 */
#ifndef MW_HEAP_PROFILE_H
#define MW_HEAP_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MW_PROFILE_TAIL_BYTES 8

/* Once, at the start, when the segment is there. exact: every block is sampled. */
void mw_profile_start(bool exact);

/* Notes a block of so many usable bytes (without the tail) and that weight, with the calling thread's stack. Returns
 * its number, for the tail; 0: there was no room. */
uint32_t mw_profile_allocated(const void *block, uint64_t usable_bytes, uint64_t weight);

/* The same where every block is noted: nothing is scaled, and the number is that of the stack. */
uint32_t mw_profile_allocated_exactly(uint64_t own_bytes);

/* The calling thread's stack, to be told of elsewhere; nothing is counted for it. 0: there was no room. */
uint32_t mw_profile_current_stack(void);

/* A noted block is about to be freed. */
void mw_profile_freed(uint32_t number, uint64_t usable_bytes);

/* Half of a multiplicative hash; odd, so that it is never 0. */
static inline uint32_t mw_profile_tag(const void *block)
{
    return (uint32_t)(((uint64_t)(uintptr_t)block ^ UINT64_C(0x5bd1e995a6b3c4d7)) * UINT64_C(0x9e3779b97f4a7c15) >>
                      32) |
           1;
}

static inline bool mw_profile_is_tail(const void *block, uint64_t tail)
{
    return (uint32_t)(tail >> 32) == mw_profile_tag(block);
}

/* How many noted blocks there are, by a hash of their addresses: where there is none, the tail need not be looked at,
 * which may lie in memory that nobody has touched for long. A count of 255 stays for good. */
#define MW_PROFILE_FILTER_BITS 13
#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern uint8_t mw_profile_filter[1 << MW_PROFILE_FILTER_BITS];
#pragma GCC visibility pop

static inline uint8_t *mw_profile_filter_place(const void *block)
{
    return &mw_profile_filter[(uint64_t)(uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15) >>
                              (64 - MW_PROFILE_FILTER_BITS)];
}

static inline bool mw_profile_may_be_noted(const void *block)
{
    return __atomic_load_n(mw_profile_filter_place(block), __ATOMIC_RELAXED) != 0;
}

/* One more with this address, or one less (-1). */
void mw_profile_filter_add(const void *block, int change);

/* The number of the block, if it is noted, else 0. The tail is what stands at the end of its usable space. */
uint32_t mw_profile_number(const void *block, uint64_t tail);

static inline uint64_t mw_profile_tail(const void *block, uint32_t number)
{
    return number ? (uint64_t)mw_profile_tag(block) << 32 | number : 0;
}

/* A mapping of the program's own, of private data: every one is noted, none is sampled. Returns its owner, the calling
 * thread's stack; 0: there was no room. */
uint32_t mw_profile_mapped(uint64_t bytes);
/* It has been moved, and has this size now; what it had before is told as unmapped. */
void mw_profile_remapped(uint32_t owner, uint64_t bytes);
/* Bytes of an owner's mappings are gone. */
void mw_profile_unmapped(uint32_t owner, uint64_t bytes);

/* The live bytes of every stack, as one more point of their histories. One thread, now and then. */
void mw_profile_note_history(uint64_t now_ns);

/* In the child of a fork. */
void mw_profile_after_fork(void);

#endif
