/* SPDX-License-Identifier: MIT
 *
 * Reads a block's size from glibc's chunk header: the word before the block, a multiple of 16 with three flags in its
 * low bits (malloc/malloc.c, "struct malloc_chunk"). The size has the header's 8 bytes in it; a chunk mapped by itself
 * has another 8.
 */
#include <stdlib.h>

#include "path.h"

#define FLAGS     UINT64_C(7)
#define IS_MAPPED UINT64_C(2)

static inline uint64_t weigh(const void *block)
{
    return ((const uint64_t *)block)[-1];
}

static inline uint64_t class_of(uint64_t weight)
{
    return weight >> 4;
}

static inline bool has_class(uint64_t class)
{
    (void)class;
    return true; /* the grant bounds it */
}

static inline bool is_of_another_kind(uint64_t weight)
{
    return weight & IS_MAPPED;
}

static inline uint64_t usable_bytes(uint64_t weight)
{
    return (weight & ~FLAGS) - (weight & IS_MAPPED ? 16 : 8);
}

#define PATH mw_path_glibc
#define PATH_MEASURE                                                                                                   \
    {                                                                                                                  \
        .scale_bytes = 16, .overhead_bytes = 8                                                                         \
    }
#define PATH_GRANT (16 * (MW_ALLOCATED_CLASSES - 1))
#include "path_template.h"

/* Does the header of a block of that size say what malloc_usable_size says? */
static bool fits(size_t size)
{
    void *block = mw_real_malloc(size);
    if (!block)
        return false;
    uint64_t weight = weigh(block);
    bool same = !(weight & IS_MAPPED) && usable_bytes(weight) == mw_real_malloc_usable_size(block);
    mw_real_free(block);
    return same;
}

bool mw_path_glibc_fits(void)
{
    /* Below the sizes that are mapped: freeing one of those would move glibc's threshold for it. */
    static const size_t sizes[] = {0, 1, 24, 25, 40, 100, 520, 1000, 1032, 1033, 2000, 5000, 16000, 60000};
    const char *preloaded = getenv("LD_PRELOAD");
    if ((void *)mw_real_malloc != mw_real_find("__libc_malloc"))
        return false;
    /* Those of valgrind's tools that stand in for malloc (it puts them there) would call the look a stray read. */
    if (preloaded && (strstr(preloaded, "/vgpreload_memcheck") || strstr(preloaded, "/vgpreload_dhat") ||
                      strstr(preloaded, "/vgpreload_massif") || strstr(preloaded, "/vgpreload_helgrind") ||
                      strstr(preloaded, "/vgpreload_drd")))
        return false;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (!fits(sizes[i]))
            return false;
    return true;
}

void mw_path_glibc_threshold(size_t threshold_bytes)
{
    if (threshold_bytes <= PATH_GRANT)
        mw_threads_lower_grant(4095);
}

void mw_path_glibc_read_environment(char *const *environment)
{
    for (; environment && *environment; environment++)
        if (strncmp(*environment, "MALLOC_MMAP_THRESHOLD_=", 23) == 0 ||
            (strncmp(*environment, "GLIBC_TUNABLES=", 15) == 0 && strstr(*environment, "mmap_threshold")))
            mw_path_glibc_threshold(0); /* whatever it says: such programs are rare, and the price is small */
}
