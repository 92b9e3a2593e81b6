/* SPDX-License-Identifier: MIT
 *
 * A program that brings its own malloc, as those with a static jemalloc do: nothing of ours is ever called for its
 * heap, but for the mapping that it makes under its own lock, at the very first call, which a C++ library makes before
 * anyone else has begun. Whoever calls malloc from there stands still for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ARENA_BYTES ((size_t)16 * 1024 * 1024)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *arena;
static size_t used;

void *malloc(size_t size);
void free(void *block);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);

void *malloc(size_t size)
{
    pthread_mutex_lock(&lock);
    if (!arena)
        arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t start = used;
    used += (size + 31) & ~(size_t)15;
    pthread_mutex_unlock(&lock);
    if (start + size + 16 > ARENA_BYTES) {
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
