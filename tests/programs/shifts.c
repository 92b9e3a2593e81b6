/* SPDX-License-Identifier: MIT
 *
 * Programs whose allocator comes to hold much more than they use: what one of them drops is of no use for what it takes
 * next.
 *
 *     shifts phases           one thread: 60 MiB of small blocks, then, when all but a few are dropped, of larger ones
 *     shifts turns            four threads, one after the other, 40 MiB each, in arenas of their own
 *     shifts churn SECONDS    60 MiB are held; of them, now these and now those are dropped and taken anew
 *     shifts swing SECONDS    60 MiB are taken and dropped, over and over
 *     shifts hold             holds 60 MiB that it does not use and allocates a little now and then, for ever
 *
 * Says "ready" when all is held, and "done" at the end.
 */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define BLOCKS 60000
#define BYTES  1000

static void *blocks[BLOCKS];

static void *take(size_t bytes)
{
    void *block = malloc(bytes);
    CHECK(block, "malloc");
    return memset(block, 1, bytes);
}

static void say(const char *line)
{
    (void)!write(1, line, strlen(line));
}

/* All but every so manieth. */
static void drop(void **held, unsigned count, unsigned kept)
{
    for (unsigned i = 0; i < count; i++)
        if (i % kept) {
            free(held[i]);
            held[i] = NULL;
        }
}

static void hold(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = take(BYTES);
    drop(blocks, BLOCKS, 32);
}

static void phases(void)
{
    void *large[BLOCKS / 40];
    hold();
    for (unsigned i = 0; i < BLOCKS / 40; i++)
        large[i] = take(40 * BYTES);
    drop(large, BLOCKS / 40, 8);
}

/* ---- turns ---- */

#define TURNS       4
#define TURN_BLOCKS 40000

static pthread_barrier_t barrier;

static void *work(void *number)
{
    void **held = take(TURN_BLOCKS * sizeof *held);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        if (turn == *(unsigned *)number) {
            for (unsigned i = 0; i < TURN_BLOCKS; i++)
                held[i] = take(BYTES);
            drop(held, TURN_BLOCKS, 100);
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void turns(void)
{
    pthread_t threads[TURNS];
    unsigned numbers[TURNS];
    pthread_barrier_init(&barrier, NULL, TURNS);
    for (unsigned i = 0; i < TURNS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0, "pthread_create");
    }
    for (unsigned i = 0; i < TURNS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- for a time ---- */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Runs of neighbours, so that what is free has whole pages in it. */
static void churn(double seconds)
{
    const unsigned run = 16;
    uint64_t random = 1;
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = take(BYTES);
    say("ready\n");
    for (double end = now_s() + seconds; now_s() < end;) {
        unsigned first[64];
        for (unsigned k = 0; k < 64; k++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            first[k] = (unsigned)(random >> 33) % (BLOCKS - run);
            for (unsigned i = first[k]; i < first[k] + run; i++) {
                free(blocks[i]);
                blocks[i] = NULL;
            }
        }
        for (unsigned k = 0; k < 64; k++)
            for (unsigned i = first[k]; i < first[k] + run; i++)
                if (!blocks[i])
                    blocks[i] = take(BYTES);
    }
}

static void *volatile pinned; /* at the heap's end, so that the allocator gives nothing back by itself */

static void swing(double seconds)
{
    say("ready\n");
    for (double end = now_s() + seconds; now_s() < end;) {
        for (unsigned i = 0; i < BLOCKS; i++)
            blocks[i] = take(BYTES);
        pinned = take(BYTES);
        usleep(100000);
        drop(blocks, BLOCKS, BLOCKS);
        usleep(300000);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 1, "which?");
    if (strcmp(argv[1], "phases") == 0) {
        phases();
    } else if (strcmp(argv[1], "turns") == 0) {
        turns();
    } else if (strcmp(argv[1], "churn") == 0 && argc > 2) {
        churn(strtod(argv[2], NULL));
    } else if (strcmp(argv[1], "swing") == 0 && argc > 2) {
        swing(strtod(argv[2], NULL));
    } else if (strcmp(argv[1], "hold") == 0) {
        hold();
        say("ready\n");
        for (;;) {
            for (unsigned i = 0; i < 100; i++)
                free(take(3 * BYTES));
            usleep(10000);
        }
    }
    say("done\n");
    return 0;
}
