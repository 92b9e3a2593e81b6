/* SPDX-License-Identifier: MIT
 *
 * The report as one JSON object.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "format.h"
#include "memory.h"
#include "report.h"
#include "report_events.h"

#define EVENT_BYTES 512

static void put_string(const char *key, const char *value, FILE *out)
{
    size_t bytes = 6 * strlen(value) + 3; /* each byte becomes six at most */
    char *buffer = mw_memory_new(bytes, 1);
    struct mw_text text = mw_text_on(buffer, bytes);
    mw_text_json_string(&text, value);
    fprintf(out, "\"%s\":%s", key, buffer);
    free(buffer);
}

static void put_u64(const char *key, uint64_t value, FILE *out)
{
    fprintf(out, ",\"%s\":%" PRIu64, key, value);
}

static void put_frames(const struct mw_report *report, size_t stack, FILE *out)
{
    struct mw_walk walk = mw_walk_user(report->profile, stack, report->namer);
    struct mw_step step;
    const char *separator = "";
    fputs(",\"Frames\":[", out);
    while (mw_walk_next(&walk, &step)) {
        fprintf(out, "%s{", separator);
        put_string("Function", step.frame->function, out);
        if (step.frame->file) {
            putc(',', out);
            put_string("File", step.frame->file, out);
            put_u64("Line", step.frame->line, out);
        }
        if (step.module) {
            putc(',', out);
            put_string("Module", step.module, out);
        }
        putc('}', out);
        separator = ",";
    }
    putc(']', out);
}

static void put_stacks(const struct mw_report *report, const struct mw_holders *stacks, FILE *out)
{
    fputs(",\"Stacks\":[", out);
    for (size_t i = 0; i < stacks->count && i < report->top; i++) {
        const struct mw_holder *holder = &stacks->items[i];
        double error = holder->live_bytes_error;
        fprintf(out, "%s{\"Bytes\":%" PRIu64, i ? "," : "", holder->live.bytes);
        put_u64("Error", error < 0x1p63 ? (uint64_t)error : UINT64_MAX, out);
        put_u64("Objects", holder->live.objects, out);
        put_u64("Samples", holder->live.samples, out);
        fprintf(out, ",\"Mmap\":%s", report->profile->stacks[holder->stack].is_mmap ? "true" : "false");
        put_frames(report, holder->stack, out);
        putc('}', out);
    }
    putc(']', out);
}

static void put_event(const struct mw_report *report, const struct mw_segment_event *event, FILE *out)
{
    uint64_t now = report->view->moment_unix_ns;
    char buffer[EVENT_BYTES];
    struct mw_text text = MW_TEXT(buffer);
    mw_text_string(&text, "{\"Time\":\"");
    mw_format_time(&text, event->time_unix_ns);
    mw_text_string(&text, "\",\"AgoNs\":");
    mw_text_u64(&text, now > event->time_unix_ns ? now - event->time_unix_ns : 0);
    mw_text_char(&text, ',');
    mw_event_put_members(&text, event);
    fputs(buffer, out);
    size_t stack = mw_report_event_stack(report, event);
    if (stack != SIZE_MAX)
        put_frames(report, stack, out);
    putc('}', out);
}

static void put_events(const struct mw_report *report, FILE *out)
{
    size_t chosen[MW_REPORT_EVENTS];
    size_t count = mw_report_choose_events(report->view, false, MW_REPORT_EVENTS, chosen);
    fputs(",\"Events\":[", out);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? "," : "", out);
        put_event(report, &report->view->events[chosen[i]], out);
    }
    putc(']', out);
}

void mw_report_json(const struct mw_report *report, FILE *out)
{
    struct mw_holders stacks = mw_holders_rank(report->profile, report->namer, MW_HOLDERS_BY_STACK);
    const struct mw_segment_header *header = &report->view->header;
    struct memwatch_stats stats;
    mw_segment_view_stats(report->view, &stats);
    fprintf(out, "{\"Pid\":%u,", header->pid);
    put_string("Comm", header->comm, out);
    putc(',', out);
    put_string("Program", header->program, out);
    putc(',', out);
    put_string("State", report->state, out);
    put_u64("AgeNs", report->profile->age_ns, out);
    put_u64("Alloc", stats.Alloc, out);
    put_u64("HeapObjects", stats.HeapObjects, out);
    put_u64("RSS", stats.RSS, out);
    put_u64("CgroupUsage", stats.CgroupUsage, out);
    put_u64("CgroupLimit", stats.CgroupLimit, out);
    put_u64("SampleMeanBytes", report->profile->sample_mean_bytes, out);
    put_u64("ProfileBytes", stacks.live.bytes, out);
    put_stacks(report, &stacks, out);
    put_events(report, out);
    fputs("}\n", out);
    mw_holders_free(&stacks);
}
