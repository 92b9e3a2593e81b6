/* SPDX-License-Identifier: MIT
 *
 * What a person reads: the texts made of profiles by hand.
 */
#include "report.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "format.h"
#include "json.h"
#include "profile_builder.h"

#define MIB    UINT64_C(1048576)
#define S      UINT64_C(1000000000)
#define WIDEST 100

static struct mw_profile_module modules[] = {{.path = "/usr/bin/app"}, {.path = "/usr/lib/libc.so.6"}};

static const struct built_name names[] = {
    {1, 1, "malloc", NULL, 0, NULL},
    {2, 0, "cache_insert", "/src/app/cache.c", 88, NULL},
    {3, 0, "handle_request", "/src/app/server.c", 210, NULL},
    {4, 0, "main", "/src/app/server.c", 400, NULL},
    {5, 1, "__libc_start_call_main", NULL, 0, NULL},
    {6, 0, "a_function_of_so_long_a_name_that_it_would_fill_the_line_and_more_of_it_than_anybody_reads", "f.c", 1,
     NULL},
    {7, 0, "without_a_file", NULL, 0, NULL},
    {8, 0, "f1", "f.c", 1, NULL},
    {9, 0, "f2", "f.c", 2, NULL},
    {10, 0, "f3", "f.c", 3, NULL},
};

static const uint64_t cached[] = {1, 2, 3, 4, 5, 0};
static const uint64_t requested[] = {1, 3, 4, 5, 0};
static const uint64_t mapped[] = {6, 6, 6, 6, 6, 6, 6, 6, 4, 5, 0};
static const uint64_t fileless[] = {7, 0};
static const uint64_t others[][2] = {{8, 0}, {9, 0}, {10, 0}, {6, 0}};

struct scene {
    struct profile_builder builder;
    struct mw_segment_view view;
    struct mw_segment_row rows[20];
    struct mw_report report;
};

static int setup(void **state)
{
    static struct scene scene;
    struct profile_builder *builder = &scene.builder;
    scene = (struct scene){0};
    profile_builder_start(builder, names, COUNT(names), modules, COUNT(modules));
    profile_builder_stack(builder, requested, 100, 10 * MIB);
    struct mw_profile_stack *stack = profile_builder_stack(builder, cached, 43110, 80 * MIB);
    stack->live_bytes_error = 2.0 * MIB;
    stack->live.samples = 160;
    profile_builder_stack(builder, mapped, 1, 5 * MIB)->is_mmap = true;
    profile_builder_stack(builder, fileless, 1, 2 * MIB)->is_truncated = true;
    for (unsigned i = 0; i < COUNT(others); i++)
        profile_builder_stack(builder, others[i], 1, MIB / (i + 1));
    builder->profile.history_used = 4;
    for (unsigned i = 0; i < 4; i++) {
        builder->profile.history_ns[i] = 15 * i * S;
        stack->history_bytes[i] = 20 * i * MIB;
    }
    for (unsigned i = 0; i < COUNT(scene.rows); i++)
        scene.rows[i] =
            (struct mw_segment_row){.time_unix_ns = (1000 + i) * S, .Alloc = (i + 1) * MIB, .RSS = 30 * MIB};
    scene.view.seconds = scene.rows;
    scene.view.second_count = COUNT(scene.rows);
    scene.view.moment_unix_ns = 1020 * S;
    scene.view.totals.allocated_bytes = 100 * MIB;
    scene.view.snapshot.stats.RSS = 120 * MIB;
    scene.view.snapshot.stats.CgroupUsage = 150 * MIB;
    scene.view.snapshot.stats.CgroupLimit = 200 * MIB;
    snprintf(scene.view.header.program, sizeof scene.view.header.program, "/usr/bin/app");
    scene.report = (struct mw_report){.name = "process 7 (app)",
                                      .state = "dead",
                                      .view = &scene.view,
                                      .profile = &builder->profile,
                                      .namer = profile_builder_namer(builder),
                                      .top = 3};
    *state = &scene;
    return 0;
}

#define EVENTS 14

/* A start, trims, and in the end an allocation that failed, of the third of the profile's stacks. */
static void add_events(struct scene *scene)
{
    static struct mw_segment_event events[EVENTS];
    static uint64_t words[64]; /* the section of stacks: one, of number 8 */
    static uint32_t stacks[] = {8};
    struct mw_segment_stack *stack = (void *)&words[8];
    const struct mw_profile_stack *failed = &scene->builder.profile.stacks[1];
    stack->depth = (uint16_t)failed->depth;
    memcpy(stack->frames, failed->frames, failed->depth * sizeof failed->frames[0]);
    for (unsigned i = 0; i < EVENTS; i++)
        events[i] = (struct mw_segment_event){.time_unix_ns = (1000 + i) * S,
                                              .kind = MW_SEGMENT_TRIM,
                                              .values = {60 * MIB, 70 * MIB, 58 * MIB, 12 * MIB, i, MW_TRIM_LIMIT}};
    events[0].kind = MW_SEGMENT_START;
    events[EVENTS - 3] = (struct mw_segment_event){.kind = MW_SEGMENT_TRIM,
                                                   .time_unix_ns = 1012 * S,
                                                   .values = {0, ~0ULL, ~0ULL, ~0ULL, ~0ULL, MW_TRIM_CALLBACKS}};
    events[EVENTS - 2] = (struct mw_segment_event){.kind = MW_SEGMENT_SET_LIMIT, .time_unix_ns = 2000 * S};
    events[EVENTS - 1] = (struct mw_segment_event){
        .kind = MW_SEGMENT_HARD_LIMIT, .time_unix_ns = 1019 * S, .values = {8 * MIB, 59 * MIB, 60 * MIB, 8, 3}};
    scene->view.events = events;
    scene->view.event_count = EVENTS;
    scene->view.stack_words = words;
    scene->view.stacks = stacks;
    scene->view.stack_count = 1;
}

static int teardown(void **state)
{
    profile_builder_free(&((struct scene *)*state)->builder);
    return 0;
}

/* Closes the stream and returns what came, in memory of the caller's; lines are counted. */
struct out {
    char *text;
    size_t length;
    FILE *stream;
    unsigned lines;
};

static struct out *open_out(void)
{
    static struct out out;
    out = (struct out){0};
    out.stream = open_memstream(&out.text, &out.length);
    assert_non_null(out.stream);
    return &out;
}

static void close_out(struct out *out)
{
    size_t width = 0;
    fclose(out->stream);
    for (const char *c = out->text; *c; c++) {
        width = *c == '\n' ? 0 : width + 1;
        out->lines += *c == '\n';
        if (width > WIDEST)
            fail_msg("wider than %d columns: %s", WIDEST, out->text);
    }
}

static void the_report_names_holders_with_their_lines(void **state)
{
    static const char *const has[] = {
        "process 7 (app), dead, after 60 s, ",
        "live heap 100 MiB",
        "RSS 120 MiB, cgroup 150 MiB of 200 MiB",
        "sampled every 512 KiB",
        " 80.7 %  80 MiB +- 2 MiB in 43110 blocks (160 samples)\n"
        "         cache_insert cache.c:88\n"
        "         handle_request server.c:210\n"
        "         main server.c:400\n"
        "         before: 0 B 60 s ago, 20 MiB 45 s ago, 40 MiB 30 s ago, 60 MiB 15 s ago\n",
        ", mmap\n",
        "... 3 more\n",
        " in 5 more stacks\n",
        "  cache_insert\n",
        "  /usr/bin/app\n",
        "20 s ago  live      1 MiB",
        "1 s ago  live     20 MiB  RSS     30 MiB  ##############################\n",
    };
    static const char *const lacks[] = {"malloc", "__libc_start", "more stack\n"};
    struct out *out = open_out();
    mw_report_print(&((struct scene *)*state)->report, out->stream);
    close_out(out);
    for (size_t i = 0; i < COUNT(has); i++)
        CHECK_HAS("report", out->text, has[i]);
    for (size_t i = 0; i < COUNT(lacks); i++)
        CHECK_LACKS("report", out->text, lacks[i]);
    free(out->text);
}

static void the_last_events_are_told(void **state)
{
    struct scene *scene = *state;
    add_events(scene);
    struct out *out = open_out();
    mw_report_print(&scene->report, out->stream);
    close_out(out);
    const char *heading = strstr(out->text, "\nWhat happened last (how long before the end)\n");
    assert_non_null(heading);
    CHECK_HAS("events", heading,
              "          16 s  past the limit of 60 MiB, trim: 12 MiB came back in 0 us, RSS 70 MiB -> 58 MiB\n");
    CHECK_HAS("events", heading, "          0 us  limit set to 0 B\n"); /* of a time that is not yet */
    CHECK_HAS("events", heading,
              "           1 s  an allocation of 8 MiB failed at the hard limit of 60 MiB (RSS 59 MiB; 3 so far)\n"
              "                  cache_insert cache.c:88\n");
    CHECK_LACKS("events", heading, "          17 s  "); /* more than ten */
    free(out->text);
    scene->report.is_alive = true;
    out = open_out();
    mw_report_print(&scene->report, out->stream);
    close_out(out);
    CHECK_HAS("alive", out->text, "\nWhat happened last (how long ago)\n");
    free(out->text);
}

static void the_post_mortem_tells_what_the_limiter_did_last(void **state)
{
    struct scene *scene = *state;
    add_events(scene);
    struct out *out = open_out();
    mw_report_post_mortem(&scene->report, out->stream);
    close_out(out);
    CHECK_HAS("last", out->text, "10 s before the end: past the limit of 60 MiB, trim: 12 MiB came back in 0 us, RSS");
    CHECK_HAS("last", out->text, "\n1 s before the end: an allocation of 8 MiB failed at the hard limit of 60 MiB");
    CHECK_HAS("last", out->text,
              "\n8 s before the end: after the program's pressure callbacks\n"); /* no half figures */
    CHECK_LACKS("last", out->text, "limit set");
    assert_in_range(out->lines, 8, 15);
    free(out->text);
}

/* Stacks that do not exist, or are not the profile's, are left out. */
static void an_event_may_name_any_stack(void **state)
{
    static const uint64_t numbers[] = {0, 7, 9, UINT32_MAX, UINT64_C(8) + (UINT64_C(1) << 32), UINT64_MAX};
    struct scene *scene = *state;
    add_events(scene);
    for (size_t i = 0; i < COUNT(numbers); i++) {
        scene->view.events[EVENTS - 1].values[3] = numbers[i];
        struct out *out = open_out();
        mw_report_print(&scene->report, out->stream);
        close_out(out);
        const char *failed = strstr(out->text, "an allocation of 8 MiB failed");
        assert_non_null(failed);
        CHECK_LACKS("any", failed, "cache_insert");
        free(out->text);
    }
    scene->view.events[EVENTS - 1].values[3] = 8;
    struct mw_segment_stack *stack = (void *)&scene->view.stack_words[8];
    stack->depth--; /* it only begins as one of the profile's does */
    for (unsigned i = 0; i < 2; i++) {
        struct out *out = open_out();
        mw_report_print(&scene->report, out->stream);
        close_out(out);
        CHECK_LACKS("not the profile's", strstr(out->text, "an allocation of 8 MiB failed"), "cache_insert");
        free(out->text);
        stack->depth++;
        stack->frames[0]++;
    }
}

static void json_says_the_same(void **state)
{
    struct scene *scene = *state;
    char text[128];
    uint64_t number;
    add_events(scene);
    struct out *out = open_out();
    mw_report_json(&scene->report, out->stream);
    fclose(out->stream);
    assert_true(json_is_valid(out->text));
    assert_true(json_u64(json_member(out->text, "Alloc"), &number));
    assert_int_equal(number, 100 * MIB);
    const char *stacks = json_member(out->text, "Stacks");
    assert_int_equal(json_length(stacks), 3); /* the top */
    assert_true(json_u64(json_member(json_element(stacks, 0), "Bytes"), &number));
    assert_int_equal(number, 80 * MIB);
    const char *frame = json_element(json_member(json_element(stacks, 0), "Frames"), 0);
    assert_true(json_string(json_member(frame, "Function"), text, sizeof text) > 0);
    assert_string_equal(text, "cache_insert");
    const char *events = json_member(out->text, "Events");
    assert_int_equal(json_length(events), 10);
    const char *last = json_element(events, 9);
    assert_true(json_string(json_member(last, "Event"), text, sizeof text) > 0);
    assert_string_equal(text, "hard limit");
    assert_true(json_u64(json_member(last, "AgoNs"), &number));
    assert_int_equal(number, 1 * S);
    assert_true(json_length(json_member(last, "Frames")) > 0);
    free(out->text);
}

static void the_post_mortem_is_short(void **state)
{
    struct out *out = open_out();
    mw_report_post_mortem(&((struct scene *)*state)->report, out->stream);
    close_out(out);
    CHECK_HAS("post-mortem", out->text, "held at the end: 99.1 MiB +- 2 MiB (estimated)\n");
    CHECK_HAS("post-mortem", out->text,
              " 80.7 %  80 MiB +- 2 MiB in 43110 blocks (160 samples)\n"
              "         cache_insert cache.c:88 <- handle_request server.c:210\n");
    CHECK_HAS("post-mortem", out->text, "         without_a_file (app)\n");
    CHECK_HAS("post-mortem", out->text, " in 3 more places\n");
    assert_in_range(out->lines, 5, 15);
    free(out->text);
}

/* As where the container's shared memory is full: "0 B" alone would be no answer to who held the memory. */
static void the_post_mortem_tells_what_it_does_not_know(void **state)
{
    struct scene *scene = *state;
    struct out *out = open_out();
    scene->builder.profile.dropped_samples = 3;
    scene->builder.profile.dropped_bytes = 52 * MIB;
    scene->builder.profile.dropped_stacks = 45;
    mw_report_post_mortem(&scene->report, out->stream);
    close_out(out);
    CHECK_HAS("post-mortem", out->text,
              "(estimated)\nmissing for want of room: 3 sampled blocks (52 MiB), 45 stacks\n");
    free(out->text);
}

static void all_stacks_are_listed_by_what_is_asked(void **state)
{
    static const struct {
        bool allocated;
        bool objects;
        const char *first;
    } cases[] = {{false, false, "live 80 MiB"}, {true, false, "live 80 MiB"}, {false, true, "live 80 MiB"}};
    struct scene *scene = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct out *out = open_out();
        mw_report_stacks(&scene->report, cases[i].allocated, cases[i].objects, out->stream);
        close_out(out);
        const char *first = strstr(out->text, "\n\n");
        assert_non_null(first);
        CHECK_I64(cases[i].first, strncmp(first + 2, cases[i].first, strlen(cases[i].first)), 0);
        CHECK_HAS("all", out->text,
                  "    without_a_file (app)\n    ... and what is outside of that, which was not kept\n");
        CHECK_HAS("all", out->text, "live 10 MiB in 100 blocks, allocated 20 MiB in 200\n");
        free(out->text);
    }
}

static void exact_figures_are_called_so(void **state)
{
    struct scene *scene = *state;
    scene->builder.profile.sample_mean_bytes = 1;
    for (size_t i = 0; i < scene->builder.profile.stack_count; i++)
        scene->builder.stacks[i].live_bytes_error = 0;
    scene->view.totals.by_size[3] = (struct memwatch_size_class){.Size = 64, .Mallocs = 10, .Frees = 4};
    struct out *out = open_out();
    mw_report_print(&scene->report, out->stream);
    mw_report_post_mortem(&scene->report, out->stream);
    close_out(out);
    CHECK_HAS("exact", out->text, "at most 384 B in 6 blocks, of up to 64 B each\n");
    CHECK_HAS("exact", out->text, "the profile's figures are exact");
    CHECK_HAS("exact", out->text, "(exact)");
    CHECK_LACKS("exact", out->text, "+-");
    CHECK_LACKS("exact", out->text, "sample");
    free(out->text);
}

static void what_was_dropped_and_what_is_not_there_is_said(void **state)
{
    struct scene *scene = *state;
    scene->builder.profile.dropped_samples = 12;
    scene->builder.profile.dropped_modules = 1;
    scene->builder.profile.dropped_threads = 2;
    scene->builder.profile.stack_count = 0;
    scene->view.second_count = 0;
    struct out *out = open_out();
    mw_report_print(&scene->report, out->stream);
    mw_report_post_mortem(&scene->report, out->stream);
    mw_report_stacks(&scene->report, false, false, out->stream);
    close_out(out);
    CHECK_HAS("dropped", out->text, "missing for want of room: 12 sampled blocks");
    CHECK_HAS("dropped", out->text, "nameless for want of room: the code of 1 module\n");
    CHECK_HAS("dropped", out->text, "for want of room: 2 threads, which the profile leaves out\n");
    CHECK_HAS("empty", out->text, "profile: 0 B live in 0 stacks");
    CHECK_LACKS("empty", out->text, "nan");
    free(out->text);
}

#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCENE(the_report_names_holders_with_their_lines),
        WITH_SCENE(the_post_mortem_is_short),
        WITH_SCENE(the_post_mortem_tells_what_it_does_not_know),
        WITH_SCENE(all_stacks_are_listed_by_what_is_asked),
        WITH_SCENE(exact_figures_are_called_so),
        WITH_SCENE(what_was_dropped_and_what_is_not_there_is_said),
        WITH_SCENE(the_last_events_are_told),
        WITH_SCENE(the_post_mortem_tells_what_the_limiter_did_last),
        WITH_SCENE(an_event_may_name_any_stack),
        WITH_SCENE(json_says_the_same),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
