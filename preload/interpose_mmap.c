/* SPDX-License-Identifier: MIT
 *
 * The mapping functions that the program calls. What the allocator beneath us maps for itself is passed through
 * unrecorded: it shows in the heap's own figures. (glibc's malloc, loader and thread stacks do not come by here.)
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "hard_limit.h"
#include "maps.h"
#include "real.h"

#define EXPORT __attribute__((visibility("default")))

/* Private and writable: what is written there is the process's own. */
static bool is_data(int protection, int flags)
{
    return (protection & PROT_WRITE) && (flags & MAP_TYPE) == MAP_PRIVATE;
}

/* Memory that the program means to use: not address space that is set aside, nor a mapping's replacement. */
static bool is_memory(int protection, int flags)
{
    return is_data(protection, flags) && (flags & MAP_ANONYMOUS) && !(flags & (MAP_FIXED | MAP_NORESERVE));
}

static inline void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset,
                        const void *return_address)
{
    if (__builtin_expect(mw_hard_limit_is_set, 0) && is_memory(protection, flags) &&
        !mw_real_is_allocators(return_address) && !mw_hard_limit_admits(bytes)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    void *mapped = mw_real_mmap(address, bytes, protection, flags, fd, offset);
    if (mapped != MAP_FAILED && !mw_real_is_allocators(return_address))
        mw_maps_mapped(mapped, bytes, is_data(protection, flags));
    if (mapped != MAP_FAILED && !mw_real_surveyed.allocator_end)
        mw_maps_note_early(mapped, bytes, return_address);
    return mapped;
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return map(address, bytes, protection, flags, fd, offset, __builtin_return_address(0));
}

/* The same function where off_t has 64 bits. */
EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    _Static_assert(sizeof(off_t) == sizeof(off64_t), "only 64-bit systems");
    return map(address, bytes, protection, flags, fd, offset, __builtin_return_address(0));
}

EXPORT int munmap(void *address, size_t bytes)
{
    if (mw_real_is_allocators(__builtin_return_address(0)))
        return mw_real_munmap(address, bytes);
    bool begun = mw_maps_begin();
    int result = mw_real_munmap(address, bytes);
    if (result == 0)
        mw_maps_unmapped(begun, address, bytes);
    mw_maps_end(begun);
    return result;
}

EXPORT void *mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    void *address = NULL;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_list arguments;
        va_start(arguments, flags);
        address = va_arg(arguments, void *); // NOLINT(clang-analyzer-valist.Uninitialized)
        va_end(arguments);
    }
    if (mw_real_is_allocators(__builtin_return_address(0)))
        return mw_real_mremap(old, old_bytes, new_bytes, flags, address);
    bool begun = mw_maps_begin();
    void *moved = mw_real_mremap(old, old_bytes, new_bytes, flags, address);
    if (moved != MAP_FAILED)
        mw_maps_moved(begun, old, flags & MREMAP_DONTUNMAP ? 0 : old_bytes, moved, new_bytes);
    mw_maps_end(begun);
    return moved;
}
