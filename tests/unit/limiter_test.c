/* SPDX-License-Identifier: MIT
 *
 * The limiter, rule by rule: the limit, pressure, what a futile trim is and how it is forgotten. Percent and quiet
 * times are in limiter_percent_test.c, what it may cost and when it looks in limiter_pace_test.c, what all of it makes
 * together in limiter_simulation_test.c.
 */
#include "limiting.h"

/* ---- LIMIT ---- */

static void limit_rests_up_to_it_and_trims_past_it(void **state)
{
    static const struct {
        const char *what;
        uint64_t usage_bytes;
        uint64_t limit_bytes;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"below", 99 * MIB, 100 * MIB, MW_LIMITER_NONE},
        {"at it", 100 * MIB, 100 * MIB, MW_LIMITER_NONE},
        {"a byte past", 100 * MIB + 1, 100 * MIB, MW_LIMITER_LIMIT},
        {"far past", ALL, 1, MW_LIMITER_LIMIT},
        {"no limit", ALL, 0, MW_LIMITER_NONE},
        {"nothing used", 0, 1, MW_LIMITER_NONE},
        {"nothing at all", 0, 0, MW_LIMITER_NONE},
        {"the highest limit", ALL, ALL, MW_LIMITER_NONE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (uint64_t now_ns = 0; now_ns < 3 * S; now_ns += S) {
            struct mw_limiter limiter = {0};
            struct mw_limiter_readings readings = {.resident_bytes = cases[i].usage_bytes,
                                                   .usage_bytes = cases[i].usage_bytes,
                                                   .limit_bytes = cases[i].limit_bytes,
                                                   .percent = OFF};
            CHECK_I64(cases[i].what, step(&limiter, readings, now_ns), cases[i].reason);
        }
    }
}

/* It knows what stays, and then something has come free. */
static void limit_needs_a_32nd_of_the_usage(void **state)
{
    static const struct {
        const char *what;
        uint64_t usage_bytes;
        uint64_t returnable_bytes;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"nothing", 200 * MIB, 0, MW_LIMITER_NONE},
        {"3 %", 200 * MIB, 6 * MIB, MW_LIMITER_NONE},
        {"a 32nd", 320 * MIB, 10 * MIB, MW_LIMITER_NONE},
        {"a byte more", 320 * MIB, 10 * MIB + 1, MW_LIMITER_LIMIT},
        {"4 %", 200 * MIB, 8 * MIB, MW_LIMITER_LIMIT},
        {"3 % of all there is", ALL, ALL / 100 * 3, MW_LIMITER_NONE},
        {"4 % of all there is", ALL, ALL / 100 * 4, MW_LIMITER_LIMIT},
        {"of a tiny one", 100, 3, MW_LIMITER_NONE},
        {"of a tiny one, more", 100, 4, MW_LIMITER_LIMIT},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter_readings readings = {.live_bytes = cases[i].usage_bytes - cases[i].usage_bytes / 16,
                                               .usage_bytes = cases[i].usage_bytes,
                                               .limit_bytes = cases[i].usage_bytes / 2,
                                               .percent = OFF};
        readings.resident_bytes = cases[i].usage_bytes - cases[i].returnable_bytes;
        if (readings.resident_bytes < readings.live_bytes)
            readings.live_bytes = readings.resident_bytes;
        struct mw_limiter limiter = taught(readings, S);
        readings.resident_bytes = cases[i].usage_bytes;
        CHECK_I64(cases[i].what, step(&limiter, readings, 2 * S), cases[i].reason);
    }
}

/* All seems to be live. That may be wrong: once it is worth a try, and again when the heap has become another one. */
static void limit_tries_once_where_all_seems_live(void **state)
{
    struct mw_limiter_readings readings = {.live_bytes = 300 * MIB,
                                           .resident_bytes = 200 * MIB,
                                           .usage_bytes = 200 * MIB,
                                           .limit_bytes = 100 * MIB,
                                           .percent = OFF};
    struct mw_limiter limiter = {0};
    (void)state;
    assert_int_equal(step(&limiter, readings, S), MW_LIMITER_LIMIT);
    trim(&limiter, MW_LIMITER_LIMIT, readings, 0, S);
    for (uint64_t now_ns = S; now_ns < 24 * 3600 * S; now_ns += S)
        assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_NONE);
    struct mw_limiter_readings fallen = readings;
    fallen.live_bytes -= 25 * MIB + 1; /* an eighth of what is resident; yet more is live than resident */
    assert_int_equal(step(&limiter, fallen, 24 * 3600 * S), MW_LIMITER_LIMIT);
    struct mw_limiter_readings turned_over = readings;
    turned_over.allocated_bytes += 25 * MIB;
    assert_int_equal(step(&limiter, turned_over, 25 * 3600 * S), MW_LIMITER_NONE);
    turned_over.allocated_bytes += 1;
    assert_int_equal(step(&limiter, turned_over, 25 * 3600 * S), MW_LIMITER_LIMIT);
}

static const struct mw_limiter_readings all_live = {.live_bytes = 200 * MIB,
                                                    .resident_bytes = 200 * MIB,
                                                    .usage_bytes = 200 * MIB,
                                                    .limit_bytes = 100 * MIB,
                                                    .percent = OFF};

static void futile_trims_wait_from_a_second_to_five_minutes(void **state)
{
    static const uint64_t waits_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300};
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = all_live;
    uint64_t now_ns = 12345 * S;
    (void)state;
    for (size_t i = 0; i < COUNT(waits_s); i++) {
        assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_LIMIT);
        trim(&limiter, MW_LIMITER_LIMIT, readings, 0, now_ns);
        readings.allocated_bytes += GIB;
        assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_NONE);
        now_ns += waits_s[i] * S;
        assert_int_equal(step(&limiter, readings, now_ns - 1), MW_LIMITER_NONE);
    }
}

/* The worst that a live heap past its limit costs: ten trims in the first minutes, then twelve an hour. */
static void a_day_past_the_limit_without_use_costs_few_trims(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_in_range(live(&limiter, all_live, 0, 24 * 3600, &now_ns), 24 * 12, 24 * 12 + 10);
}

static void useful_trims_go_on(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_int_equal(live(&limiter, past, 100 * MIB, 1000, &now_ns), 1000);
}

static void a_useful_trim_forgets_the_futile_ones(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    live(&limiter, all_live, 0, 3600, &now_ns);
    now_ns += 300 * S;
    struct mw_limiter_readings readings = all_live;
    readings.allocated_bytes = 1000 * GIB;
    assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_LIMIT);
    struct mw_limiter_readings after = trim(&limiter, MW_LIMITER_LIMIT, readings, 50 * MIB, now_ns);
    after.allocated_bytes += GIB;
    assert_int_equal(step(&limiter, after, now_ns), MW_LIMITER_LIMIT);
    trim(&limiter, MW_LIMITER_LIMIT, after, 0, now_ns);
    after.allocated_bytes += GIB;
    assert_int_equal(step(&limiter, after, now_ns + S - 1), MW_LIMITER_NONE);
    assert_int_equal(step(&limiter, after, now_ns + S), MW_LIMITER_LIMIT);
}

/* Futile: what would not have been worth it, had it been known. */
static void what_futile_means(void **state)
{
    static const struct {
        uint64_t usage_bytes;
        uint64_t returned_bytes;
        bool futile;
    } cases[] = {
        {200 * MIB, 0, true},
        {200 * MIB, 1, true},
        {200 * MIB, 6 * MIB, true},
        {200 * MIB, 8 * MIB, false},
        {200 * MIB, 200 * MIB, false},
        {100, 3, true},
        {100, 4, false},
        {ALL, ALL / 100 * 3, true},
        {ALL, ALL / 100 * 4, false},
        {ALL, ALL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter_readings readings = {.resident_bytes = cases[i].usage_bytes,
                                               .usage_bytes = cases[i].usage_bytes,
                                               .limit_bytes = 1,
                                               .percent = OFF};
        struct mw_limiter limiter = {0};
        assert_int_equal(step(&limiter, readings, S), MW_LIMITER_LIMIT);
        trim(&limiter, MW_LIMITER_LIMIT, readings, cases[i].returned_bytes, S);
        assert_int_equal(limiter.known.not_before_ns, cases[i].futile ? 2 * S : 0);
    }
}

static void a_futile_try_does_not_delay_what_is_known(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = all_live;
    (void)state;
    assert_int_equal(step(&limiter, readings, S), MW_LIMITER_LIMIT);
    trim(&limiter, MW_LIMITER_LIMIT, readings, 0, S);
    readings.live_bytes -= 10 * MIB;
    assert_int_equal(step(&limiter, readings, S), MW_LIMITER_LIMIT);
}

/* A tenth of what is resident has come free: it waits. A fifth makes it another heap. */
static void a_change_forgets_the_futile_ones(void **state)
{
    static const struct {
        const char *what;
        uint64_t freed_bytes;
        uint64_t after_ns;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"a tenth, soon", 20 * MIB, 99 * MS, MW_LIMITER_NONE},
        {"a tenth, later", 20 * MIB, S - 1, MW_LIMITER_NONE},
        {"a tenth, after the wait", 20 * MIB, S, MW_LIMITER_LIMIT},
        {"a fifth, soon", 40 * MIB, 99 * MS, MW_LIMITER_NONE},
        {"a fifth, later", 40 * MIB, 100 * MS, MW_LIMITER_LIMIT},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = past;
        assert_int_equal(step(&limiter, readings, S), MW_LIMITER_LIMIT);
        trim(&limiter, MW_LIMITER_LIMIT, readings, 0, S);
        readings.live_bytes += 50 * MIB; /* fills what is retained, so that less is kept … */
        step(&limiter, readings, S + 1);
        readings.live_bytes -= cases[i].freed_bytes; /* … and frees again */
        CHECK_I64(cases[i].what, step(&limiter, readings, S + cases[i].after_ns), cases[i].reason);
    }
}

static void a_limit_taken_away_rests_and_a_new_one_is_tried_at_once(void **state)
{
    struct mw_limiter_readings unlimited = all_live;
    unlimited.limit_bytes = 0;
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_int_equal(live(&limiter, all_live, 0, 10, &now_ns), 4);
    assert_int_equal(live(&limiter, unlimited, 0, 1, &now_ns), 0);
    assert_int_equal(live(&limiter, all_live, 0, 10, &now_ns), 4);
    assert_int_equal(live(&limiter, unlimited, 0, 3600, &now_ns), 0);
}

/* ---- PRESSURE ---- */

static void under_pressure_little_is_enough(void **state)
{
    static const struct {
        const char *what;
        bool is_under_pressure;
        int percent;
        uint64_t limit_bytes;
        uint64_t resident_bytes;
        uint64_t retained_bytes;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"none", false, 100, 0, GIB, 20 * MIB, MW_LIMITER_NONE},
        {"2 %", true, 100, 0, GIB, 20 * MIB, MW_LIMITER_PRESSURE},
        {"1 %", true, 100, 0, GIB, 10 * MIB, MW_LIMITER_NONE},
        {"small", true, 100, 0, 10 * MIB, 512 * KIB, MW_LIMITER_NONE},
        {"small, but more", true, 100, 0, 10 * MIB, 513 * KIB, MW_LIMITER_PRESSURE},
        {"tiny", true, 100, 0, 4 * MIB, 2 * MIB, MW_LIMITER_NONE},
        {"a limit alone", true, OFF, 2 * GIB, GIB, 20 * MIB, MW_LIMITER_PRESSURE},
        {"past it, too", true, OFF, GIB / 2, GIB, 200 * MIB, MW_LIMITER_LIMIT},
        {"all off", true, OFF, 0, GIB, 200 * MIB, MW_LIMITER_NONE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.live_bytes = cases[i].resident_bytes - cases[i].retained_bytes,
                                               .resident_bytes = cases[i].resident_bytes,
                                               .usage_bytes = cases[i].resident_bytes,
                                               .limit_bytes = cases[i].limit_bytes,
                                               .percent = cases[i].percent,
                                               .is_under_pressure = cases[i].is_under_pressure};
        CHECK_I64(cases[i].what, step(&limiter, readings, S), cases[i].reason);
    }
}

static void a_tiny_program_is_left_alone(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = {.percent = 0, .is_under_pressure = true};
    (void)state;
    for (uint64_t now_ns = 0; now_ns < 24 * 3600 * S; now_ns += S) {
        readings.resident_bytes = 2 * MIB + now_ns / S % 1000 * KIB;
        readings.live_bytes = now_ns / S % 7 * 100 * KIB;
        assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_NONE);
    }
}

/* Every combination of extremes, twice over, with a trim after each: no overflow (the sanitizers look), no reason where
 * all is off, no look too soon. */
static void extremes(void **state)
{
    static const uint64_t values[] = {0, 1, 4096, 1 << 30, INT64_MAX, ALL - 1, ALL};
    static const int percents[] = {INT32_MIN, OFF, 0, 100, INT32_MAX};
    struct mw_limiter limiter = {0};
    uint64_t random = 1;
    (void)state;
    for (unsigned i = 0; i < 500000; i++) {
        uint64_t v[6];
        for (unsigned k = 0; k < 6; k++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            v[k] = values[(random >> 33) % COUNT(values)];
        }
        struct mw_limiter_readings readings = {.live_bytes = v[0],
                                               .resident_bytes = v[1],
                                               .allocated_bytes = v[2],
                                               .usage_bytes = v[3],
                                               .limit_bytes = v[4],
                                               .ceiling_bytes = v[5],
                                               .percent = percents[(random >> 40) % COUNT(percents)],
                                               .is_under_pressure = random >> 50 & 1};
        uint64_t now_ns = i * MS;
        struct mw_limiter_decision decision = mw_limiter_step(&limiter, &readings, now_ns);
        assert_in_range(decision.next_look_ns, 5 * MS, S);
        if (readings.percent < 0 && !readings.limit_bytes)
            assert_int_equal(decision.reason, MW_LIMITER_NONE);
        struct mw_limiter_readings after = readings;
        after.resident_bytes = v[5];
        after.live_bytes = v[4];
        mw_limiter_trimmed(&limiter, decision.reason, &readings, &after, random >> 32, now_ns);
        if (i % 1000 == 0)
            limiter = (struct mw_limiter){0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_rests_up_to_it_and_trims_past_it),
        cmocka_unit_test(limit_needs_a_32nd_of_the_usage),
        cmocka_unit_test(limit_tries_once_where_all_seems_live),
        cmocka_unit_test(futile_trims_wait_from_a_second_to_five_minutes),
        cmocka_unit_test(a_day_past_the_limit_without_use_costs_few_trims),
        cmocka_unit_test(useful_trims_go_on),
        cmocka_unit_test(a_useful_trim_forgets_the_futile_ones),
        cmocka_unit_test(what_futile_means),
        cmocka_unit_test(a_futile_try_does_not_delay_what_is_known),
        cmocka_unit_test(a_change_forgets_the_futile_ones),
        cmocka_unit_test(a_limit_taken_away_rests_and_a_new_one_is_tried_at_once),
        cmocka_unit_test(under_pressure_little_is_enough),
        cmocka_unit_test(a_tiny_program_is_left_alone),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
