/* SPDX-License-Identifier: MIT
 *
 * The allocation functions that the program calls. Each jumps to the path that counts it (path.h).
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "path.h"
#include "real.h"

#define EXPORT __attribute__((visibility("default")))

void free_sized(void *block, size_t size); /* C23; not in glibc's headers before 2.43 */
void free_aligned_sized(void *block, size_t alignment, size_t size);

#define EXPORT_JUMP(result, name, parameters, arguments)                                                               \
    EXPORT result name parameters                                                                                      \
    {                                                                                                                  \
        return mw_entry_##name arguments;                                                                              \
    }
MW_HEAP_FUNCTIONS(EXPORT_JUMP)

/* Not forwarded: libc's own would call our realloc and count there, an allocator's own would not. */
EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return mw_entry_realloc(block, bytes);
}

EXPORT int mallopt(int parameter, int value)
{
    static int (*real)(int, int);
    if (!real)
        real = mw_real_find("mallopt");
    if (parameter == M_MMAP_THRESHOLD && value >= 0)
        mw_path_glibc_threshold((size_t)value);
    return real ? real(parameter, value) : 0;
}
