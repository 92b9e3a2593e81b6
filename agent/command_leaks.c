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

#define MOST_SHOWN  10 /* of a kind */
#define MOST_FRAMES 6

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

static const char *rate(double bytes_per_s, struct pace pace)
{
    double bytes = fabs(bytes_per_s) * pace.seconds;
    return mw_report_size(bytes < 0x1p63 ? (uint64_t)bytes : INT64_MAX);
}

static void print_rate(double bytes_per_s, double error, struct pace pace)
{
    printf("%c%s/%s +- %s/%s", bytes_per_s < 0 ? '-' : '+', rate(bytes_per_s, pace), pace.name, rate(error, pace),
           pace.name);
}

static void print_leak(const struct mw_report *report, const struct mw_leak *leak, size_t stacks, struct pace pace)
{
    const struct mw_profile_stack *stack = &report->profile->stacks[leak->stack];
    print_rate(leak->bytes_per_s, leak->bytes_per_s_error, pace);
    fputs(", lately ", stdout);
    print_rate(leak->late_bytes_per_s, leak->late_bytes_per_s_error, pace);
    putchar('\n');
    printf("    %s live in %" PRIu64 " block%s%s", mw_report_size(stack->live.bytes), stack->live.objects,
           stack->live.objects == 1 ? "" : "s", stack->is_mmap ? ", mmap" : "");
    if (leak->samples)
        printf(", half of it older than %s; %" PRIu64 " sample%s", mw_report_duration(leak->median_age_ns),
               leak->samples, leak->samples == 1 ? "" : "s");
    putchar('\n');
    if (stacks > 1)
        printf("    by %zu ways, of which most came by\n", stacks);
    mw_report_frames(report, leak->stack, MOST_FRAMES, "        ", stdout);
}

static void print_kind(const struct mw_report *report, const struct mw_leaks *leaks, const size_t *stacks,
                       enum mw_leak_kind kind, const char *title)
{
    unsigned count = 0;
    for (size_t i = 0; i < leaks->count; i++) {
        if (leaks->items[i].kind != kind)
            continue;
        if (count == 0)
            printf("\n%s\n", title);
        if (count++ < MOST_SHOWN)
            print_leak(report, &leaks->items[i], stacks[leaks->items[i].stack], pace_of(leaks->observed_ns));
    }
    if (count > MOST_SHOWN)
        printf("and %u more\n", count - MOST_SHOWN);
}

static void print_sum(const struct mw_report *report, const struct mw_leaks *leaks, enum mw_leak_kind kind,
                      const char *title)
{
    uint64_t bytes = 0;
    unsigned count = 0;
    for (size_t i = 0; i < leaks->count; i++) {
        if (leaks->items[i].kind != kind)
            continue;
        bytes += report->profile->stacks[leaks->items[i].stack].live.bytes;
        count++;
    }
    if (count)
        printf("%s: %s in %u place%s\n", title, mw_report_size(bytes), count, count == 1 ? "" : "s");
}

static void print_leaks(const struct mw_report *report, const struct mw_leaks *leaks, const size_t *stacks)
{
    printf("%s, %s, after %s; +- is one standard error\n", report->name, report->state,
           mw_report_duration(leaks->observed_ns));
    if (leaks->is_too_short) {
        puts("\nToo little of its past is known to tell what grows: ask again later.");
        return;
    }
    print_kind(report, leaks, stacks, MW_LEAK_GROWS, "Grows steadily, and keeps what it has");
    print_kind(report, leaks, stacks, MW_LEAK_MAY_GROW,
               "May grow: too few samples to be sure, or its oldest blocks go");
    putchar('\n');
    print_sum(report, leaks, MW_LEAK_STOPPED, "Has grown, and stopped");
    print_sum(report, leaks, MW_LEAK_STEADY, "No growth to be seen");
    if (!leaks->count)
        puts("Nothing is live.");
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
