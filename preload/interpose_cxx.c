/* SPDX-License-Identifier: MIT
 *
 * C++'s operators new and delete, all that a program may replace, by the names that the Itanium ABI gives them.
 * jemalloc, tcmalloc and mimalloc bring their own, by which a C++ program's blocks would pass us by. Each call goes on
 * to
 * - the operator beneath us, where that is the C++ library's: it calls malloc and free, which count. All that is added
 *   is a jump;
 * - malloc and free themselves, where it is the allocator's. That one may call malloc and free or not, by its version
 *   and by how it was linked, and takes a size for granted that is not a sampled block's;
 * - malloc and free also where none is in sight: a program in C has loaded a module in C++, with a library for itself.
 * Exceptions pass through these functions; the file is compiled for that.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "bootstrap.h"
#include "real.h"
#include "threads.h"

#define EXPORT              __attribute__((visibility("default")))
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* X(symbol, (parameters), (arguments), alignment; 0: malloc's). std::align_val_t is a size_t; std::nothrow_t comes by
 * reference and says nothing. */
/* clang-format off */
#define NEW(X) \
    X(_Znwm,                              (size_t size),                                 (size),              0) \
    X(_Znam,                              (size_t size),                                 (size),              0) \
    X(_ZnwmRKSt9nothrow_t,                (size_t size, const void *none),               (size, none),        0) \
    X(_ZnamRKSt9nothrow_t,                (size_t size, const void *none),               (size, none),        0) \
    X(_ZnwmSt11align_val_t,               (size_t size, size_t align),                   (size, align),       align) \
    X(_ZnamSt11align_val_t,               (size_t size, size_t align),                   (size, align),       align) \
    X(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t align, const void *none), (size, align, none), align) \
    X(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t align, const void *none), (size, align, none), align)

/* X(symbol, (parameters), (arguments)) */
#define DELETE(X) \
    X(_ZdlPv,                              (void *block),                                 (block)) \
    X(_ZdaPv,                              (void *block),                                 (block)) \
    X(_ZdlPvm,                             (void *block, size_t size),                    (block, size)) \
    X(_ZdaPvm,                             (void *block, size_t size),                    (block, size)) \
    X(_ZdlPvRKSt9nothrow_t,                (void *block, const void *none),               (block, none)) \
    X(_ZdaPvRKSt9nothrow_t,                (void *block, const void *none),               (block, none)) \
    X(_ZdlPvSt11align_val_t,               (void *block, size_t align),                   (block, align)) \
    X(_ZdaPvSt11align_val_t,               (void *block, size_t align),                   (block, align)) \
    X(_ZdlPvmSt11align_val_t,              (void *block, size_t size, size_t align),      (block, size, align)) \
    X(_ZdaPvmSt11align_val_t,              (void *block, size_t size, size_t align),      (block, size, align)) \
    X(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t align, const void *none), (block, align, none)) \
    X(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t align, const void *none), (block, align, none))
/* clang-format on */

/* Where a call goes on to; at first, to where that is found out. */
#define DECLARE(result, symbol, parameters)                                                                            \
    result symbol parameters;                                                                                          \
    static result early_##symbol parameters;                                                                           \
    static result(*next_##symbol) parameters = early_##symbol;
#define DECLARE_NEW(symbol, parameters, arguments, alignment) DECLARE(void *, symbol, parameters)
#define DECLARE_DELETE(symbol, parameters, arguments)         DECLARE(void, symbol, parameters)
NEW(DECLARE_NEW)
DELETE(DECLARE_DELETE)

#define EXPORT_NEW(symbol, parameters, arguments, alignment)                                                           \
    EXPORT void *symbol parameters                                                                                     \
    {                                                                                                                  \
        return next_##symbol arguments;                                                                                \
    }
#define EXPORT_DELETE(symbol, parameters, arguments)                                                                   \
    EXPORT void symbol parameters                                                                                      \
    {                                                                                                                  \
        next_##symbol arguments;                                                                                       \
    }
NEW(EXPORT_NEW)
DELETE(EXPORT_DELETE)

/* ---- malloc and free ---- */

/* Is it in the module of the malloc beneath us? The survey may still be to come: constructors before ours call new. */
static bool is_allocators(const void *function)
{
    if (!mw_real_surveyed.allocator_end)
        mw_real_survey();
    return mw_real_is_allocators(function);
}

/* The C++ library's operator as a module sees it; `self` is ours. */
static void *find_in(const char *module, const char *symbol, const void *self)
{
    void *handle = dlopen(module, RTLD_LAZY | RTLD_NOLOAD);
    void *found = handle ? dlsym(handle, symbol) : NULL;
    if (handle)
        dlclose(handle);
    return found && found != self && !is_allocators(found) ? found : NULL;
}

/* There is no memory. The C++ library's operator hears that once more from malloc, calls the new_handler, and throws
 * what the caller can catch, if it is the library that the caller sees. The allocator's own is the last resort. */
static void *find_throwing(const char *symbol, const void *self, const void *caller)
{
    Dl_info module;
    mw_thread.resolving = true; /* a hard limit is not for what this needs itself (hard_limit.c) */
    void *found = dladdr(caller, &module) ? find_in(module.dli_fname, symbol, self) : NULL;
    if (!found)
        found = find_in("libstdc++.so.6", symbol, self);
    if (!found)
        found = find_in("libc++.so.1", symbol, self);
    if (!found)
        found = mw_real_find(symbol);
    mw_real_forget_error();
    mw_thread.resolving = false;
    if (!found && !strstr(symbol, "nothrow"))
        abort(); /* as if nobody caught it */
    return found;
}

static inline void *allocate(size_t alignment, size_t size)
{
    return alignment ? memalign(alignment, size) : malloc(size);
}

#define DEFINE_STAND_IN_NEW(symbol, parameters, arguments, alignment)                                                  \
    static void *stand_in_##symbol parameters                                                                          \
    {                                                                                                                  \
        void *block = allocate(alignment, size);                                                                       \
        if (UNLIKELY(!block)) {                                                                                        \
            void *found = find_throwing(#symbol, (void *)symbol, __builtin_return_address(0));                         \
            void *(*throwing)parameters;                                                                               \
            memcpy(&throwing, &found, sizeof found);                                                                   \
            return throwing ? throwing arguments : NULL;                                                               \
        }                                                                                                              \
        return block;                                                                                                  \
    }
NEW(DEFINE_STAND_IN_NEW)

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define DEFINE_STAND_IN_DELETE(symbol, parameters, arguments)                                                          \
    static void stand_in_##symbol parameters                                                                           \
    {                                                                                                                  \
        free(block);                                                                                                   \
    }
// NOLINTNEXTLINE(misc-unused-parameters)
DELETE(DEFINE_STAND_IN_DELETE)

/* ---- which of the two ---- */

static bool stand_in_for_all;

/* The operator beneath us; NULL: malloc and free stand in. */
static void *find(const char *symbol)
{
    if (stand_in_for_all)
        return NULL;
    int saved = errno;
    mw_real_free(NULL); /* whatever comes first finds the allocator */
    mw_thread.resolving = true;
    void *found = mw_real_find(symbol);
    if (!found)
        mw_real_forget_error();
    mw_thread.resolving = false;
    errno = saved;
    return found && !is_allocators(found) ? found : NULL;
}

#define DEFINE_FIND(result, symbol, parameters)                                                                        \
    static void find_##symbol(void)                                                                                    \
    {                                                                                                                  \
        void *found = find(#symbol);                                                                                   \
        result(*beneath) parameters;                                                                                   \
        memcpy(&beneath, &found, sizeof found);                                                                        \
        __atomic_store_n(&next_##symbol, beneath ? beneath : stand_in_##symbol, __ATOMIC_RELAXED);                     \
    }
#define DEFINE_EARLY_NEW(symbol, parameters, arguments, alignment)                                                     \
    DEFINE_FIND(void *, symbol, parameters)                                                                            \
    static void *early_##symbol parameters                                                                             \
    {                                                                                                                  \
        if (mw_thread.resolving)                                                                                       \
            return mw_bootstrap_allocate(alignment, size);                                                             \
        find_##symbol();                                                                                               \
        return next_##symbol arguments;                                                                                \
    }
#define DEFINE_EARLY_DELETE(symbol, parameters, arguments)                                                             \
    DEFINE_FIND(void, symbol, parameters)                                                                              \
    static void early_##symbol parameters                                                                              \
    {                                                                                                                  \
        if (mw_thread.resolving) {                                                                                     \
            free(block);                                                                                               \
        } else {                                                                                                       \
            find_##symbol();                                                                                           \
            next_##symbol arguments;                                                                                   \
        }                                                                                                              \
    }
NEW(DEFINE_EARLY_NEW)
DELETE(DEFINE_EARLY_DELETE)

/* The rest: later, a thread might have to wait for the loader's lock in here, and its holder for that thread. */
__attribute__((constructor)) static void find_all(void)
{
#define FIND_NEW(symbol, parameters, arguments, alignment)                                                             \
    if (next_##symbol == early_##symbol)                                                                               \
        find_##symbol();
#define FIND_DELETE(symbol, parameters, arguments) FIND_NEW(symbol, parameters, arguments, )
    stand_in_for_all = !find("_Znwm"); /* most programs are in C, and a search in vain takes long */
    NEW(FIND_NEW)
    DELETE(FIND_DELETE)
}
