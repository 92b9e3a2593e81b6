/* SPDX-License-Identifier: MIT */
#include "report_events.h"

#include <string.h>

#include "events.h"

#define WIDTH       100
#define INDENT      16
#define FRAMES      6
#define EVENT_BYTES 512

size_t mw_report_choose_events(const struct mw_segment_view *view, bool about_memory, size_t most, size_t *chosen)
{
    size_t count = 0;
    for (size_t i = view->event_count; i && count < most; i--)
        if (view->events[i - 1].kind != MW_SEGMENT_START &&
            (!about_memory || mw_event_is_about_memory(&view->events[i - 1])))
            chosen[count++] = i - 1;
    for (size_t i = 0; i < count / 2; i++) {
        size_t other = chosen[i];
        chosen[i] = chosen[count - 1 - i];
        chosen[count - 1 - i] = other;
    }
    return count;
}

size_t mw_report_event_stack(const struct mw_report *report, const struct mw_segment_event *event)
{
    uint64_t number = mw_event_stack(event);
    if (!number || number > UINT32_MAX || mw_segment_view_find(report->view, (uint32_t)number) == SIZE_MAX)
        return SIZE_MAX;
    const struct mw_segment_stack *stack = mw_segment_view_stack(report->view, (uint32_t)number);
    for (size_t i = 0; i < report->profile->stack_count; i++) {
        const struct mw_profile_stack *known = &report->profile->stacks[i];
        if (known->depth == stack->depth &&
            memcmp(known->frames, stack->frames, stack->depth * sizeof stack->frames[0]) == 0)
            return i;
    }
    return SIZE_MAX;
}

static uint64_t age_of(const struct mw_report *report, const struct mw_segment_event *event)
{
    uint64_t now = report->view->moment_unix_ns;
    return now > event->time_unix_ns ? now - event->time_unix_ns : 0;
}

/* Breaks a line where it gets too wide. */
static void print_wrapped(char *text, FILE *out)
{
    size_t length = strlen(text);
    if (length > WIDTH - INDENT) {
        char *space = memrchr(text, ' ', WIDTH - INDENT + 1);
        if (space) {
            *space = '\0';
            fprintf(out, "%s\n%*s%s\n", text, INDENT, "", space + 1);
            return;
        }
    }
    fprintf(out, "%s\n", text);
}

void mw_report_print_events(const struct mw_report *report, FILE *out)
{
    size_t chosen[MW_REPORT_EVENTS];
    size_t count = mw_report_choose_events(report->view, false, MW_REPORT_EVENTS, chosen);
    if (count)
        fprintf(out, "\nWhat happened last (how long %s)\n", report->is_alive ? "ago" : "before the end");
    for (size_t i = 0; i < count; i++) {
        const struct mw_segment_event *event = &report->view->events[chosen[i]];
        char buffer[EVENT_BYTES];
        struct mw_text text = MW_TEXT(buffer);
        mw_event_describe(&text, event);
        fprintf(out, "%*s  ", INDENT - 2, mw_report_duration(age_of(report, event)));
        print_wrapped(buffer, out);
        size_t stack = mw_report_event_stack(report, event);
        if (stack != SIZE_MAX)
            mw_report_frames(report, stack, FRAMES, "                  ", out);
    }
}

void mw_report_print_last_events(const struct mw_report *report, size_t most, FILE *out)
{
    size_t chosen[MW_REPORT_EVENTS];
    size_t count =
        mw_report_choose_events(report->view, true, most < MW_REPORT_EVENTS ? most : MW_REPORT_EVENTS, chosen);
    for (size_t i = 0; i < count; i++) {
        const struct mw_segment_event *event = &report->view->events[chosen[i]];
        char buffer[WIDTH + 1];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_string(&text, mw_report_duration(age_of(report, event)));
        mw_text_string(&text, report->is_alive ? " ago: " : " before the end: ");
        mw_event_describe(&text, event);
        /* What does not fit is left out, but half a figure would be a wrong one. */
        char *last = text.truncated ? strrchr(buffer, ',') : NULL;
        if (last)
            *last = '\0';
        fprintf(out, "%s\n", buffer);
    }
}
