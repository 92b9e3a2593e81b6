/* SPDX-License-Identifier: MIT
 *
 * Asks the allocator for a block's size. Common allocators' sizes are multiples of 8; what is not gets a class that no
 * table has, and is counted out of line.
 */
#include "bootstrap.h"
#include "path.h"

static inline uint64_t weigh(const void *block)
{
    if (__builtin_expect(mw_bootstrap_owns(block), 0))
        return MW_BOOTSTRAP_MARK;
    return mw_real_malloc_usable_size((void *)block);
}

static inline uint64_t class_of(uint64_t weight)
{
    return weight >> 3 | weight << 61;
}

static inline uint64_t usable_bytes(uint64_t weight)
{
    return weight;
}

static inline bool has_class(uint64_t class)
{
    return class < MW_ALLOCATED_CLASSES;
}

static inline bool is_of_another_kind(uint64_t weight)
{
    (void)weight;
    return false;
}

#define PATH mw_path_usable
#define PATH_MEASURE                                                                                                   \
    {                                                                                                                  \
        .scale_bytes = 8                                                                                               \
    }
#define PATH_GRANT (8 * (MW_ALLOCATED_CLASSES - 1))
#include "path_template.h"
