/* SPDX-License-Identifier: MIT
 *
 * The functions beneath us: what the program would have called without us, found by RTLD_NEXT, so that a preloaded or
 * linked jemalloc, tcmalloc or mimalloc is reached as well as libc.
 *
 * The pointers are valid from the first instruction to the last: at first they lead to functions that resolve them
 * (what dlsym itself allocates meanwhile comes from a bootstrap arena). Any thread. Forwarding through them is as safe
 * as the function forwarded to.
 */
#ifndef MW_REAL_H
#define MW_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* X(result, name, (parameters), (arguments)) */
/* clang-format off */
#define MW_COMMON_HEAP_FUNCTIONS(X) \
    X(void *, malloc,             (size_t size),                                (size)) \
    X(void,   free,               (void *block),                                (block)) \
    X(void *, calloc,             (size_t count, size_t size),                  (count, size)) \
    X(void *, realloc,            (void *block, size_t size),                   (block, size)) \
    X(void *, memalign,           (size_t alignment, size_t size),              (alignment, size)) \
    X(void *, aligned_alloc,      (size_t alignment, size_t size),              (alignment, size)) \
    X(int,    posix_memalign,     (void **out, size_t alignment, size_t size),  (out, alignment, size)) \
    X(void *, valloc,             (size_t size),                                (size)) \
    X(void *, pvalloc,            (size_t size),                                (size)) \
    X(size_t, malloc_usable_size, (void *block),                                (block))

/* C23's; glibc has them from 2.43 on. */
#define MW_SIZED_HEAP_FUNCTIONS(X) \
    X(void,   free_sized,         (void *block, size_t size),                   (block, size)) \
    X(void,   free_aligned_sized, (void *block, size_t alignment, size_t size), (block, alignment, size))

#define MW_HEAP_FUNCTIONS(X) MW_COMMON_HEAP_FUNCTIONS(X) MW_SIZED_HEAP_FUNCTIONS(X)

#define MW_MAP_FUNCTIONS(X) \
    X(void *, mmap,   (void *address, size_t bytes, int protection, int flags, int fd, off_t offset), \
                      (address, bytes, protection, flags, fd, offset)) \
    X(int,    munmap, (void *address, size_t bytes), (address, bytes)) \
    X(void *, mremap, (void *old, size_t old_bytes, size_t new_bytes, int flags, void *address), \
                      (old, old_bytes, new_bytes, flags, address))
/* clang-format on */

/* One variable a function, not a struct: a jump through it is then a single instruction. */
#pragma GCC visibility push(hidden) /* or the compiler would look for them in the global offset table */
#define MW_REAL_DECLARE(result, name, parameters, arguments) extern result(*mw_real_##name) parameters;
MW_HEAP_FUNCTIONS(MW_REAL_DECLARE)
MW_MAP_FUNCTIONS(MW_REAL_DECLARE)
#undef MW_REAL_DECLARE
#pragma GCC visibility pop

/* The function of that name beneath us; NULL: there is none. */
void *mw_real_find(const char *name);

/* Frees the message that a search in vain has allocated. */
void mw_real_forget_error(void);

/* Finds them all now, and how to count (count.h). False where this thread is already at it (dlsym has called us). */
bool mw_real_resolve(void);

/* Finds those that a libc may lack. Not by mw_real_resolve: a search that fails allocates its message. Once, at the
 * start. */
void mw_real_find_sized(void);

/* Where the code of the allocator beneath us lies, so that its own mmap calls can be told from the program's, and how
 * much static data the modules hold. Known once mw_real_survey has run; it takes the loader's lock. */
struct mw_real_survey {
    uintptr_t allocator_start;
    uintptr_t allocator_end;
    uint64_t static_data_bytes;
};
extern struct mw_real_survey mw_real_surveyed;

static inline bool mw_real_is_allocators(const void *code)
{
    return (uintptr_t)code - mw_real_surveyed.allocator_start <
           mw_real_surveyed.allocator_end - mw_real_surveyed.allocator_start;
}

void mw_real_survey(void);

/* A function of that name in the allocator's own module: another one's says nothing of it (a preloaded tcmalloc stands
 * in front of libc, which has a malloc_trim too). NULL: there is none. After the survey; a search in vain allocates. */
void *mw_real_find_allocators(const char *name);

#endif
