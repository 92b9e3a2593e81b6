/* SPDX-License-Identifier: MIT
 *
 * memwatch leaks PID|SEGMENT: what grows, and how sure that is.
 */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "inspect.h"
#include "leaks.h"
#include "places.h"
#include "report.h"
#include "walk.h"

#define MOST_GROWING 10
#define MOST_OTHERS  5
#define MOST_CALLERS 5
#define WIDTH        100

/* A rate in the unit of time in which it is seen. */
struct pace {
    double seconds;
    const char *name;
};

static struct pace pace_of(uint64_t observed_ns)
{
    double seconds = (double)observed_ns / 1e9;
    return seconds < 120 ? (struct pace){1, "s"} : seconds < 7200 ? (struct pace){60, "min"} : (struct pace){3600, "h"};
}

/* "1.87 +- 0.26 MiB/s": both in one unit, so that they can be compared. */
static void print_rate(double bytes_per_s, double error_per_s, struct pace pace)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    double bytes = bytes_per_s * pace.seconds;
    double error = error_per_s * pace.seconds;
    size_t unit = 0;
    for (; unit + 1 < sizeof units / sizeof *units && fmax(fabs(bytes), error) >= 1024; unit++) {
        bytes /= 1024;
        error /= 1024;
    }
    int digits = error >= 10 ? 0 : error >= 1 ? 1 : 2;
    printf("%.*f +- %.*f %s/%s", digits, bytes, digits, error, units[unit], pace.name);
}

/* Leaves the walk at the callers. */
static void print_place(struct mw_walk *walk, unsigned width)
{
    struct mw_step step;
    if (mw_walk_next(walk, &step))
        mw_report_frame(&step, width, stdout);
    else
        fputs("(no call stack)", stdout);
}

static void print_callers(struct mw_walk *walk, size_t stacks)
{
    struct mw_step step;
    unsigned count = 0;
    while (mw_walk_next(walk, &step)) {
        if (count == 0 && stacks > 1)
            printf("    called in %zu ways, of which this one holds the most\n", stacks);
        else if (count == 0)
            puts("    called by");
        if (count++ >= MOST_CALLERS)
            continue;
        fputs("        ", stdout);
        mw_report_frame(&step, WIDTH - 8, stdout);
        putchar('\n');
    }
    if (count > MOST_CALLERS)
        printf("        ... %u more\n", count - MOST_CALLERS);
}

static const char *doubt(enum mw_leak_doubt doubt)
{
    switch (doubt) {
    case MW_LEAK_NEAR_CHANCE:
        return "the growth is not far above chance: ask again later";
    case MW_LEAK_LOSES_OLDEST:
        return "less is left of what came early than of what came later";
    case MW_LEAK_SLOWS_DOWN:
        return "it slows down, as a cache that is nearly full";
    case MW_LEAK_BIRTHS_UNKNOWN:
        return "much of it was freed, and it is not known whether that was the oldest";
    case MW_LEAK_NO_DOUBT:
        break;
    }
    return NULL;
}

static void print_leak(const struct mw_report *report, const struct mw_leak *leak, size_t stacks, unsigned number)
{
    const struct mw_profile_stack *stack = &report->profile->stacks[leak->stack];
    struct mw_walk walk = mw_walk_user(report->profile, leak->stack, report->namer);
    struct pace pace = pace_of(report->profile->age_ns);
    printf("%2u. ", number);
    print_place(&walk, WIDTH - 10);
    puts(stack->is_mmap ? ", mmap" : "");
    fputs("    grows by ", stdout);
    print_rate(leak->bytes_per_s, leak->bytes_per_s_error, pace);
    fputs(", in the last third of the time by ", stdout);
    print_rate(leak->late_bytes_per_s, leak->late_bytes_per_s_error, pace);
    printf("\n    holds %s in %" PRIu64 " block%s", mw_report_size(stack->live.bytes), stack->live.objects,
           stack->live.objects == 1 ? "" : "s");
    if (leak->samples)
        printf(", half of it older than %s; %" PRIu64 " sample%s", mw_report_duration(leak->median_age_ns),
               leak->samples, leak->samples == 1 ? "" : "s");
    putchar('\n');
    if (leak->doubt)
        printf("    not sure: %s\n", doubt(leak->doubt));
    print_callers(&walk, stacks);
}

/* Returns how many there are. */
static unsigned print_growing(const struct mw_report *report, const struct mw_leaks *leaks, const size_t *stacks,
                              enum mw_leak_kind kind, const char *title)
{
    unsigned count = 0;
    for (size_t i = 0; i < leaks->count; i++) {
        if (leaks->items[i].kind != kind)
            continue;
        if (count == 0)
            printf("\n%s\n", title);
        if (count++ < MOST_GROWING)
            print_leak(report, &leaks->items[i], stacks[leaks->items[i].stack], count);
    }
    if (count > MOST_GROWING)
        printf("and %u more\n", count - MOST_GROWING);
    return count;
}

static uint64_t live_bytes(const struct mw_report *report, const struct mw_leak *leak)
{
    return report->profile->stacks[leak->stack].live.bytes;
}

/* The next one of a kind by what it holds; `last` is the one before, or NULL. */
static const struct mw_leak *next_holder(const struct mw_report *report, const struct mw_leaks *leaks,
                                         enum mw_leak_kind kind, const struct mw_leak *last)
{
    const struct mw_leak *most = NULL;
    for (const struct mw_leak *leak = leaks->items; leak < leaks->items + leaks->count; leak++) {
        uint64_t bytes = live_bytes(report, leak);
        bool is_after = !last || bytes < live_bytes(report, last) || (bytes == live_bytes(report, last) && leak > last);
        if (leak->kind == kind && is_after && (!most || bytes > live_bytes(report, most)))
            most = leak;
    }
    return most;
}

/* In short, but so that it can be seen where a large cache has got to. */
static void print_others(const struct mw_report *report, const struct mw_leaks *leaks, enum mw_leak_kind kind,
                         const char *title)
{
    uint64_t bytes = 0;
    unsigned count = 0;
    for (size_t i = 0; i < leaks->count; i++) {
        if (leaks->items[i].kind != kind)
            continue;
        bytes += live_bytes(report, &leaks->items[i]);
        count++;
    }
    if (count)
        printf("\n%s: %s in %u place%s\n", title, mw_report_size(bytes), count, count == 1 ? "" : "s");
    const struct mw_leak *leak = next_holder(report, leaks, kind, NULL);
    for (unsigned i = 0; leak && i < MOST_OTHERS; i++, leak = next_holder(report, leaks, kind, leak)) {
        struct mw_walk walk = mw_walk_user(report->profile, leak->stack, report->namer);
        printf("    %10s  ", mw_report_size(live_bytes(report, leak)));
        print_place(&walk, WIDTH - 24);
        puts(report->profile->stacks[leak->stack].is_mmap ? ", mmap" : "");
    }
}

static void print_leaks(const struct mw_report *report, const struct mw_leaks *leaks, const size_t *stacks)
{
    printf("%s, %s, after %s; +- is one standard error\n", report->name, report->state,
           mw_report_duration(leaks->observed_ns));
    if (leaks->is_too_short) {
        puts("\nToo little of its past is known to tell what grows: ask again later.");
        return;
    }
    unsigned growing = print_growing(report, leaks, stacks, MW_LEAK_GROWS,
                                     "Looks like a leak: grows until the end, and keeps what it has");
    growing += print_growing(report, leaks, stacks, MW_LEAK_MAY_GROW, "May be a leak");
    if (!growing)
        puts("\nNothing looks like a leak.");
    print_others(report, leaks, MW_LEAK_STOPPED, "Has grown, and stopped");
    print_others(report, leaks, MW_LEAK_STEADY, "No growth to be seen");
}

int mw_command_leaks(int argc, char **argv)
{
    static const struct option options[] = {{0}};
    struct mw_inspect inspect;
    struct mw_error error;
    optind = 0;
    if (getopt_long(argc, argv, ":", options, NULL) != -1)
        return mw_command_bad_option(argv);
    if (argc - optind != 1)
        return mw_command_usage("leaks", argc == optind ? "no process is named" : "one process at a time");
    if (!mw_inspect_open(argv[optind], MW_SYMBOLS_FUNCTIONS, &inspect, &error))
        return mw_command_failed(&error);
    struct mw_places places = mw_places_make(&inspect.profile, inspect.namer);
    struct mw_report report = {.name = inspect.target.name,
                               .state = mw_target_state(&inspect.target),
                               .view = &inspect.target.view,
                               .profile = &places.profile,
                               .namer = inspect.namer};
    struct mw_leaks leaks = mw_leaks_find(&places.profile);
    print_leaks(&report, &leaks, places.stacks);
    mw_leaks_free(&leaks);
    mw_places_free(&places);
    mw_inspect_say_other_builds(&inspect);
    mw_inspect_close(&inspect);
    return MW_COMMAND_OK;
}
