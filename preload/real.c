/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "bootstrap.h"
#include "count.h"
#include "syscall.h"
#include "threads.h"

/* Each of these stands in until the functions beneath are found; inside the search itself, and where nothing
 * is to be found, it answers from the bootstrap arena or with the bare system call. */

#define DECLARE_EARLY(result, name, parameters, arguments) static result early_##name parameters;
MW_HEAP_FUNCTIONS(DECLARE_EARLY)
MW_MAP_FUNCTIONS(DECLARE_EARLY)
#undef DECLARE_EARLY

#define DEFINE(result, name, parameters, arguments) result(*mw_real_##name) parameters = early_##name;
MW_HEAP_FUNCTIONS(DEFINE)
MW_MAP_FUNCTIONS(DEFINE)
#undef DEFINE

struct mw_real_survey mw_real_surveyed;

static enum { UNRESOLVED, RESOLVED, UNRESOLVABLE } state; /* by whichever thread came first */

void *mw_real_find(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

void mw_real_forget_error(void)
{
    dlerror(); /* tells it, … */
    dlerror(); /* … and frees it */
}

/* C23 lets free stand in for these. */

static void free_for_sized(void *block, size_t size)
{
    (void)size;
    mw_real_free(block);
}

static void free_for_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    mw_real_free(block);
}

void mw_real_find_sized(void)
{
    void *sized = mw_real_find("free_sized");
    void *aligned_sized = mw_real_find("free_aligned_sized");
    if (sized)
        memcpy(&mw_real_free_sized, &sized, sizeof sized);
    if (aligned_sized)
        memcpy(&mw_real_free_aligned_sized, &aligned_sized, sizeof aligned_sized);
    mw_real_forget_error();
}

/* What an allocator above glibc lacks is found in glibc, whose blocks it cannot free: a program that calls these two
 * would crash with or without us. */
static void *memalign_for_valloc(size_t size)
{
    return mw_real_memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

static void *memalign_for_pvalloc(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes;
    if (__builtin_add_overflow(size, page - 1, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return mw_real_memalign(page, bytes & ~(page - 1));
}

static void mend_mixture(void)
{
    if ((void *)mw_real_malloc == mw_real_find("__libc_malloc"))
        return;
    if ((void *)mw_real_valloc == mw_real_find("__libc_valloc"))
        mw_real_valloc = memalign_for_valloc;
    if ((void *)mw_real_pvalloc == mw_real_find("__libc_pvalloc"))
        mw_real_pvalloc = memalign_for_pvalloc;
}

/* Looks only for what every libc has: where the program has an allocator of its own, a message of dlsym's would come
 * from that, and we may have been called from the midst of it. */
static bool find_all(void)
{
    mw_real_free_sized = free_for_sized;
    mw_real_free_aligned_sized = free_for_aligned_sized;
    /* ISO C has no cast from object to function. */
#define FIND(result, name, parameters, arguments)                                                                      \
    {                                                                                                                  \
        void *found = mw_real_find(#name);                                                                             \
        if (found)                                                                                                     \
            memcpy(&mw_real_##name, &found, sizeof found);                                                             \
    }
    MW_COMMON_HEAP_FUNCTIONS(FIND)
    MW_MAP_FUNCTIONS(FIND)
#undef FIND
    mend_mixture();
#define AND_FOUND(result, name, parameters, arguments) &&mw_real_##name != early_##name
    return true MW_COMMON_HEAP_FUNCTIONS(AND_FOUND);
#undef AND_FOUND
}

static size_t weigh_nothing(void *block)
{
    (void)block;
    return 0;
}

/* tcmalloc's malloc_usable_size calls new when it is called for the first time; where that calls malloc, us, we would
 * call malloc_usable_size for the block. */
static void call_usable_size_once(void)
{
    size_t (*found)(void *) = mw_real_malloc_usable_size;
    mw_real_malloc_usable_size = weigh_nothing;
    found(NULL);
    mw_real_malloc_usable_size = found;
}

bool mw_real_resolve(void)
{
    if (mw_thread.resolving)
        return false;
    mw_thread.resolving = true;
    bool found = find_all();
    if (found && state == UNRESOLVED)
        call_usable_size_once();
    if (found)
        mw_count_start();
    __atomic_store_n(&state, found ? RESOLVED : UNRESOLVABLE, __ATOMIC_RELEASE);
    mw_thread.resolving = false;
    return found;
}

/* May the call go on to what was found? Else it is ours to answer. */
static bool is_resolved(void)
{
    return __atomic_load_n(&state, __ATOMIC_ACQUIRE) == RESOLVED ||
           (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == UNRESOLVED && mw_real_resolve());
}

static void *early_malloc(size_t size)
{
    return is_resolved() ? mw_real_malloc(size) : mw_bootstrap_allocate(1, size);
}

static void early_free(void *block)
{
    if (!mw_bootstrap_owns(block) && is_resolved())
        mw_real_free(block);
}

static void *early_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (is_resolved())
        return mw_real_calloc(count, size);
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return mw_bootstrap_allocate(1, bytes);
}

static void *early_realloc(void *block, size_t size)
{
    if (is_resolved())
        return mw_real_realloc(block, size);
    void *moved = mw_bootstrap_allocate(1, size);
    if (moved && block) {
        size_t old = mw_bootstrap_usable_size(block);
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

static void *early_memalign(size_t alignment, size_t size)
{
    return is_resolved() ? mw_real_memalign(alignment, size) : mw_bootstrap_allocate(alignment, size);
}

static void *early_aligned_alloc(size_t alignment, size_t size)
{
    return is_resolved() ? mw_real_aligned_alloc(alignment, size) : mw_bootstrap_allocate(alignment, size);
}

static int early_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (is_resolved())
        return mw_real_posix_memalign(out, alignment, size);
    void *block = mw_bootstrap_allocate(alignment, size);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

static void *early_valloc(size_t size)
{
    return is_resolved() ? mw_real_valloc(size) : mw_bootstrap_allocate(4096, size);
}

static void *early_pvalloc(size_t size)
{
    return is_resolved() ? mw_real_pvalloc(size) : mw_bootstrap_allocate(4096, (size + 4095) & ~(size_t)4095);
}

static size_t early_malloc_usable_size(void *block)
{
    if (mw_bootstrap_owns(block))
        return mw_bootstrap_usable_size(block);
    return is_resolved() ? mw_real_malloc_usable_size(block) : 0;
}

static void early_free_sized(void *block, size_t size)
{
    if (is_resolved())
        mw_real_free_sized(block, size);
    else
        mw_real_free(block);
}

static void early_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (is_resolved())
        mw_real_free_aligned_sized(block, alignment, size);
    else
        mw_real_free(block);
}

/* A raw result as libc tells it. */
static long with_errno(long result)
{
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

/* Until all is found, mappings are made by the bare call: an allocator may hold its lock while it maps, and must not be
 * called back from here. */

static void *early_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)with_errno(mw_syscall6(SYS_mmap, (long)address, (long)bytes, protection, flags, fd, offset));
}

static int early_munmap(void *address, size_t bytes)
{
    return (int)with_errno(mw_sys_munmap(address, bytes));
}

static void *early_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *address)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)with_errno(
        mw_syscall6(SYS_mremap, (long)old, (long)old_bytes, (long)new_bytes, flags, (long)address, 0));
}

/* ---- the survey ---- */

static int survey_module(struct dl_phdr_info *module, size_t info_bytes, void *context)
{
    struct mw_real_survey *survey = context;
    uintptr_t allocator = (uintptr_t)mw_real_malloc;
    (void)info_bytes;
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &module->dlpi_phdr[i];
        uintptr_t start = module->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_flags & PF_W)
            survey->static_data_bytes += segment->p_memsz;
        if (allocator >= start && allocator < start + segment->p_memsz) {
            survey->allocator_start = start;
            survey->allocator_end = start + segment->p_memsz;
        }
    }
    return 0;
}

void mw_real_survey(void)
{
    struct mw_real_survey survey = {0};
    dl_iterate_phdr(survey_module, &survey);
    mw_real_surveyed = survey;
}

void *mw_real_find_allocators(const char *name)
{
    void *found = mw_real_find(name);
    if (!found)
        mw_real_forget_error();
    return mw_real_is_allocators(found) ? found : NULL;
}
