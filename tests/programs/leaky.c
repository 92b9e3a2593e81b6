/* SPDX-License-Identifier: MIT
 *
 * A C extension that leaks: for a script that loads it.
 */
#include <stdlib.h>
#include <string.h>

void leak_through_extension(size_t bytes)
{
    char *block = malloc(bytes);
    if (block)
        memset(block, 'x', bytes);
    __asm__ volatile("" : : "r"(block)); /* it is meant to be lost */
}
