/* SPDX-License-Identifier: MIT
 *
 * A program whose allocator holds 48 MiB that it does not use: blocks were freed, and some between them live.
 *
 *     hoard busy|asleep
 *
 * Says "ready". busy: goes on allocating and freeing, a block each millisecond, and now and then one that it keeps.
 */
#include <string.h>
#include <unistd.h>

#include "check.h"

#define BLOCKS 48000
#define BYTES  1000

static void *blocks[BLOCKS];

static __attribute__((noinline, noclone)) void *allocate_while_busy(size_t bytes)
{
    char *block = malloc(bytes);
    block[0] = 'x';
    return block;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "hoard busy|asleep");
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = memset(malloc(BYTES), 'x', BYTES);
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 100)
            free(blocks[i]);
    free(malloc(100)); /* the last is not at the heap's end */
    (void)!write(STDOUT_FILENO, "ready\n", 6);
    while (strcmp(argv[1], "busy") == 0) {
        for (unsigned i = 0; i < 100; i++)
            free(allocate_while_busy(3000));
        usleep(1000);
    }
    for (;;)
        pause();
}
