/* SPDX-License-Identifier: MIT
 *
 * fragment PAIRS: blocks from 16 bytes to 256 KiB, mostly small, that live for a moment, for a while, or for long;
 * every now and then half of those that live for a while die at once and leave holes.
 */
#include "workload.h"

enum { SHORT = 1000, MEDIUM = 20000, LONG = 10000, PHASES = 8, PAGE = 4096 };

static void *short_lived[SHORT];
static void *medium_lived[MEDIUM];
static void *long_lived[LONG];

static size_t choose_size(uint64_t random)
{
    uint32_t kind = below(random, 1000);
    uint32_t fraction = (uint32_t)random;
    if (kind < 800)
        return 16 + below((uint64_t)fraction << 32, 241);
    if (kind < 950)
        return 256 + below((uint64_t)fraction << 32, 3841);
    if (kind < 995)
        return 4096 + below((uint64_t)fraction << 32, 28673);
    return 32768 + below((uint64_t)fraction << 32, 229377);
}

static void **choose_slot(uint64_t random, uint64_t turn)
{
    uint32_t kind = below(random, 100);
    if (kind < 70)
        return &short_lived[turn % SHORT];
    if (kind < 97)
        return &medium_lived[below(random << 32, MEDIUM)];
    return &long_lived[below(random << 32, LONG)];
}

static void renew(void **slot, size_t size)
{
    free(*slot);
    char *block = allocate(size);
    for (size_t i = PAGE; i < size; i += PAGE)
        block[i] = 1;
    *slot = block;
}

static void release(void **slots, int count, int step)
{
    for (int i = 0; i < count; i += step) {
        free(slots[i]);
        slots[i] = NULL;
    }
}

int main(int argc, char **argv)
{
    uint64_t pairs = number(argc, argv, 1, 1000);
    uint64_t phase = pairs / PHASES + 1;
    uint64_t random = 1;
    for (uint64_t turn = 0; turn < pairs; turn++) {
        uint64_t place = random_next(&random);
        renew(choose_slot(place, turn), choose_size(random_next(&random)));
        if (turn % phase == phase - 1)
            release(medium_lived, MEDIUM, 2);
    }
    release(short_lived, SHORT, 1);
    release(medium_lived, MEDIUM, 1);
    release(long_lived, LONG, 1);
}
