/* SPDX-License-Identifier: MIT
 *
 * memwatch stats PID|SEGMENT: all statistics of one process.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "commands.h"
#include "format.h"
#include "syscall.h"
#include "target.h"
#include "units.h"

#define NAME_WIDTH          18
#define DEFAULT_INTERVAL_NS UINT64_C(1000000000)
#define LEAST_INTERVAL_NS   UINT64_C(10000000)
#define MOST_INTERVAL_NS    (24 * 3600 * UINT64_C(1000000000))
#define INTERVAL_ACCEPTED   "a duration from 10ms to 24h, such as 250ms, 1s, 1.5m"

/* ---- a value as its unit wants it ---- */

static void put_bytes(struct mw_text *out, uint64_t value, uint64_t now_unix_ns)
{
    (void)now_unix_ns;
    mw_text_size(out, value);
}

static void put_count(struct mw_text *out, uint64_t value, uint64_t now_unix_ns)
{
    (void)now_unix_ns;
    mw_text_u64(out, value);
}

static void put_objects(struct mw_text *out, uint64_t value, uint64_t now_unix_ns)
{
    put_count(out, value, now_unix_ns);
}

static void put_ns(struct mw_text *out, uint64_t value, uint64_t now_unix_ns)
{
    (void)now_unix_ns;
    mw_text_duration(out, value);
}

static void put_unix_ns(struct mw_text *out, uint64_t value, uint64_t now_unix_ns)
{
    if (!value) {
        mw_text_string(out, "never");
        return;
    }
    mw_text_duration(out, now_unix_ns > value ? now_unix_ns - value : 0);
    mw_text_string(out, " ago");
}

static void put_ratio(struct mw_text *out, double value, uint64_t now_unix_ns)
{
    (void)now_unix_ns;
    mw_text_double(out, value * 100, 2);
    mw_text_string(out, " %");
}

/* ---- the whole ---- */

static void print_value(const char *name, struct mw_text *value)
{
    printf("%-*s%s\n", NAME_WIDTH, name, value->start);
    *value = mw_text_on(value->start, value->capacity_bytes);
}

/* What the library has found and settled, so far as it has. */
static void print_surroundings(const struct mw_segment_header *header, struct mw_text *value)
{
    static const char *const sources[] = {
#define SOURCE_TEXT(NAME, text) [MW_SEGMENT_PRESSURE_##NAME] = text,
        MW_SEGMENT_PRESSURE_SOURCES(SOURCE_TEXT)
#undef SOURCE_TEXT
    };
    mw_text_string(value, sources[header->pressure_source]);
    print_value("pressure from", value);
    if (!header->arenas_cap)
        return;
    mw_text_string(value, "at most ");
    mw_text_u64(value, header->arenas_cap);
    mw_text_string(value, ", by the CPU quota");
    print_value("arenas", value);
}

static void print_figure(const char *name, uint64_t bytes, struct mw_text *value)
{
    if (bytes == UINT64_MAX)
        mw_text_string(value, "not told");
    else
        mw_text_size(value, bytes);
    printf("  %-*s%s\n", NAME_WIDTH - 2, name, value->start);
    *value = mw_text_on(value->start, value->capacity_bytes);
}

/* By its own books, after the last trim. */
static void print_allocator(const struct memwatch_allocator *allocator, uint64_t now_unix_ns, struct mw_text *value)
{
    mw_text_string(value, "after the trim ");
    put_unix_ns(value, allocator->LastTrim, now_unix_ns);
    mw_text_string(value, ", by its own books:");
    print_value(allocator->Name, value);
#define PRINT_FIGURE(Name, help) print_figure(#Name, allocator->Name, value);
    MEMWATCH_ALLOCATOR_FIGURES(PRINT_FIGURE)
#undef PRINT_FIGURE
}

static void print_table(const struct mw_target *target, const struct memwatch_stats *stats)
{
    const struct mw_segment_view *view = &target->view;
    uint64_t now_unix_ns = view->moment_unix_ns;
    char buffer[128];
    struct mw_text value = MW_TEXT(buffer);
    printf("%s: %s\n", target->name, mw_target_state(target));
    put_ns(&value, mw_target_age_ns(target), now_unix_ns);
    print_value("age", &value);
    put_unix_ns(&value, view->snapshot.time_unix_ns, now_unix_ns);
    mw_text_string(&value, view->snapshot_is_torn ? ", in the midst of a change" : "");
    print_value("last tick", &value); /* of which the kernel's figures are */
#define PRINT_STATISTIC(ctype, Name, kind, unit, metric, help)                                                         \
    put_##unit(&value, stats->Name, now_unix_ns);                                                                      \
    print_value(#Name, &value);
    MEMWATCH_STATISTICS(PRINT_STATISTIC)
#undef PRINT_STATISTIC
    print_surroundings(&view->header, &value);
    for (unsigned i = 0; i < MEMWATCH_ALLOCATORS; i++)
        if (*stats->Allocators[i].Name)
            print_allocator(&stats->Allocators[i], now_unix_ns, &value);
}

static void print_line(const struct mw_target *target, const struct memwatch_stats *stats, bool json)
{
    static char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    const struct mw_identity who = {
        .pid = target->pid ? target->pid : (int)target->view.header.pid,
        .comm = target->view.header.comm,
        .time_unix_ns = target->view.moment_unix_ns,
    };
    (json ? mw_format_json : mw_format_text)(&line, &who, stats);
    fputs(line.start, stdout);
    fflush(stdout); /* whoever watches wants it now */
}

struct wishes {
    const char *word; /* of whom */
    bool json;
    bool watch;
    uint64_t interval_ns;
};

static int print_once(const struct wishes *wishes)
{
    struct mw_target target;
    struct memwatch_stats stats;
    struct mw_error error;
    if (!mw_target_open(wishes->word, &target, &error))
        return mw_command_failed(&error);
    mw_segment_view_stats(&target.view, &stats);
    if (wishes->json)
        print_line(&target, &stats, true);
    else
        print_table(&target, &stats);
    mw_target_close(&target);
    return MW_COMMAND_OK;
}

/* A line each interval until the process is gone. It is opened anew each time: a program that executes another has
 * another segment. */
static int watch(const struct wishes *wishes)
{
    struct mw_target target;
    struct memwatch_stats stats;
    struct mw_error error;
    bool is_alive = true;
    bool was_seen = false;
    uint64_t next_ns = mw_clock_ns(CLOCK_MONOTONIC);
    while (is_alive && !ferror(stdout)) {
        if (!mw_target_open(wishes->word, &target, &error))
            return was_seen && error.errno_value == ENOENT ? MW_COMMAND_OK : mw_command_failed(&error);
        mw_segment_view_stats(&target.view, &stats);
        print_line(&target, &stats, wishes->json);
        is_alive = target.is_alive;
        was_seen = true;
        mw_target_close(&target);
        next_ns += wishes->interval_ns;
        if (is_alive)
            mw_sys_sleep_until(next_ns);
    }
    return MW_COMMAND_OK;
}

static bool parse_interval(const char *value, uint64_t *out_ns)
{
    return mw_duration_parse(value, out_ns) == 0 && *out_ns >= LEAST_INTERVAL_NS && *out_ns <= MOST_INTERVAL_NS;
}

enum { OPTION_JSON = MW_COMMAND_OPTION, OPTION_WATCH };

int mw_command_stats(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, OPTION_JSON}, {"watch", optional_argument, NULL, OPTION_WATCH}, {0}};
    struct wishes wishes = {.interval_ns = DEFAULT_INTERVAL_NS};
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (option) {
        case OPTION_JSON:
            wishes.json = true;
            break;
        case OPTION_WATCH:
            wishes.watch = true;
            if (optarg && !parse_interval(optarg, &wishes.interval_ns))
                return mw_command_usage("stats", "--watch takes " INTERVAL_ACCEPTED ", not \"%s\"", optarg);
            break;
        default:
            return mw_command_bad_option(argv);
        }
    }
    if (argc - optind != 1)
        return mw_command_usage("stats", argc == optind ? "no process is named" : "one process at a time");
    wishes.word = argv[optind];
    return wishes.watch ? watch(&wishes) : print_once(&wishes);
}
