/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "bootstrap.h"
#include "syscall.h"
#include "threads.h"

/* Each of these runs until the function beneath it is found; inside the search itself, and where there is nothing to
 * be found, it answers from the bootstrap arena or with the bare system call. */

#define DECLARE_EARLY(result, name, parameters, arguments) static result early_##name parameters;
MW_REAL_FUNCTIONS(DECLARE_EARLY)
#undef DECLARE_EARLY

struct mw_real mw_real = {
#define POINT_TO_EARLY(result, name, parameters, arguments) .name = early_##name,
    MW_REAL_FUNCTIONS(POINT_TO_EARLY)
#undef POINT_TO_EARLY
};

struct mw_real_survey mw_real_surveyed;

static bool resolved; /* by whichever thread came first */

bool mw_real_resolve(void)
{
    if (mw_thread.resolving)
        return false;
    mw_thread.resolving = true;
    /* dlsym fails for those that this libc does not have; its message stays with dlerror, as for any caller. */
#define RESOLVE(result, name, parameters, arguments)                                                                   \
    {                                                                                                                  \
        void *found = dlsym(RTLD_NEXT, #name);                                                                         \
        if (found)                                                                                                     \
            memcpy(&mw_real.name, &found, sizeof found); /* ISO C has no cast from object to function */               \
    }
    MW_REAL_FUNCTIONS(RESOLVE)
#undef RESOLVE
    mw_thread.resolving = false;
    __atomic_store_n(&resolved, true, __ATOMIC_RELEASE);
    return true;
}

/* Has the search found something better than what runs now? */
#define FOUND(name)                                                                                                    \
    ((__atomic_load_n(&resolved, __ATOMIC_ACQUIRE) || mw_real_resolve()) && mw_real.name != early_##name)

static void *early_malloc(size_t size)
{
    return FOUND(malloc) ? mw_real.malloc(size) : mw_bootstrap_allocate(1, size);
}

static void early_free(void *block)
{
    if (!mw_bootstrap_owns(block) && FOUND(free))
        mw_real.free(block);
}

static void *early_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (FOUND(calloc))
        return mw_real.calloc(count, size);
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return mw_bootstrap_allocate(1, bytes);
}

static void *early_realloc(void *block, size_t size)
{
    if (FOUND(realloc))
        return mw_real.realloc(block, size);
    void *moved = mw_bootstrap_allocate(1, size);
    if (moved && block) {
        size_t old = mw_bootstrap_usable_size(block);
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

static void *early_memalign(size_t alignment, size_t size)
{
    return FOUND(memalign) ? mw_real.memalign(alignment, size) : mw_bootstrap_allocate(alignment, size);
}

static void *early_aligned_alloc(size_t alignment, size_t size)
{
    return FOUND(aligned_alloc) ? mw_real.aligned_alloc(alignment, size) : mw_bootstrap_allocate(alignment, size);
}

static int early_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (FOUND(posix_memalign))
        return mw_real.posix_memalign(out, alignment, size);
    void *block = mw_bootstrap_allocate(alignment, size);
    if (!block)
        return ENOMEM;
    *out = block;
    return 0;
}

static void *early_valloc(size_t size)
{
    return FOUND(valloc) ? mw_real.valloc(size) : mw_bootstrap_allocate(4096, size);
}

static void *early_pvalloc(size_t size)
{
    return FOUND(pvalloc) ? mw_real.pvalloc(size) : mw_bootstrap_allocate(4096, (size + 4095) & ~(size_t)4095);
}

static size_t early_malloc_usable_size(void *block)
{
    if (mw_bootstrap_owns(block))
        return mw_bootstrap_usable_size(block);
    return FOUND(malloc_usable_size) ? mw_real.malloc_usable_size(block) : 0;
}

/* C23 lets free stand in for the sized ones, and glibc has them only from 2.43 on. */
static void early_free_sized(void *block, size_t size)
{
    if (FOUND(free_sized))
        mw_real.free_sized(block, size);
    else
        mw_real.free(block);
}

static void early_free_aligned_sized(void *block, size_t alignment, size_t size)
{
    if (FOUND(free_aligned_sized))
        mw_real.free_aligned_sized(block, alignment, size);
    else
        mw_real.free(block);
}

/* A raw result as libc tells it. */
static long with_errno(long result)
{
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

static void *early_mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (FOUND(mmap))
        return mw_real.mmap(address, bytes, protection, flags, fd, offset);
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)with_errno(mw_syscall6(SYS_mmap, (long)address, (long)bytes, protection, flags, fd, offset));
}

static int early_munmap(void *address, size_t bytes)
{
    return FOUND(munmap) ? mw_real.munmap(address, bytes) : (int)with_errno(mw_sys_munmap(address, bytes));
}

static void *early_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *address)
{
    if (FOUND(mremap))
        return mw_real.mremap(old, old_bytes, new_bytes, flags, address);
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)with_errno(
        mw_syscall6(SYS_mremap, (long)old, (long)old_bytes, (long)new_bytes, flags, (long)address, 0));
}

/* ---- the survey ---- */

static int survey_module(struct dl_phdr_info *module, size_t info_bytes, void *context)
{
    struct mw_real_survey *survey = context;
    uintptr_t allocator = (uintptr_t)mw_real.malloc;
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
