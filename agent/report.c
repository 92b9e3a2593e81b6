/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "memory.h"
#include "report_events.h"
#include "units.h"

#define FRAMES_A_STACK   6
#define TIMELINE_ROWS    12
#define BAR_WIDTH        30
#define WIDTH            100
#define WIDTH_NAME       36
#define POST_MORTEM_TOP  5
#define POST_MORTEM_LAST 3 /* events */

const char *mw_report_size(uint64_t bytes)
{
    static char buffers[8][24];
    static unsigned next;
    char *buffer = buffers[next++ % 8];
    struct mw_text text = mw_text_on(buffer, sizeof buffers[0]);
    mw_text_size(&text, bytes);
    return buffer;
}

const char *mw_report_duration(uint64_t ns)
{
    static char buffers[8][40];
    static unsigned next;
    char *buffer = buffers[next++ % 8];
    struct mw_text text = mw_text_on(buffer, sizeof buffers[0]);
    uint64_t seconds = ns / 1000000000;
    if (seconds < 120)
        mw_text_duration(&text, ns);
    else if (seconds < 2 * 3600)
        snprintf(buffer, sizeof buffers[0], "%" PRIu64 " min %" PRIu64 " s", seconds / 60, seconds % 60);
    else
        snprintf(buffer, sizeof buffers[0], "%" PRIu64 " h %" PRIu64 " min", seconds / 3600, seconds / 60 % 60);
    return buffer;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static const char *error_of(double bytes)
{
    static char buffer[40];
    if (bytes < 1)
        return "";
    snprintf(buffer, sizeof buffer, " +- %s", mw_report_size(bytes < 0x1p63 ? (uint64_t)bytes : UINT64_MAX));
    return buffer;
}

/* ---- frames ---- */

/* The beginning of a name, or its end, as wide as there is room for. */
static void print_cut(const char *name, unsigned width, bool end, FILE *out)
{
    size_t length = strlen(name);
    if (length <= width)
        fputs(name, out);
    else if (end)
        fprintf(out, "...%s", name + length - (width - 3));
    else
        fprintf(out, "%.*s...", (int)width - 3, name);
}

void mw_report_frame(const struct mw_step *step, unsigned width, FILE *out)
{
    char place[32] = "";
    if (step->frame->file)
        snprintf(place, sizeof place, " %.18s:%u", mw_symbols_base_name(step->frame->file), step->frame->line);
    else if (step->symbol->is_known && step->module)
        snprintf(place, sizeof place, " (%.24s)", mw_symbols_base_name(step->module));
    print_cut(step->frame->function, width - (unsigned)strlen(place), false, out);
    fputs(place, out);
}

void mw_report_frames(const struct mw_report *report, size_t stack, unsigned most, const char *indent, FILE *out)
{
    struct mw_walk walk = mw_walk_user(report->profile, stack, report->namer);
    struct mw_step step;
    unsigned printed = 0;
    while (printed < most && mw_walk_next(&walk, &step)) {
        fputs(indent, out);
        mw_report_frame(&step, WIDTH - (unsigned)strlen(indent), out);
        putc('\n', out);
        printed++;
    }
    unsigned left = 0;
    while (mw_walk_next(&walk, &step))
        left++;
    if (left)
        fprintf(out, "%s... %u more\n", indent, left);
    if (report->profile->stacks[stack].is_truncated)
        fprintf(out, "%s... and what is outside of that, which was not kept\n", indent);
    if (!printed)
        fprintf(out, "%s(no call stack)\n", indent);
}

/* ---- the head ---- */

static void print_moment(uint64_t unix_ns, FILE *out)
{
    time_t seconds = (time_t)(unix_ns / 1000000000);
    struct tm tm;
    char text[64];
    if (localtime_r(&seconds, &tm) && strftime(text, sizeof text, "%F %T %z", &tm))
        fputs(text, out);
}

static void print_sampling(const struct mw_profile *profile, FILE *out)
{
    if (profile->sample_mean_bytes == 1)
        fputs("every block was followed: the profile's figures are exact\n", out);
    else
        fprintf(out, "sampled every %s: the profile's figures are estimates, +- is one standard error\n",
                mw_report_size(profile->sample_mean_bytes));
}

static void print_dropped(const struct mw_profile *profile, FILE *out)
{
    if (profile->dropped_samples || profile->dropped_stacks)
        fprintf(out, "missing for want of room: %" PRIu64 " sampled blocks (%s), %" PRIu64 " stacks\n",
                profile->dropped_samples, mw_report_size(profile->dropped_bytes), profile->dropped_stacks);
    if (profile->dropped_modules)
        fprintf(out, "nameless for want of room: the code of %" PRIu64 " module%s\n", profile->dropped_modules,
                plural(profile->dropped_modules));
    if (profile->dropped_threads)
        fprintf(out, "without counters of their own for want of room: %" PRIu64 " thread%s%s\n",
                profile->dropped_threads, plural(profile->dropped_threads),
                profile->sample_mean_bytes == 1 ? "" : ", which the profile leaves out");
}

static void print_head(const struct mw_report *report, const struct mw_holders *stacks, FILE *out)
{
    const struct mw_profile *profile = report->profile;
    struct memwatch_stats stats;
    mw_segment_view_stats(report->view, &stats);
    fprintf(out, "%s, %s, after %s, ", report->name, report->state, mw_report_duration(profile->age_ns));
    print_moment(profile->started_unix_ns + profile->age_ns, out);
    fprintf(out, "\n%s\n\n", report->view->header.program);
    fprintf(out, "live heap %s in %" PRIu64 " blocks, RSS %s", mw_report_size(stats.Alloc), stats.HeapObjects,
            mw_report_size(stats.RSS));
    if (stats.CgroupUsage)
        fprintf(out, ", cgroup %s", mw_report_size(stats.CgroupUsage));
    if (stats.CgroupLimit)
        fprintf(out, " of %s", mw_report_size(stats.CgroupLimit));
    fprintf(out, "\nprofile: %s%s live in %zu stack%s\n", mw_report_size(stacks->live.bytes),
            error_of(stacks->live_bytes_error), stacks->count, plural(stacks->count));
    print_sampling(profile, out);
    print_dropped(profile, out);
    if (report->view->damaged)
        fprintf(out, "left out because they make no sense: %zu entries of the segment\n", report->view->damaged);
}

/* ---- rankings ---- */

/* "12.3 %  42.1 MiB +- 1 MiB in 43110 blocks (84 samples)" */
static void print_amount(const struct mw_holder *holder, uint64_t whole_bytes, bool is_exact, FILE *out)
{
    fprintf(out, "%5.1f %%  %s%s in %" PRIu64 " block%s", percent(holder->live.bytes, whole_bytes),
            mw_report_size(holder->live.bytes), error_of(holder->live_bytes_error), holder->live.objects,
            plural(holder->live.objects));
    if (!is_exact)
        fprintf(out, " (%" PRIu64 " sample%s)", holder->live.samples, plural(holder->live.samples));
}

static void print_rest(const struct mw_holders *holders, size_t from, const char *what, FILE *out)
{
    uint64_t bytes = 0;
    for (size_t i = from; i < holders->count; i++)
        bytes += holders->items[i].live.bytes;
    if (from < holders->count)
        fprintf(out, "%5.1f %%  %s in %zu more %s%s\n", percent(bytes, holders->live.bytes), mw_report_size(bytes),
                holders->count - from, what, plural(holders->count - from));
}

/* How much a stack held at four moments of its past. */
static void print_past(const struct mw_profile *profile, size_t stack, FILE *out)
{
    const uint64_t *history = profile->stacks[stack].history_bytes;
    unsigned used = profile->history_used < MW_SEGMENT_HISTORY ? profile->history_used : MW_SEGMENT_HISTORY;
    if (used < 4)
        return;
    fputs("         before:", out);
    for (unsigned quarter = 0; quarter < 4; quarter++) {
        unsigned at = quarter * (used - 1) / 3;
        uint64_t ago_ns = profile->age_ns > profile->history_ns[at] ? profile->age_ns - profile->history_ns[at] : 0;
        fprintf(out, "%s %s %s ago", quarter ? "," : "", mw_report_size(history[at]), mw_report_duration(ago_ns));
    }
    putc('\n', out);
}

static void print_stacks(const struct mw_report *report, const struct mw_holders *holders, FILE *out)
{
    bool is_exact = report->profile->sample_mean_bytes == 1;
    size_t shown = holders->count < report->top ? holders->count : report->top;
    if (shown)
        fputs("\nBy call stack\n", out);
    for (size_t i = 0; i < shown; i++) {
        print_amount(&holders->items[i], holders->live.bytes, is_exact, out);
        fputs(report->profile->stacks[holders->items[i].stack].is_mmap ? ", mmap\n" : "\n", out);
        mw_report_frames(report, holders->items[i].stack, FRAMES_A_STACK, "         ", out);
        print_past(report->profile, holders->items[i].stack, out);
    }
    print_rest(holders, shown, "stack", out);
}

static void print_ranking(const struct mw_report *report, enum mw_holders_by by, const char *title, const char *what,
                          FILE *out)
{
    struct mw_holders holders = mw_holders_rank(report->profile, report->namer, by);
    bool is_exact = report->profile->sample_mean_bytes == 1;
    size_t shown = holders.count < report->top ? holders.count : report->top;
    if (shown)
        fprintf(out, "\n%s\n", title);
    for (size_t i = 0; i < shown; i++) {
        const struct mw_holder *holder = &holders.items[i];
        print_amount(holder, holders.live.bytes, is_exact, out);
        if (by == MW_HOLDERS_BY_SIZE) {
            fprintf(out, ", of up to %s each\n", mw_report_size(holder->size_bytes));
            continue;
        }
        fputs("  ", out);
        print_cut(holder->name, WIDTH_NAME, by == MW_HOLDERS_BY_MODULE, out);
        putc('\n', out);
    }
    print_rest(&holders, shown, what, out);
    mw_holders_free(&holders);
}

static double most_bytes(const struct memwatch_size_class *class)
{
    double bytes = (double)(class->Mallocs - class->Frees) * (double)class->Size;
    return bytes < 0x1p63 ? bytes : 0x1p63;
}

/* In exact mode no block is a sample, but the counters know how many there are of each class. */
static void print_size_counters(const struct mw_report *report, FILE *out)
{
    struct memwatch_stats stats;
    bool printed[MEMWATCH_SIZE_CLASSES] = {false};
    mw_segment_view_stats(report->view, &stats);
    for (unsigned shown = 0; shown < report->top; shown++) {
        const struct memwatch_size_class *most = NULL;
        for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
            const struct memwatch_size_class *class = &stats.BySize[i];
            if (!printed[i] && class->Mallocs > class->Frees && (!most || most_bytes(class) > most_bytes(most)))
                most = class;
        }
        if (!most)
            return;
        printed[most - stats.BySize] = true;
        fprintf(out, "%s  at most %s in %" PRIu64 " block%s, of up to %s each\n", shown ? "" : "\nBy size of block\n",
                mw_report_size((uint64_t)most_bytes(most)), most->Mallocs - most->Frees,
                plural(most->Mallocs - most->Frees), mw_report_size(most->Size));
    }
}

/* ---- the timeline ---- */

static void print_row(const struct mw_segment_row *row, uint64_t now_unix_ns, uint64_t most_bytes, FILE *out)
{
    static const char bar[] = "##############################";
    int length = (int)(BAR_WIDTH * percent(row->Alloc, most_bytes) / 100 + 0.5);
    uint64_t ago_ns = now_unix_ns > row->time_unix_ns ? now_unix_ns - row->time_unix_ns : 0;
    fprintf(out, "  %14s ago  live %10s  RSS %10s  %.*s\n", mw_report_duration(ago_ns), mw_report_size(row->Alloc),
            mw_report_size(row->RSS), length < BAR_WIDTH ? length : BAR_WIDTH, bar);
}

/* The last hour by seconds, what was before by minutes. */
static void print_timeline(const struct mw_report *report, FILE *out)
{
    const struct mw_segment_view *view = report->view;
    bool by_minutes = view->minute_count > view->second_count / 60 + 1;
    const struct mw_segment_row *rows = by_minutes ? view->minutes : view->seconds;
    size_t count = by_minutes ? view->minute_count : view->second_count;
    size_t shown = count < TIMELINE_ROWS ? count : TIMELINE_ROWS;
    uint64_t most_bytes = 0;
    if (count < 2)
        return;
    for (size_t i = 0; i < count; i++)
        most_bytes = rows[i].Alloc > most_bytes ? rows[i].Alloc : most_bytes;
    fputs("\nOver time\n", out);
    for (size_t i = 0; i < shown; i++)
        print_row(&rows[i * (count - 1) / (shown - 1)], view->moment_unix_ns, most_bytes, out);
}

/* ---- texts ---- */

void mw_report_print(const struct mw_report *report, FILE *out)
{
    struct mw_holders stacks = mw_holders_rank(report->profile, report->namer, MW_HOLDERS_BY_STACK);
    print_head(report, &stacks, out);
    print_stacks(report, &stacks, out);
    print_ranking(report, MW_HOLDERS_BY_FUNCTION, "By function", "function", out);
    print_ranking(report, MW_HOLDERS_BY_MODULE, "By module", "module", out);
    if (report->profile->sample_count)
        print_ranking(report, MW_HOLDERS_BY_SIZE, "By size of block", "size", out);
    else
        print_size_counters(report, out);
    print_timeline(report, out);
    mw_report_print_events(report, out);
    mw_holders_free(&stacks);
}

void mw_report_post_mortem(const struct mw_report *report, FILE *out)
{
    struct mw_holders calls = mw_holders_rank(report->profile, report->namer, MW_HOLDERS_BY_CALL);
    bool is_exact = report->profile->sample_mean_bytes == 1;
    size_t shown = calls.count < POST_MORTEM_TOP ? calls.count : POST_MORTEM_TOP;
    fprintf(out, "held at the end: %s%s", mw_report_size(calls.live.bytes), error_of(calls.live_bytes_error));
    fputs(is_exact ? " (exact)\n" : " (estimated)\n", out);
    print_dropped(report->profile, out);
    for (size_t i = 0; i < shown; i++) {
        struct mw_walk walk = mw_walk_user(report->profile, calls.items[i].stack, report->namer);
        struct mw_step step;
        print_amount(&calls.items[i], calls.live.bytes, is_exact, out);
        fputs("\n         ", out);
        for (unsigned frame = 0; frame < 2 && mw_walk_next(&walk, &step); frame++) {
            fputs(frame ? " <- " : "", out);
            mw_report_frame(&step, (WIDTH - 13) / 2, out);
        }
        putc('\n', out);
    }
    print_rest(&calls, shown, "place", out);
    mw_report_print_last_events(report, POST_MORTEM_LAST, out);
    mw_holders_free(&calls);
}

/* ---- the stacks alone ---- */

struct ranked {
    size_t stack;
    uint64_t value;
};

static int compare_ranked(const void *left, const void *right)
{
    const struct ranked *a = left;
    const struct ranked *b = right;
    if (a->value != b->value)
        return a->value > b->value ? -1 : 1;
    return a->stack < b->stack ? -1 : a->stack > b->stack;
}

void mw_report_stacks(const struct mw_report *report, bool allocated, bool objects, FILE *out)
{
    const struct mw_profile *profile = report->profile;
    struct ranked *ranked = mw_memory_new(profile->stack_count, sizeof *ranked);
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct mw_profile_amount *amount = allocated ? &profile->stacks[i].allocated : &profile->stacks[i].live;
        ranked[i] = (struct ranked){i, objects ? amount->objects : amount->bytes};
    }
    qsort(ranked, profile->stack_count, sizeof *ranked, compare_ranked);
    fprintf(out, "%s, %s, after %s\n", report->name, report->state, mw_report_duration(profile->age_ns));
    print_sampling(profile, out);
    for (size_t i = 0; i < profile->stack_count && ranked[i].value; i++) {
        const struct mw_profile_stack *stack = &profile->stacks[ranked[i].stack];
        fprintf(out, "\nlive %s%s in %" PRIu64 " block%s, allocated %s in %" PRIu64 "%s\n",
                mw_report_size(stack->live.bytes), error_of(stack->live_bytes_error), stack->live.objects,
                plural(stack->live.objects), mw_report_size(stack->allocated.bytes), stack->allocated.objects,
                stack->is_mmap ? ", mmap" : "");
        mw_report_frames(report, ranked[i].stack, UINT32_MAX, "    ", out);
    }
    free(ranked);
}
