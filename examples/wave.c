/* SPDX-License-Identifier: MIT
 *
 * A program whose memory swings: every tick it takes 10 MiB in small blocks, and now and then drops the older ones. It
 * also keeps one small block of each tick, so that the allocator cannot give the memory back by itself.
 *
 *     wave [TICKS [TICK_MS]]      default: without end, a tick every 1000 ms
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_BYTES  ((size_t)10 * 1024 * 1024)
#define BLOCK_BYTES ((size_t)1000)
#define BLOCKS      (TICK_BYTES / BLOCK_BYTES)
#define WAVE_TICKS  15 /* so many are taken before the older ones are dropped */
#define KEEP_TICKS  3

static void *blocks[WAVE_TICKS][BLOCKS];
static void *pinned; /* the latest of those that stay behind, each on top of the heap */

static unsigned long number(const char *text, const char *what)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end || *text == '-' || value == 0 || value > 1000000) {
        fprintf(stderr, "wave: %s is a whole number from 1 to 1000000, not \"%s\"\n", what, text);
        exit(2);
    }
    return value;
}

static void take(void **tick)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        tick[i] = malloc(BLOCK_BYTES);
        if (!tick[i]) {
            perror("wave");
            exit(1);
        }
        memset(tick[i], 1, BLOCK_BYTES);
    }
    pinned = malloc(BLOCK_BYTES);
}

static void drop(void **tick)
{
    for (size_t i = 0; i < BLOCKS; i++)
        free(tick[i]);
}

int main(int argc, char **argv)
{
    unsigned long ticks = argc > 1 ? number(argv[1], "TICKS") : 0;
    unsigned long tick_ms = argc > 2 ? number(argv[2], "TICK_MS") : 1000;
    struct timespec pause = {.tv_sec = (time_t)(tick_ms / 1000), .tv_nsec = (long)(tick_ms % 1000) * 1000000};
    unsigned held = 0;
    for (unsigned long tick = 0; ticks == 0 || tick < ticks; tick++) {
        if (held == WAVE_TICKS) {
            for (unsigned i = 0; i < WAVE_TICKS - KEEP_TICKS; i++)
                drop(blocks[i]);
            memmove(blocks, blocks + WAVE_TICKS - KEEP_TICKS, KEEP_TICKS * sizeof blocks[0]);
            held = KEEP_TICKS;
        }
        take(blocks[held++]);
        nanosleep(&pause, NULL);
    }
    return 0;
}
