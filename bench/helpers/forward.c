/* SPDX-License-Identifier: MIT
 *
 * A preloaded library that does nothing but pass malloc and free on: the least that any interposer can cost.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t size);
EXPORT void *calloc(size_t count, size_t size);
EXPORT void *realloc(void *block, size_t size);
EXPORT void free(void *block);

/* Until the real ones are known, which dlsym may allocate to find out. */
static char arena[4096] __attribute__((aligned(16)));
static size_t used;

static void *early_malloc(size_t size)
{
    size_t begin = used;
    used += (size + 15) & ~(size_t)15;
    return used <= sizeof arena ? arena + begin : NULL;
}

static void find(void);

static void *first_malloc(size_t size)
{
    find();
    return malloc(size);
}

static void *first_calloc(size_t count, size_t size)
{
    find();
    return calloc(count, size);
}

static void *first_realloc(void *block, size_t size)
{
    find();
    return realloc(block, size);
}

static void first_free(void *block)
{
    (void)block;
}

static void *early_calloc(size_t count, size_t size)
{
    return early_malloc(count * size);
}

static void *early_realloc(void *block, size_t size)
{
    return block ? NULL : early_malloc(size);
}

static void *(*real_malloc)(size_t) = first_malloc;
static void *(*real_calloc)(size_t, size_t) = first_calloc;
static void *(*real_realloc)(void *, size_t) = first_realloc;
static void (*real_free)(void *) = first_free;

__attribute__((constructor)) static void find(void)
{
    real_malloc = early_malloc;
    real_calloc = early_calloc;
    real_realloc = early_realloc;
    void *(*found_malloc)(size_t) = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    void *(*found_calloc)(size_t, size_t) = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    void *(*found_realloc)(void *, size_t) = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    real_calloc = found_calloc;
    real_realloc = found_realloc;
    real_malloc = found_malloc;
}

EXPORT void *malloc(size_t size)
{
    return real_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return real_calloc(count, size);
}

EXPORT void *realloc(void *block, size_t size)
{
    return real_realloc(block, size);
}

EXPORT void free(void *block)
{
    real_free(block);
}
