/* SPDX-License-Identifier: MIT
 *
 * Fills a cache without end, and drops it when memory is short: cache MIB LEVEL [fork].
 * Says how often it was told so, and how many MiB were resident at most.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memwatch.h>

#include "check.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct block {
    struct block *next;
    char content[BLOCK_BYTES - sizeof(struct block *)];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *cache;
static int calls;
static int highest;

static void drop(enum memwatch_pressure_level level, void *context)
{
    pthread_mutex_lock(&lock);
    CHECK(context == &cache, "the context comes along");
    while (cache) {
        struct block *next = cache->next;
        free(cache);
        cache = next;
    }
    calls++;
    if ((int)level > highest)
        highest = (int)level;
    pthread_mutex_unlock(&lock);
}

static void add(void)
{
    struct block *block = malloc(sizeof *block);
    CHECK(block, "malloc");
    memset(block->content, 1, sizeof block->content);
    pthread_mutex_lock(&lock);
    block->next = cache;
    cache = block;
    pthread_mutex_unlock(&lock);
}

static uint64_t rss_mib(void)
{
    struct memwatch_stats stats;
    memwatch_read_stats(&stats);
    return stats.RSS >> 20;
}

static void fill(size_t mib)
{
    uint64_t most = 0;
    const struct timespec a_while = {.tv_nsec = 1000000};
    for (size_t i = 0; i < mib; i++) {
        for (size_t j = 0; j < ((size_t)1 << 20) / BLOCK_BYTES; j++)
            add();
        uint64_t now = rss_mib();
        most = now > most ? now : most;
        nanosleep(&a_while, NULL);
    }
    printf("calls %d, level %d, most %d MiB\n", calls, highest, (int)most);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3, "cache MIB LEVEL");
    size_t mib = strtoul(argv[1], NULL, 10);
    int level = (int)strtol(argv[2], NULL, 10);
    if (level) {
        int handle = memwatch_on_pressure((enum memwatch_pressure_level)level, drop, &cache);
        CHECK(handle > 0, "%d", handle);
    }
    if (argc > 3) {
        pid_t child = fork();
        int status = 0;
        if (child == 0) {
            fill(mib);
            return 0;
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child: %x", (unsigned)status);
        return 0;
    }
    fill(mib);
    return 0;
}
