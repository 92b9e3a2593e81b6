/* SPDX-License-Identifier: MIT
 *
 * A program that brings its own malloc: nothing of ours is ever called for its heap.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static char arena[16 * 1024 * 1024];
static size_t used;

void *malloc(size_t size);
void free(void *block);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);

void *malloc(size_t size)
{
    size_t start = __atomic_fetch_add(&used, (size + 31) & ~(size_t)15, __ATOMIC_RELAXED);
    if (start + size + 16 > sizeof arena) {
        errno = ENOMEM;
        return NULL;
    }
    *(size_t *)(void *)(arena + start) = size;
    return arena + start + 16;
}

void free(void *block)
{
    (void)block;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size); /* the arena is zero, and no block is used twice */
}

void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    if (moved && block) {
        size_t old = *(size_t *)(void *)((char *)block - 16);
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}

int main(void)
{
    char *block = malloc(2 * 1024 * 1024);
    memset(block, 1, 2 * 1024 * 1024);
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    return 0;
}
