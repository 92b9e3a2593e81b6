/* SPDX-License-Identifier: MIT
 *
 * glibc's semantics at the edges: sizes of 0, alignments that are none, overflow, errno. Passes with the library and
 * without it.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

/* Hides a value from the optimizer. */
static size_t opaque(size_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

static void is_aligned(const void *block, size_t alignment)
{
    CHECK(block && (uintptr_t)block % alignment == 0, "%p is not aligned to %zu", block, alignment);
}

static void fails(const char *what, const void *block)
{
    CHECK(!block && errno == ENOMEM, "%s: %p, errno %d", what, block, errno);
    errno = 0;
}

int main(void)
{
    size_t huge = opaque(SIZE_MAX - 100);
    void *block;

    errno = 0;
    block = malloc(opaque(0));
    CHECK(block, "malloc(0) is a block");
    CHECK(malloc_usable_size(block) == 24, "of 24 bytes");
    CHECK(!realloc(block, opaque(0)), "realloc(p, 0) frees it");
    CHECK(errno == 0, "which is no error");
    block = realloc(NULL, opaque(0));
    CHECK(block, "realloc(NULL, 0) is a block");
    free(block);
    free(NULL);
    CHECK(malloc_usable_size(NULL) == 0, "nothing is usable of nothing");

    fails("malloc", malloc(huge));
    fails("calloc", calloc(huge, 2));
    fails("calloc", calloc(opaque(SIZE_MAX / 2), 3));
    fails("reallocarray", reallocarray(NULL, opaque(SIZE_MAX / 2), 3));
    fails("memalign", memalign(64, huge));
    fails("valloc", valloc(huge));
    fails("pvalloc", pvalloc(huge));

    block = malloc(100);
    memset(block, 7, 100);
    fails("realloc", realloc(block, huge));
    fails("reallocarray", reallocarray(block, opaque(SIZE_MAX / 2), 3));
    CHECK(((char *)block)[99] == 7, "the old block lives on");
    block = realloc(block, 5000);
    CHECK(block && ((char *)block)[99] == 7, "and is moved whole");
    free(block);

    block = calloc(100, 100);
    for (size_t i = 0; i < 10000; i++)
        CHECK(((char *)block)[i] == 0, "calloc zeroes");
    free(block);

    /* glibc 2.36 takes what the standard forbids. */
    block = aligned_alloc(opaque(64), opaque(100));
    is_aligned(block, 64);
    free(block);
    block = aligned_alloc(opaque(24), opaque(48));
    is_aligned(block, 32);
    free(block);
    block = memalign(opaque(3), opaque(10));
    is_aligned(block, 16);
    free(block);
    for (size_t alignment = 16; alignment <= 1024 * 1024; alignment *= 2) {
        is_aligned(block = memalign(alignment, 10), alignment);
        free(block);
    }
    is_aligned(block = valloc(10), 4096);
    free(block);
    is_aligned(block = pvalloc(10), 4096);
    CHECK(malloc_usable_size(block) >= 4096, "pvalloc rounds up");
    free(block);

    errno = 77;
    block = (void *)1;
    CHECK(posix_memalign(&block, opaque(24), 10) == EINVAL && block == (void *)1, "posix_memalign, no power of two");
    CHECK(posix_memalign(&block, opaque(4), 10) == EINVAL, "posix_memalign, too small");
    CHECK(posix_memalign(&block, 64, huge) == ENOMEM, "posix_memalign, too large");
    CHECK(posix_memalign(&block, 64, 0) == 0 && block, "posix_memalign of nothing");
    errno = 77;
    free(block);
    CHECK(errno == 77, "free leaves errno alone");
    block = malloc(1024 * 1024);
    errno = 77;
    free(block);
    CHECK(errno == 77, "also where it unmaps");
    puts("semantics: all kept");
    return 0;
}
