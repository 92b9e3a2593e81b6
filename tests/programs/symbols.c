/* SPDX-License-Identifier: MIT
 *
 * Says where some of its calls return to, as addresses in its file, and in which lines they stand: what a symbolizer
 * is asked, and what it has to answer.
 */
#include <link.h>
#include <stdint.h>
#include <stdio.h>

static uintptr_t bias;

static int note_bias(struct dl_phdr_info *info, size_t bytes, void *context)
{
    (void)bytes;
    (void)context;
    bias = info->dlpi_addr;
    return 1; /* the first is the program */
}

#define KEEP_FRAME() __asm__ volatile("") /* or the call before it would become a jump */

static __attribute__((noinline)) void mark(const char *label, unsigned line)
{
    printf("%s %lx %u\n", label, (unsigned long)((uintptr_t)__builtin_return_address(0) - bias), line);
}

static inline __attribute__((always_inline)) void inlined_inner(void)
{
    mark("inlined", __LINE__);
    KEEP_FRAME();
}

static inline __attribute__((always_inline)) void inlined_outer(void)
{
    inlined_inner();
    KEEP_FRAME();
}

static __attribute__((noinline)) void hidden(void)
{
    inlined_outer();
    KEEP_FRAME();
}

int main(void)
{
    dl_iterate_phdr(note_bias, NULL);
    hidden();
    mark("main", __LINE__);
    KEEP_FRAME();
    return 0;
}
