/* SPDX-License-Identifier: MIT */
#include "warning.h"

#include <string.h>

#include "check.h"

#define MIB   (UINT64_C(1) << 20)
#define MS    UINT64_C(1000000)
#define S     (1000 * MS)
#define LIMIT (100 * MIB)
#define AT    (95 * MIB)

static struct mw_warning warning;
static uint64_t now_ns;

static int setup(void **state)
{
    (void)state;
    now_ns = 1000 * S;
    mw_warning_begin(&warning, AT, LIMIT);
    return 0;
}

static struct mw_warning_step look_at(uint64_t used_bytes, uint64_t cache_bytes, bool is_pressed)
{
    const struct mw_warning_reading reading = {.working_set_bytes = used_bytes,
                                               .usage_bytes = used_bytes + cache_bytes,
                                               .limit_bytes = LIMIT,
                                               .is_pressed = is_pressed};
    return mw_warning_step(&warning, &reading, now_ns);
}

static struct mw_warning_step look(uint64_t used_bytes)
{
    return look_at(used_bytes, 0, false);
}

static void it_is_told_once_near_the_limit_and_again_after_it_was_not(void **state)
{
    (void)state;
    static const struct {
        uint64_t after_ns;
        uint64_t used_bytes;
        enum mw_warning_reason reason;
    } steps[] = {
        {0, 50 * MIB, MW_WARNING_NONE},
        {S, AT - 1, MW_WARNING_NONE},
        {S, AT, MW_WARNING_LIMIT},
        {S, 99 * MIB, MW_WARNING_NONE},
        {90 * S, 86 * MIB, MW_WARNING_NONE},
        {S, 96 * MIB, MW_WARNING_NONE}, /* it was never far */
        {S, 84 * MIB, MW_WARNING_NONE},
        {S, LIMIT, MW_WARNING_LIMIT},
        {S, 0, MW_WARNING_NONE},
        {S, 96 * MIB, MW_WARNING_NONE}, /* so soon after the last */
        {57 * S, 96 * MIB, MW_WARNING_NONE},
        {S, 96 * MIB, MW_WARNING_LIMIT},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        now_ns += steps[i].after_ns;
        enum mw_warning_reason reason = look(steps[i].used_bytes).reason;
        if (reason != steps[i].reason)
            fail_msg("step %zu: %d", i, (int)reason);
    }
}

static void file_cache_is_no_reason(void **state)
{
    (void)state;
    assert_int_equal(look_at(20 * MIB, 80 * MIB, false).reason, MW_WARNING_NONE);
    now_ns += S;
    assert_int_equal(look_at(95 * MIB, 5 * MIB, false).reason, MW_WARNING_LIMIT);
}

static void waiting_for_memory_is_told_seldom(void **state)
{
    (void)state;
    assert_int_equal(look_at(20 * MIB, 80 * MIB, true).reason, MW_WARNING_PRESSURE);
    now_ns += MW_WARNING_PRESSURE_NS - 1;
    assert_int_equal(look_at(20 * MIB, 80 * MIB, true).reason, MW_WARNING_NONE);
    now_ns++;
    assert_int_equal(look_at(20 * MIB, 80 * MIB, false).reason, MW_WARNING_NONE);
    assert_int_equal(look_at(20 * MIB, 80 * MIB, true).reason, MW_WARNING_PRESSURE);
    now_ns += MW_WARNING_PRESSURE_NS;
    assert_int_equal(look_at(96 * MIB, 0, true).reason, MW_WARNING_LIMIT);
    now_ns += S;
    assert_int_equal(look_at(96 * MIB, 0, true).reason, MW_WARNING_NONE); /* that says it all */
}

static void growth_is_since_the_last_look(void **state)
{
    (void)state;
    assert_int_equal(look(50 * MIB).growth_bytes_s, 0);
    now_ns += 2 * S;
    assert_int_equal(look(60 * MIB).growth_bytes_s, 5 * MIB);
    now_ns += S;
    assert_int_equal(look(60 * MIB).growth_bytes_s, 0);
    assert_int_equal(look(70 * MIB).growth_bytes_s, 0); /* at the same moment */
    now_ns += S;
    assert_int_equal(look(10 * MIB).growth_bytes_s, 0);
    now_ns += MW_WARNING_GROWTH_NS + 1;
    assert_int_equal(look(90 * MIB).growth_bytes_s, 0); /* who knows when it grew */
}

static uint64_t pause_after(uint64_t used_bytes, uint64_t passed_ns)
{
    now_ns += passed_ns;
    return look(used_bytes).look_ns - now_ns;
}

static void the_faster_it_grows_the_sooner_the_next_look(void **state)
{
    (void)state;
    assert_int_equal(pause_after(10 * MIB, 0), S);
    assert_int_equal(pause_after(11 * MIB, S), S);             /* 84 s away */
    assert_int_equal(pause_after(75 * MIB, S), 156250000);     /* 20 MiB at 64 MiB/s: half of the way */
    assert_int_equal(pause_after(94 * MIB, S), 50 * MS);       /* 26 ms */
    assert_int_equal(pause_after(99 * MIB, 50 * MS), S);       /* it has been said */
    assert_int_equal(pause_after(UINT64_MAX / 2, 50 * MS), S); /* nonsense does no harm */
}

static void while_nothing_moves_looks_become_rare(void **state)
{
    (void)state;
    static const unsigned pauses_s[] = {2, 4, 8, 16, 16};
    look(50 * MIB);
    now_ns += S;
    look(51 * MIB);
    for (size_t i = 0; i < sizeof pauses_s / sizeof pauses_s[0]; i++) {
        assert_int_equal(pause_after(51 * MIB, 10 * S), pauses_s[i] * S);
    }
    assert_int_equal(pause_after(51 * MIB + 4096, 16 * S), S);
}

static void where_the_kernel_tells_there_is_nothing_to_look_at_below_the_mark(void **state)
{
    (void)state;
    warning.is_told = true;
    assert_true(look(50 * MIB).look_ns == MW_WARNING_NEVER);
    assert_true(look(96 * MIB).look_ns == MW_WARNING_NEVER); /* said; that it falls will be told */
    now_ns += S;
    assert_true(look(10 * MIB).look_ns == MW_WARNING_NEVER);
    now_ns += S;
    assert_int_equal(look(97 * MIB).look_ns, now_ns + S); /* it is too early to say so again */
    now_ns += 60 * S;
    assert_true(look(97 * MIB).look_ns == MW_WARNING_NEVER);
    now_ns += S;
    assert_int_equal(look_at(10 * MIB, 90 * MIB, false).look_ns, now_ns + S); /* cache: usage crosses nothing more */
}

static void without_a_limit_there_is_nothing(void **state)
{
    (void)state;
    const struct mw_warning_reading none = {.working_set_bytes = AT, .usage_bytes = AT, .is_pressed = true};
    struct mw_warning_step step = mw_warning_step(&warning, &none, now_ns);
    assert_true(step.reason == MW_WARNING_NONE && step.look_ns == MW_WARNING_NEVER);
    mw_warning_begin(&warning, 1, 5);
    assert_int_equal(warning.again_bytes, 1);
    mw_warning_begin(&warning, 1, 100);
    assert_int_equal(warning.again_bytes, 0);
}

static void what_is_said(void **state)
{
    (void)state;
    static const struct {
        struct mw_warning_step step;
        struct mw_warning_reading reading;
        const char *sentence;
    } cases[] = {
        {{.reason = MW_WARNING_LIMIT, .growth_bytes_s = 2 * MIB},
         {.working_set_bytes = 96 * MIB, .usage_bytes = 96 * MIB, .limit_bytes = LIMIT},
         "./app (pid 7) is near its limit: 96 MiB of 100 MiB in use (96.0 %), growing by 2 MiB a second: full in 2 s"},
        {{.reason = MW_WARNING_LIMIT},
         {.working_set_bytes = 95 * MIB, .usage_bytes = LIMIT, .limit_bytes = LIMIT},
         "./app (pid 7) is near its limit: 95 MiB of 100 MiB in use (95.0 %) besides 5 MiB of file cache"},
        {{.reason = MW_WARNING_PRESSURE},
         {.working_set_bytes = 10 * MIB, .usage_bytes = LIMIT, .limit_bytes = LIMIT},
         "./app (pid 7) waits for memory: 10 MiB of 100 MiB in use (10.0 %) besides 90 MiB of file cache"},
        {{.reason = MW_WARNING_LIMIT, .growth_bytes_s = 1},
         {.working_set_bytes = UINT64_MAX, .usage_bytes = 0, .limit_bytes = 1},
         NULL},
        {{.reason = MW_WARNING_LIMIT, .growth_bytes_s = 1},
         {.working_set_bytes = 0, .usage_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX},
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        struct mw_text text = MW_TEXT(line);
        mw_warning_text(&text, &cases[i].step, &cases[i].reading, "./app", 7);
        assert_false(text.truncated);
        if (cases[i].sentence)
            assert_string_equal(line, cases[i].sentence);
    }
    char line[512];
    struct mw_text text = MW_TEXT(line);
    mw_warning_json(&text, &cases[2].step, &cases[2].reading, "a \"b\"", 7);
    assert_string_equal(line, "{\"Event\":\"Warning\",\"Reason\":\"pressure\",\"Program\":\"a \\\"b\\\"\",\"Pid\":7,"
                              "\"Limit\":104857600,\"WorkingSet\":10485760,\"CgroupUsage\":104857600,"
                              "\"GrowthPerSecond\":0}");
}

#define WITH_A_LIMIT(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_A_LIMIT(it_is_told_once_near_the_limit_and_again_after_it_was_not),
        WITH_A_LIMIT(file_cache_is_no_reason),
        WITH_A_LIMIT(waiting_for_memory_is_told_seldom),
        WITH_A_LIMIT(growth_is_since_the_last_look),
        WITH_A_LIMIT(the_faster_it_grows_the_sooner_the_next_look),
        WITH_A_LIMIT(while_nothing_moves_looks_become_rare),
        WITH_A_LIMIT(where_the_kernel_tells_there_is_nothing_to_look_at_below_the_mark),
        WITH_A_LIMIT(without_a_limit_there_is_nothing),
        WITH_A_LIMIT(what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
