/* SPDX-License-Identifier: MIT
 *
 * The limiter lives through simulated time: no clock, no memory, only readings.
 */
#include "limiter.h"

#include "check.h"

#define S   UINT64_C(1000000000)
#define MIB UINT64_C(1048576)

#define ALL UINT64_MAX /* retained: a trim could give back whatever there is */

static void it_rests_up_to_the_limit_and_trims_past_it(void **state)
{
    static const struct {
        const char *what;
        struct mw_limiter_readings readings;
        enum mw_limiter_action action;
    } cases[] = {
        {"below", {.usage_bytes = 99 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = ALL}, MW_LIMITER_REST},
        {"at it", {.usage_bytes = 100 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = ALL}, MW_LIMITER_REST},
        {"a byte past",
         {.usage_bytes = 100 * MIB + 1, .limit_bytes = 100 * MIB, .retained_bytes = ALL},
         MW_LIMITER_TRIM},
        {"far past", {.usage_bytes = UINT64_MAX, .limit_bytes = 1, .retained_bytes = ALL}, MW_LIMITER_TRIM},
        {"no limit", {.usage_bytes = UINT64_MAX, .limit_bytes = 0, .retained_bytes = ALL}, MW_LIMITER_REST},
        {"nothing used", {.usage_bytes = 0, .limit_bytes = 1, .retained_bytes = ALL}, MW_LIMITER_REST},
        {"no reading, no limit", {.usage_bytes = 0}, MW_LIMITER_REST},
        {"the highest limit",
         {.usage_bytes = UINT64_MAX, .limit_bytes = UINT64_MAX, .retained_bytes = ALL},
         MW_LIMITER_REST},
        {"nothing to give back", {.usage_bytes = 200 * MIB, .limit_bytes = 100 * MIB}, MW_LIMITER_REST},
        {"3 % to give back",
         {.usage_bytes = 200 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = 6 * MIB},
         MW_LIMITER_REST},
        {"4 % to give back",
         {.usage_bytes = 200 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = 8 * MIB},
         MW_LIMITER_TRIM},
        {"3 % of all there is",
         {.usage_bytes = UINT64_MAX, .limit_bytes = 1, .retained_bytes = UINT64_MAX / 100 * 3},
         MW_LIMITER_REST},
        {"4 % of all there is",
         {.usage_bytes = UINT64_MAX, .limit_bytes = 1, .retained_bytes = UINT64_MAX / 100 * 4},
         MW_LIMITER_TRIM},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (uint64_t now_ns = 0; now_ns < 3 * S; now_ns += S) {
            struct mw_limiter limiter = {0};
            CHECK_I64(cases[i].what, mw_limiter_step(&limiter, cases[i].readings, now_ns), cases[i].action);
        }
    }
}

/* A simulated program and the monitor's loop around it. Counts the trims in `seconds`, from *now_ns on. */
static unsigned live(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t returned_bytes,
                     unsigned seconds, uint64_t *now_ns)
{
    unsigned trims = 0;
    for (unsigned i = 0; i < seconds; i++, *now_ns += S) {
        if (mw_limiter_step(limiter, readings, *now_ns) != MW_LIMITER_TRIM)
            continue;
        mw_limiter_trimmed(limiter, readings, returned_bytes, *now_ns);
        trims++;
    }
    return trims;
}

static const struct mw_limiter_readings past = {
    .usage_bytes = 200 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = ALL};
static const struct mw_limiter_readings within = {
    .usage_bytes = 50 * MIB, .limit_bytes = 100 * MIB, .retained_bytes = ALL};

static void futile_trims_wait_from_a_second_to_five_minutes(void **state)
{
    static const uint64_t waits_s[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300};
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 12345 * S;
    (void)state;
    for (size_t i = 0; i < COUNT(waits_s); i++) {
        assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_TRIM);
        mw_limiter_trimmed(&limiter, past, 0, now_ns);
        assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_REST);
        now_ns += waits_s[i] * S;
        assert_int_equal(mw_limiter_step(&limiter, past, now_ns - 1), MW_LIMITER_REST);
    }
}

/* The worst that a live heap past its limit costs: ten trims in the first minutes, then twelve an hour. */
static void a_day_past_the_limit_without_use_costs_few_trims(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    unsigned trims = live(&limiter, past, 0, 24 * 3600, &now_ns);
    assert_in_range(trims, 24 * 12, 24 * 12 + 10);
}

static void useful_trims_go_on(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_int_equal(live(&limiter, past, 100 * MIB, 1000, &now_ns), 1000);
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
        {UINT64_MAX, UINT64_MAX / 100 * 3, true},
        {UINT64_MAX, UINT64_MAX / 100 * 4, false},
        {UINT64_MAX, UINT64_MAX, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct mw_limiter_readings readings = {
            .usage_bytes = cases[i].usage_bytes, .limit_bytes = 1, .retained_bytes = ALL};
        struct mw_limiter limiter = {0};
        assert_int_equal(mw_limiter_step(&limiter, readings, S), MW_LIMITER_TRIM);
        mw_limiter_trimmed(&limiter, readings, cases[i].returned_bytes, S);
        assert_int_equal(mw_limiter_step(&limiter, readings, S), cases[i].futile ? MW_LIMITER_REST : MW_LIMITER_TRIM);
    }
}

static void a_useful_trim_forgets_the_futile_ones(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    live(&limiter, past, 0, 3600, &now_ns);
    now_ns += 300 * S;
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_TRIM);
    mw_limiter_trimmed(&limiter, past, 50 * MIB, now_ns);
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_TRIM);
    mw_limiter_trimmed(&limiter, past, 0, now_ns);
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns + S - 1), MW_LIMITER_REST);
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns + S), MW_LIMITER_TRIM);
}

/* What was futile an hour ago may be worth it when usage has gone and come back. */
static void back_within_the_limit_all_is_forgotten(void **state)
{
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    live(&limiter, past, 0, 3600, &now_ns);
    assert_int_equal(live(&limiter, within, 0, 1, &now_ns), 0);
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_TRIM);
}

/* A limit that the program takes away and sets again, while a wait is under way. */
static void a_limit_taken_away_rests(void **state)
{
    const struct mw_limiter_readings unlimited = {.usage_bytes = UINT64_MAX, .retained_bytes = ALL};
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_int_equal(live(&limiter, past, 0, 10, &now_ns), 4);
    assert_int_equal(live(&limiter, unlimited, 0, 3600, &now_ns), 0);
    assert_int_equal(live(&limiter, past, 0, 10, &now_ns), 4);
}

/* A day of a program that frees what it has in the end: until then it is not asked, then at once. */
static void it_waits_until_there_is_something_to_give_back(void **state)
{
    const struct mw_limiter_readings all_live = {.usage_bytes = 200 * MIB, .limit_bytes = 100 * MIB};
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_int_equal(live(&limiter, all_live, 0, 24 * 3600, &now_ns), 0);
    assert_int_equal(mw_limiter_step(&limiter, past, now_ns), MW_LIMITER_TRIM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rests_up_to_the_limit_and_trims_past_it),
        cmocka_unit_test(futile_trims_wait_from_a_second_to_five_minutes),
        cmocka_unit_test(a_day_past_the_limit_without_use_costs_few_trims),
        cmocka_unit_test(useful_trims_go_on),
        cmocka_unit_test(what_futile_means),
        cmocka_unit_test(a_useful_trim_forgets_the_futile_ones),
        cmocka_unit_test(back_within_the_limit_all_is_forgotten),
        cmocka_unit_test(a_limit_taken_away_rests),
        cmocka_unit_test(it_waits_until_there_is_something_to_give_back),
    };
    return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
