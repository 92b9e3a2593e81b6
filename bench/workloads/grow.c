/* SPDX-License-Identifier: MIT
 *
 * grow REALLOCS: sixteen buffers grow as strings and vectors do, by a few bytes or by half, to 64 KiB, and then begin
 * anew.
 */
#include "workload.h"

enum { BUFFERS = 16, LARGEST = 64 * 1024 };

int main(int argc, char **argv)
{
    static struct {
        char *block;
        size_t size;
    } buffers[BUFFERS];
    uint64_t random = 1;
    for (uint64_t left = number(argc, argv, 1, 1000); left; left--) {
        uint64_t next = random_next(&random);
        int i = (int)below(next, BUFFERS);
        size_t size = buffers[i].size + 1 + below(next << 32, 64);
        if (i % 2)
            size += buffers[i].size / 2;
        if (size > (i % 2 ? LARGEST : LARGEST / 16)) {
            free(buffers[i].block);
            buffers[i].block = NULL;
            size = 16;
        }
        char *block = realloc(buffers[i].block, size);
        must(block != NULL, "realloc");
        block[size - 1] = 1;
        buffers[i].block = block;
        buffers[i].size = size;
    }
    for (int i = 0; i < BUFFERS; i++)
        free(buffers[i].block);
}
