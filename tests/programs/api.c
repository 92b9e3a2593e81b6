/* SPDX-License-Identifier: MIT
 *
 * The API in C and in C++, with the library loaded ("present"; "unwatched": without a monitor) and without
 * ("absent").
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <memwatch.h>

#include "check.h"

static void told(enum memwatch_pressure_level level, void *context)
{
    (void)level;
    (void)context;
}

static void absent(void)
{
    struct memwatch_stats stats;
    memset(&stats, 1, sizeof stats);
    errno = 77;
    CHECK(memwatch_read_stats(&stats) == -ENOSYS, "read_stats");
    CHECK(stats.Alloc == 0 && stats.OutputDrops == 0, "the struct is zero");
    CHECK(memwatch_trim() == -ENOSYS, "trim");
    CHECK(memwatch_free_os_memory() == -ENOSYS, "free_os_memory");
    CHECK(memwatch_set_memory_limit(1) == -ENOSYS, "set_memory_limit");
    CHECK(memwatch_set_trim_percent(1) == -ENOSYS, "set_trim_percent");
    CHECK(memwatch_get_trim_percent() == -ENOSYS, "get_trim_percent");
    CHECK(memwatch_on_pressure(MEMWATCH_PRESSURE_LOW, told, NULL) == -ENOSYS, "on_pressure");
    CHECK(memwatch_remove_pressure(1) == -ENOSYS, "remove_pressure");
    CHECK(memwatch_pressure() == -ENOSYS, "pressure");
    CHECK(errno == 77, "errno is left alone");
}

static void trim_percent(void)
{
    CHECK(memwatch_get_trim_percent() == 50, "the default");
    CHECK(memwatch_set_trim_percent(20) == 50 && memwatch_get_trim_percent() == 20, "set");
    CHECK(memwatch_set_trim_percent(-1) == 20 && memwatch_get_trim_percent() == INT_MAX, "off");
    CHECK(memwatch_set_trim_percent(0) == INT_MAX && memwatch_get_trim_percent() == 0, "0 is not off");
    CHECK(memwatch_set_trim_percent(1 << 30) == 0 && memwatch_get_trim_percent() == 100000, "at most");
    CHECK(memwatch_set_trim_percent(INT_MAX) == 100000 && memwatch_get_trim_percent() == INT_MAX, "off again");
}

static void pressure(void)
{
    int handles[MEMWATCH_PRESSURE_CALLBACKS];
    CHECK(memwatch_pressure() == MEMWATCH_PRESSURE_NONE, "none at first");
    CHECK(memwatch_on_pressure(MEMWATCH_PRESSURE_NONE, told, NULL) == -EINVAL, "no such level");
    CHECK(memwatch_on_pressure(MEMWATCH_PRESSURE_LOW, NULL, NULL) == -EINVAL, "no callback");
    for (int i = 0; i < MEMWATCH_PRESSURE_CALLBACKS; i++) {
        handles[i] = memwatch_on_pressure(MEMWATCH_PRESSURE_LOW, told, NULL);
        CHECK(handles[i] > 0, "a handle");
    }
    CHECK(memwatch_on_pressure(MEMWATCH_PRESSURE_LOW, told, NULL) == -ENOSPC, "one too many");
    for (int i = 0; i < MEMWATCH_PRESSURE_CALLBACKS; i++) {
        CHECK(memwatch_remove_pressure(handles[i]) == 0, "removed");
        CHECK(memwatch_remove_pressure(handles[i]) == -ENOENT, "and gone");
    }
    CHECK(memwatch_remove_pressure(0) == -ENOENT && memwatch_remove_pressure(-1) == -ENOENT, "no handle");
}

/* Nobody watches: MEMWATCH_MONITOR=off. */
static void unwatched(void)
{
    CHECK(memwatch_pressure() == -ENOTSUP, "pressure");
    CHECK(memwatch_on_pressure(MEMWATCH_PRESSURE_LOW, told, NULL) == -ENOTSUP, "on_pressure");
    CHECK(memwatch_remove_pressure(1) == -ENOENT, "remove_pressure");
}

static void present(void)
{
    struct memwatch_stats before;
    struct memwatch_stats after;
    errno = 77;
    CHECK(memwatch_read_stats(&before) == 0, "read_stats");
    char *block = (char *)malloc(1000);
    CHECK(block, "malloc");
    block[0] = 1;
    CHECK(memwatch_read_stats(&after) == 0, "read_stats");
    CHECK(after.Mallocs == before.Mallocs + 1 && after.Alloc >= before.Alloc + 1000, "the block is counted");
    free(block);

    CHECK(memwatch_set_memory_limit(-1) == INT64_MAX, "no limit at first");
    CHECK(memwatch_set_memory_limit((int64_t)1 << 40) == INT64_MAX, "set");
    CHECK(memwatch_set_memory_limit(-1) == (int64_t)1 << 40, "read");
    CHECK(memwatch_set_memory_limit(INT64_MAX) == (int64_t)1 << 40, "lifted");
    CHECK(memwatch_set_memory_limit(-1) == INT64_MAX, "and gone");

    trim_percent();
    pressure();

    CHECK(memwatch_trim() >= 0, "trim");
    CHECK(memwatch_read_stats(&after) == 0, "read_stats");
    CHECK(after.NumTrim == before.NumTrim + 1 && after.NumForcedTrim == before.NumForcedTrim + 1, "it is counted");
    CHECK(memwatch_free_os_memory() >= 0, "free_os_memory");
    CHECK(after.LastTrim > before.LastTrim && after.PauseTotalNs > before.PauseTotalNs, "with its time");
    CHECK(errno == 77, "errno is left alone");

    /* A caller built with a struct that was shorter, or is longer. */
    struct {
        struct memwatch_stats known;
        uint64_t unknown;
    } longer;
    memset(&longer, 1, sizeof longer);
    CHECK(memwatch_v1_read_stats(&longer.known, sizeof longer) == 0 && longer.unknown == 0, "longer");
    memset(&after, 1, sizeof after);
    CHECK(memwatch_v1_read_stats(&after, offsetof(struct memwatch_stats, TotalAlloc)) == 0, "shorter");
    CHECK(after.Alloc != 0x0101010101010101 && after.TotalAlloc == 0x0101010101010101, "shorter");
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "one argument");
    if (strcmp(argv[1], "present") == 0)
        present();
    else if (strcmp(argv[1], "unwatched") == 0)
        unwatched();
    else
        absent();
    printf("api: %s\n", argv[1]);
    return 0;
}
