/* SPDX-License-Identifier: MIT */
#include "events.h"

#include "format.h"
#include "units.h"

#define MOST_VALUES (sizeof(((struct mw_segment_event *)0)->values) / sizeof(uint64_t))
#define STACK_VALUE 3 /* of an allocation that failed */

/* What the values are called in JSON; NULL: it is no number for people. */
static const struct {
    const char *name;
    const char *keys[MOST_VALUES];
} kinds[] = {
    [MW_SEGMENT_START] = {"start", {0}},
    [MW_SEGMENT_FORK] = {"fork", {"Parent"}},
    [MW_SEGMENT_TRIM] = {"trim", {"Limit", "RSSBefore", "RSSAfter", "Returned", "PauseNs"}},
    [MW_SEGMENT_PRESSURE] = {"pressure", {"PressurePpm"}},
    [MW_SEGMENT_NEAR_LIMIT] = {"near limit", {"Usage", "Limit"}},
    [MW_SEGMENT_SET_LIMIT] = {"limit set", {"Limit"}},
    [MW_SEGMENT_SET_INTERVAL] = {"interval set", {"IntervalNs"}},
    [MW_SEGMENT_SET_SAMPLE] = {"sampling set", {"SampleMeanBytes"}},
    [MW_SEGMENT_EXIT] = {"exit", {"Status"}},
    [MW_SEGMENT_HARD_LIMIT] = {"hard limit", {"Asked", "RSS", "Limit", NULL, "Failures"}},
};
_Static_assert(sizeof kinds / sizeof kinds[0] == MW_SEGMENT_EVENT_KINDS, "every kind has a name");

bool mw_event_is_about_memory(const struct mw_segment_event *event)
{
    return event->kind == MW_SEGMENT_TRIM || event->kind == MW_SEGMENT_HARD_LIMIT ||
           event->kind == MW_SEGMENT_NEAR_LIMIT || event->kind == MW_SEGMENT_PRESSURE;
}

uint64_t mw_event_stack(const struct mw_segment_event *event)
{
    return event->kind == MW_SEGMENT_HARD_LIMIT ? event->values[STACK_VALUE] : 0;
}

static void describe_trim(struct mw_text *out, const struct mw_segment_event *event)
{
    const uint64_t *values = event->values;
    const struct mw_trim_event trim = {
        .reason = values[5] < MW_TRIM_REASON_COUNT ? (enum mw_trim_reason)values[5] : MW_TRIM_REASON_COUNT,
        .thread = event->thread,
        .limit_bytes = values[0],
        .rss_before_bytes = values[1],
        .rss_after_bytes = values[2],
        .returned_bytes = values[3],
        .pause_ns = values[4],
    };
    mw_format_trim_words(out, &trim);
}

static void describe_refusal(struct mw_text *out, const uint64_t *values)
{
    mw_text_string(out, "an allocation of ");
    mw_text_size(out, values[0]);
    mw_text_string(out, " failed at the hard limit of ");
    mw_text_size(out, values[2]);
    mw_text_string(out, " (RSS ");
    mw_text_size(out, values[1]);
    mw_text_string(out, "; ");
    mw_text_u64(out, values[4]);
    mw_text_string(out, " so far)");
}

/* `before` SIZE `after`. */
static void put_size(struct mw_text *out, const char *before, uint64_t bytes, const char *after)
{
    mw_text_string(out, before);
    mw_text_size(out, bytes);
    mw_text_string(out, after);
}

void mw_event_describe(struct mw_text *out, const struct mw_segment_event *event)
{
    const uint64_t *values = event->values;
    switch ((enum mw_segment_event_kind)event->kind) {
    case MW_SEGMENT_TRIM:
        describe_trim(out, event);
        return;
    case MW_SEGMENT_HARD_LIMIT:
        describe_refusal(out, values);
        return;
    case MW_SEGMENT_PRESSURE:
        mw_text_string(out, "memory was waited for in ");
        mw_text_double(out, (double)values[0] / 1e4, 1);
        mw_text_string(out, " % of the last 10 s");
        return;
    case MW_SEGMENT_NEAR_LIMIT:
        put_size(out, "near the limit: ", values[0], " of ");
        mw_text_size(out, values[1]);
        return;
    case MW_SEGMENT_SET_LIMIT:
        if (values[0] >= INT64_MAX)
            mw_text_string(out, "no limit any more");
        else
            put_size(out, "limit set to ", values[0], "");
        return;
    case MW_SEGMENT_SET_INTERVAL:
        mw_text_string(out, "interval set to ");
        mw_text_duration(out, values[0]);
        return;
    case MW_SEGMENT_SET_SAMPLE:
        put_size(out, "sampling set to one in ", values[0], "");
        return;
    case MW_SEGMENT_FORK:
        mw_text_string(out, "forked by process ");
        mw_text_u64(out, values[0]);
        return;
    case MW_SEGMENT_EXIT:
        mw_text_string(out, "exit with status ");
        mw_text_u64(out, values[0]);
        return;
    case MW_SEGMENT_START:
        mw_text_string(out, "start");
        return;
    case MW_SEGMENT_NO_EVENT:
    case MW_SEGMENT_EVENT_KINDS:
        return;
    }
}

void mw_event_put_members(struct mw_text *out, const struct mw_segment_event *event)
{
    if (event->kind == MW_SEGMENT_NO_EVENT || event->kind >= MW_SEGMENT_EVENT_KINDS)
        return;
    mw_text_string(out, "\"Event\":");
    mw_text_json_string(out, kinds[event->kind].name);
    if (event->kind == MW_SEGMENT_TRIM) {
        mw_text_string(out, ",\"Reason\":");
        mw_text_json_string(out, mw_format_trim_reason(event->values[5]));
    }
    mw_text_string(out, ",\"Thread\":");
    mw_text_u64(out, event->thread);
    for (size_t i = 0; i < MOST_VALUES; i++) {
        if (!kinds[event->kind].keys[i])
            continue;
        mw_text_string(out, ",\"");
        mw_text_string(out, kinds[event->kind].keys[i]);
        mw_text_string(out, "\":");
        mw_text_u64(out, event->values[i]);
    }
}
