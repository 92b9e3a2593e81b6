/* SPDX-License-Identifier: MIT
 *
 * A segment's events in words and as JSON, whatever stands in them.
 */
#include "events.h"

#include <stdio.h>

#include "check.h"
#include "format.h"
#include "json.h"

#define MIB UINT64_C(1048576)

static void events_are_told_in_words(void **state)
{
    static const struct {
        const char *words;
        struct mw_segment_event event;
    } cases[] = {
        {"quiet, trim: 12 MiB came back in 3 ms, RSS 70 MiB -> 58 MiB",
         {.kind = MW_SEGMENT_TRIM, .values = {0, 70 * MIB, 58 * MIB, 12 * MIB, 3000000, MW_TRIM_QUIET}}},
        {"past the limit of 60 MiB, trim: 12 MiB came back in 3 ms, RSS 70 MiB -> 58 MiB",
         {.kind = MW_SEGMENT_TRIM, .values = {60 * MIB, 70 * MIB, 58 * MIB, 12 * MIB, 3000000, MW_TRIM_LIMIT}}},
        {"trim: 0 B came back in 0 us, RSS 0 B -> 0 B",
         {.kind = MW_SEGMENT_TRIM, .values = {0, 0, 0, 0, 0, MW_TRIM_REASON_COUNT}}},
        {"trim: 0 B came back in 0 us, RSS 0 B -> 0 B",
         {.kind = MW_SEGMENT_TRIM, .values = {0, 0, 0, 0, 0, UINT64_MAX}}},
        {"trim: 0 B came back in 0 us, RSS 0 B -> 0 B",
         {.kind = MW_SEGMENT_TRIM, .values = {0, 0, 0, 0, 0, UINT64_C(1) << 32}}},
        {"an allocation of 8 MiB failed at the hard limit of 60 MiB (RSS 59 MiB; 12 so far)",
         {.kind = MW_SEGMENT_HARD_LIMIT, .values = {8 * MIB, 59 * MIB, 60 * MIB, 8, 12}}},
        {"memory was waited for in 12.3 % of the last 10 s", {.kind = MW_SEGMENT_PRESSURE, .values = {123456}}},
        {"near the limit: 95 MiB of 100 MiB", {.kind = MW_SEGMENT_NEAR_LIMIT, .values = {95 * MIB, 100 * MIB}}},
        {"limit set to 7 MiB", {.kind = MW_SEGMENT_SET_LIMIT, .values = {7 * MIB}}},
        {"no limit any more", {.kind = MW_SEGMENT_SET_LIMIT, .values = {INT64_MAX}}},
        {"forked by process 12", {.kind = MW_SEGMENT_FORK, .values = {12}}},
        {"exit with status 3", {.kind = MW_SEGMENT_EXIT, .values = {3}}},
        {"", {.kind = MW_SEGMENT_EVENT_KINDS}},
        {"", {.kind = UINT32_MAX}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[256];
        struct mw_text text = MW_TEXT(buffer);
        mw_event_describe(&text, &cases[i].event);
        CHECK_TEXT(cases[i].words, buffer, cases[i].words);
    }
}

static void every_event_is_json_whatever_its_values(void **state)
{
    static const uint64_t values[] = {0, 1, 6, 7, UINT32_MAX, INT64_MAX, UINT64_MAX};
    (void)state;
    for (uint32_t kind = MW_SEGMENT_NO_EVENT + 1; kind < MW_SEGMENT_EVENT_KINDS; kind++) {
        for (size_t i = 0; i < COUNT(values); i++) {
            uint64_t value = values[i];
            const struct mw_segment_event event = {
                .kind = kind, .thread = UINT32_MAX, .values = {value, value, value, value, value, value}};
            char buffer[512];
            char name[64];
            struct mw_text text = MW_TEXT(buffer);
            mw_event_describe(&text, &event);
            CHECK(buffer, !text.truncated && text.length);
            text = MW_TEXT(buffer);
            mw_text_char(&text, '{');
            mw_event_put_members(&text, &event);
            mw_text_char(&text, '}');
            CHECK(buffer, !text.truncated && json_is_valid(buffer));
            CHECK(buffer, json_string(json_member(buffer, "Event"), name, sizeof name) > 0);
        }
    }
}

static void a_trims_members_are_those_of_its_line(void **state)
{
    const struct mw_segment_event event = {
        .kind = MW_SEGMENT_TRIM, .thread = 5, .values = {1, 2, 3, 4, 6, MW_TRIM_PRESSURE}};
    const struct mw_trim_event same = {MW_TRIM_PRESSURE, 5, 1, 2, 3, 4, 6, 0};
    static const char *const numbers[] = {"Thread", "Limit", "Returned", "PauseNs", "RSSBefore", "RSSAfter"};
    static const char *const strings[] = {"Event", "Reason"};
    char line_buffer[1024];
    char buffer[512];
    struct mw_text line = MW_TEXT(line_buffer);
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    mw_format_trim_json(&line, &(struct mw_identity){.comm = ""}, &same);
    mw_text_char(&text, '{');
    mw_event_put_members(&text, &event);
    mw_text_char(&text, '}');
    for (size_t i = 0; i < COUNT(numbers); i++) {
        uint64_t here = 0;
        uint64_t there = 1;
        CHECK(numbers[i], json_u64(json_member(buffer, numbers[i]), &here));
        CHECK(numbers[i], json_u64(json_member(line_buffer, numbers[i]), &there));
        CHECK_U64(numbers[i], here, there);
    }
    for (size_t i = 0; i < COUNT(strings); i++) {
        char here[32] = "";
        char there[32] = "-";
        json_string(json_member(buffer, strings[i]), here, sizeof here);
        json_string(json_member(line_buffer, strings[i]), there, sizeof there);
        CHECK_TEXT(strings[i], here, there);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_told_in_words),
        cmocka_unit_test(every_event_is_json_whatever_its_values),
        cmocka_unit_test(a_trims_members_are_those_of_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
