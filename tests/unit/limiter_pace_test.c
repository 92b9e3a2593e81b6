/* SPDX-License-Identifier: MIT
 *
 * The limiter, rule by rule: the time that it may take, when it looks again, what cannot wait, and when the next trim
 * would come.
 */
#include "limiting.h"

/* ---- the buckets ---- */

/* After one trim of such a cost, for how long does nothing happen, though there is every reason to? */
static uint64_t rest_after(enum mw_limiter_reason reason, uint64_t pause_ns, uint64_t returned_bytes)
{
    static const struct mw_limiter_readings limited = {
        .resident_bytes = 100 * GIB, .usage_bytes = 100 * GIB, .limit_bytes = GIB, .percent = OFF};
    static const struct mw_limiter_readings percent = {.resident_bytes = 100 * GIB, .percent = 100};
    struct mw_limiter_readings before = reason == MW_LIMITER_LIMIT ? limited : percent;
    struct mw_limiter_readings after = before;
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 1000 * S;
    uint64_t end_ns = now_ns;
    assert_int_equal(step(&limiter, before, now_ns), reason);
    after.resident_bytes -= returned_bytes;
    after.usage_bytes -= returned_bytes;
    mw_limiter_trimmed(&limiter, reason, &before, &after, pause_ns, now_ns);
    limiter.known = (struct mw_limiter_backoff){0}; /* the bucket alone is looked at */
    limiter.kept_bytes = 0;
    limiter.regret_until_ns = 0;
    while (step(&limiter, before, now_ns) == MW_LIMITER_NONE && now_ns < end_ns + 1000 * S)
        now_ns += 10 * MS;
    return now_ns - end_ns;
}

static void a_trim_is_paid_for_before_the_next(void **state)
{
    static const struct {
        const char *what;
        enum mw_limiter_reason reason;
        uint64_t pause_ns;
        uint64_t returned_bytes;
        uint64_t rest_ns;
    } cases[] = {
        {"nothing spent", MW_LIMITER_PERCENT, 0, 0, 0},
        {"within the capacity", MW_LIMITER_PERCENT, 39 * MS, 0, 0},
        {"full", MW_LIMITER_PERCENT, 40 * MS, 0, 10 * MS},
        {"10 ms too much at 2 %", MW_LIMITER_PERCENT, 50 * MS, 0, 510 * MS},
        {"a second at 2 %", MW_LIMITER_PERCENT, S, 0, 48 * S + 10 * MS},
        {"16 GiB are a second of faults", MW_LIMITER_PERCENT, 0, UINT64_C(4000000) * 4096, 48 * S + 10 * MS},
        {"within the capacity, urgent", MW_LIMITER_LIMIT, 499 * MS, 0, 0},
        {"full, urgent", MW_LIMITER_LIMIT, 500 * MS, 0, 10 * MS},
        {"a second at 25 %", MW_LIMITER_LIMIT, S, 0, 2 * S + 10 * MS},
        {"both", MW_LIMITER_LIMIT, S / 2, UINT64_C(2000000) * 4096, 2 * S + 10 * MS},
        {"longer than any trim", MW_LIMITER_LIMIT, ALL, 0, (60 * S - S / 2) * 4 + 10 * MS},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_U64(cases[i].what, rest_after(cases[i].reason, cases[i].pause_ns, cases[i].returned_bytes),
                  cases[i].rest_ns);
}

/* A long calm earns no credit; what is not needed in a hurry never delays what is. */
static void buckets_stand_apart_and_never_below_empty(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings calm = {.resident_bytes = GIB, .usage_bytes = GIB, .percent = 100};
    struct mw_limiter_readings urgent = calm;
    urgent.limit_bytes = GIB / 2;
    (void)state;
    step(&limiter, calm, S);
    uint64_t now_ns = 1000000 * S;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(step(&limiter, calm, now_ns), MW_LIMITER_PERCENT);
        mw_limiter_trimmed(&limiter, MW_LIMITER_PERCENT, &calm, &calm, 10 * MS, now_ns);
        limiter.known = (struct mw_limiter_backoff){0};
        limiter.kept_bytes = 0;
    }
    assert_int_equal(step(&limiter, calm, now_ns), MW_LIMITER_NONE);
    for (unsigned i = 4; i < 50; i++) {
        assert_int_equal(step(&limiter, urgent, now_ns), MW_LIMITER_LIMIT);
        mw_limiter_trimmed(&limiter, MW_LIMITER_LIMIT, &urgent, &urgent, 10 * MS, now_ns);
        limiter.known = (struct mw_limiter_backoff){0};
        limiter.kept_bytes = 0;
    }
    assert_int_equal(step(&limiter, urgent, now_ns), MW_LIMITER_NONE);
    assert_int_equal(step(&limiter, calm, now_ns + 1000), MW_LIMITER_PERCENT); /* both have a little room again */
}

static void what_others_ask_for_is_on_their_account(void **state)
{
    struct mw_limiter limiter = {0};
    (void)state;
    step(&limiter, past, S);
    mw_limiter_trimmed(&limiter, MW_LIMITER_NONE, &past, &past, 3600 * S, S);
    assert_int_equal(step(&limiter, past, S), MW_LIMITER_NONE); /* it has learned that all of it stays */
    struct mw_limiter_readings more = past;
    more.live_bytes = 0;
    assert_int_equal(step(&limiter, more, S), MW_LIMITER_LIMIT);
}

/* ---- time, looks, targets ---- */

static void time_may_stand_still_leap_or_be_any(void **state)
{
    static const uint64_t starts_ns[] = {0, 1, S, ALL / 2, ALL - 1, ALL};
    (void)state;
    for (size_t i = 0; i < COUNT(starts_ns); i++) {
        struct mw_limiter limiter = {0};
        unsigned trims = 0;
        while (step(&limiter, past, starts_ns[i]) == MW_LIMITER_LIMIT) { /* it stands still: until the bucket is full */
            struct mw_limiter_readings after = past;
            after.resident_bytes = after.live_bytes;
            mw_limiter_trimmed(&limiter, MW_LIMITER_LIMIT, &past, &after, 50 * MS, starts_ns[i]);
            assert_in_range(++trims, 1, 10);
        }
        assert_int_equal(trims, 9); /* of 50 ms, and 150 MiB to be touched again: 59.6 ms */
        assert_int_equal(step(&limiter, past, 0), MW_LIMITER_NONE); /* going back is standing still */
        assert_int_equal(step(&limiter, past, starts_ns[i] / 2), MW_LIMITER_NONE);
    }
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings quiet = {.live_bytes = 100 * MIB, .resident_bytes = 110 * MIB, .percent = 100};
    step(&limiter, quiet, 10 * S);
    assert_int_equal(step(&limiter, quiet, 5 * S), MW_LIMITER_NONE);
    assert_int_equal(step(&limiter, quiet, 12 * S), MW_LIMITER_QUIET);
}

static void looks_come_closer_as_the_limit_does(void **state)
{
    static const struct {
        const char *what;
        uint64_t before_bytes;
        uint64_t usage_bytes;
        uint64_t limit_bytes;
        uint64_t ceiling_bytes;
        uint64_t elapsed_ns;
        uint64_t look_ns;
    } cases[] = {
        {"no limit", 0, GIB, 0, 0, S, S},
        {"calm", 100 * MIB, 100 * MIB, 1000 * MIB, 0, S, S},
        {"growing, but far", 100 * MIB, 200 * MIB, 1000 * MIB, 0, S, S},
        {"four looks until then", 200 * MIB, 600 * MIB, 1000 * MIB, 0, S, 250 * MS},
        {"a fast one", 500 * MIB, 600 * MIB, 1000 * MIB, 0, 100 * MS, 100 * MS},
        {"faster than can be looked", 0, 990 * MIB, 1000 * MIB, 0, 10 * MS, 5 * MS},
        {"near, and still", 990 * MIB, 990 * MIB, 1000 * MIB, 0, S, 100 * MS},
        {"fallen", 990 * MIB, 100 * MIB, 1000 * MIB, 0, S, S},
        {"at it", 900 * MIB, 1000 * MIB, 1000 * MIB, 0, S, 5 * MS},
        {"past it", 900 * MIB, 1001 * MIB, 1000 * MIB, 0, S, 100 * MS},
        {"past it, far from the ceiling", 1090 * MIB, 1100 * MIB, 1000 * MIB, 2000 * MIB, S, 100 * MS},
        {"past it, towards the ceiling", 1000 * MIB, 1500 * MIB, 1000 * MIB, 1600 * MIB, S, 50 * MS},
        {"at the ceiling", 900 * MIB, 1100 * MIB, 1000 * MIB, 1100 * MIB, S, 5 * MS},
        {"past the ceiling", 900 * MIB, ALL, 1000 * MIB, 1100 * MIB, S, 5 * MS},
        {"past the ceiling, and still", 1200 * MIB, 1200 * MIB, 1000 * MIB, 1100 * MIB, S, 100 * MS},
        {"no time has passed", 0, 990 * MIB, 1000 * MIB, 0, 0, 100 * MS},
        {"all there is", 0, ALL - 1, ALL, ALL, 1, 5 * MS},
        {"the least limit", 0, 1, 1, 1, S, 5 * MS},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.usage_bytes = cases[i].before_bytes,
                                               .limit_bytes = cases[i].limit_bytes,
                                               .ceiling_bytes = cases[i].ceiling_bytes,
                                               .percent = OFF};
        mw_limiter_step(&limiter, &readings, S);
        readings.usage_bytes = cases[i].usage_bytes;
        CHECK_U64(cases[i].what, mw_limiter_step(&limiter, &readings, S + cases[i].elapsed_ns).next_look_ns,
                  cases[i].look_ns);
    }
}

/* Growth comes in bursts: it is believed in for a while, and then forgotten. */
static void a_growth_is_remembered_for_a_second_or_so(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = {.limit_bytes = 1000 * MIB, .percent = OFF};
    (void)state;
    mw_limiter_step(&limiter, &readings, 0);
    readings.usage_bytes = 900 * MIB;
    uint64_t now_ns = 100 * MS;
    assert_in_range(mw_limiter_step(&limiter, &readings, now_ns).next_look_ns, 5 * MS, 5 * MS);
    for (; now_ns < S; now_ns += 10 * MS)
        assert_in_range(mw_limiter_step(&limiter, &readings, now_ns).next_look_ns, 5 * MS, 8 * MS);
    for (; now_ns < 10 * S; now_ns += 10 * MS)
        mw_limiter_step(&limiter, &readings, now_ns);
    assert_int_equal(mw_limiter_step(&limiter, &readings, now_ns).next_look_ns, S);
}

/* A program that has been calm may fill what is left between two looks. */
static void looks_come_after_so_many_bytes_too(void **state)
{
    static const struct {
        const char *what;
        uint64_t usage_bytes;
        uint64_t limit_bytes;
        uint64_t ceiling_bytes;
        uint64_t look_after_bytes;
    } cases[] = {
        {"no limit", 100 * MIB, 0, 0, ALL},
        {"no limit, though a ceiling", 100 * MIB, 0, 200 * MIB, ALL},
        {"a quarter of what is left", 100 * MIB, 500 * MIB, 0, 100 * MIB},
        {"nothing used", 0, 400 * MIB, 0, 100 * MIB},
        {"little left", 499 * MIB, 500 * MIB, 0, 256 * KIB},
        {"at it", 500 * MIB, 500 * MIB, 0, 256 * KIB},
        {"past it, and nothing behind it", 501 * MIB, 500 * MIB, 0, ALL},
        {"past it: a quarter of what is left to the ceiling", 520 * MIB, 500 * MIB, 600 * MIB, 20 * MIB},
        {"at the ceiling", 600 * MIB, 500 * MIB, 600 * MIB, 256 * KIB},
        {"past the ceiling", ALL, 500 * MIB, 600 * MIB, 256 * KIB},
        {"all there is", 0, ALL, ALL, ALL / 4},
        {"the least limit", 0, 1, 1, 256 * KIB},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.usage_bytes = cases[i].usage_bytes,
                                               .limit_bytes = cases[i].limit_bytes,
                                               .ceiling_bytes = cases[i].ceiling_bytes,
                                               .percent = OFF};
        CHECK_U64(cases[i].what, mw_limiter_step(&limiter, &readings, S).look_after_bytes, cases[i].look_after_bytes);
    }
}

/* Only a trim for the limit can be, and only where the kernel kills at a ceiling that is near. */
static void what_cannot_wait(void **state)
{
    static const struct {
        const char *what;
        uint64_t before_bytes; /* a second ago */
        uint64_t usage_bytes;
        uint64_t ceiling_bytes;
        enum mw_limiter_reason reason;
        bool is_urgent;
    } cases[] = {
        {"below the limit", 990 * MIB, 990 * MIB, 1100 * MIB, MW_LIMITER_NONE, false},
        {"below the limit, though fast", 100 * MIB, 990 * MIB, 1050 * MIB, MW_LIMITER_NONE, false},
        {"no ceiling", 1040 * MIB, 1090 * MIB, 0, MW_LIMITER_LIMIT, false},
        {"less than half of the way", 1049 * MIB, 1049 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, false},
        {"more than half of it", 1051 * MIB, 1051 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, true},
        {"little of it, but there within 100 ms", 100 * MIB, 1010 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, true},
        {"little of it, and there later", 200 * MIB, 1010 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, false},
        {"at the ceiling", 1100 * MIB, 1100 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, true},
        {"past it", 1100 * MIB, 1200 * MIB, 1100 * MIB, MW_LIMITER_LIMIT, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.live_bytes = 50 * MIB,
                                               .resident_bytes = 900 * MIB,
                                               .usage_bytes = cases[i].before_bytes,
                                               .limit_bytes = 1000 * MIB,
                                               .ceiling_bytes = cases[i].ceiling_bytes,
                                               .percent = OFF};
        mw_limiter_step(&limiter, &readings, S);
        readings.usage_bytes = cases[i].usage_bytes;
        struct mw_limiter_decision decision = mw_limiter_step(&limiter, &readings, 2 * S);
        CHECK_U64(cases[i].what, decision.reason, cases[i].reason);
        CHECK_U64(cases[i].what, decision.is_urgent, cases[i].is_urgent);
    }
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings short_of_memory = {.live_bytes = 50 * MIB,
                                                  .resident_bytes = 900 * MIB,
                                                  .usage_bytes = 990 * MIB,
                                                  .limit_bytes = 1000 * MIB,
                                                  .ceiling_bytes = 991 * MIB,
                                                  .percent = OFF,
                                                  .is_under_pressure = true};
    struct mw_limiter_decision decision = mw_limiter_step(&limiter, &short_of_memory, S);
    assert_int_equal(decision.reason, MW_LIMITER_PRESSURE);
    assert_false(decision.is_urgent);
}

static void where_the_next_trim_is(void **state)
{
    static const struct {
        const char *what;
        struct mw_limiter_readings readings;
        uint64_t next_trim_bytes;
    } cases[] = {
        {"all off", {.live_bytes = MIB, .percent = OFF}, ALL},
        {"twice what is live", {.live_bytes = 100 * MIB, .percent = 100}, 200 * MIB},
        {"the floor", {.live_bytes = MIB, .percent = 100}, 5 * MIB},
        {"the limit",
         {.live_bytes = 100 * MIB,
          .resident_bytes = 150 * MIB,
          .usage_bytes = 160 * MIB,
          .limit_bytes = 400 * MIB,
          .percent = OFF},
         390 * MIB},
        {"the percentage comes first",
         {.live_bytes = 100 * MIB,
          .resident_bytes = 150 * MIB,
          .usage_bytes = 160 * MIB,
          .limit_bytes = 400 * MIB,
          .percent = 100},
         200 * MIB},
        {"the limit comes first",
         {.live_bytes = 100 * MIB,
          .resident_bytes = 150 * MIB,
          .usage_bytes = 160 * MIB,
          .limit_bytes = 170 * MIB,
          .percent = 100},
         160 * MIB},
        {"the limit is passed",
         {.live_bytes = 100 * MIB,
          .resident_bytes = 150 * MIB,
          .usage_bytes = 160 * MIB,
          .limit_bytes = 120 * MIB,
          .percent = 100},
         110 * MIB},
        {"the limit is below what is live",
         {.live_bytes = 100 * MIB,
          .resident_bytes = 150 * MIB,
          .usage_bytes = 160 * MIB,
          .limit_bytes = 50 * MIB,
          .percent = 100},
         105 * MIB},
        {"all there is",
         {.live_bytes = ALL, .resident_bytes = ALL, .usage_bytes = ALL, .limit_bytes = ALL, .percent = INT32_MAX},
         ALL},
        {"nothing", {.percent = 0}, 4 * MIB},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        CHECK_U64(cases[i].what, mw_limiter_step(&limiter, &cases[i].readings, S).next_trim_bytes,
                  cases[i].next_trim_bytes);
    }
    struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 150 * MIB, .percent = 100};
    struct mw_limiter limiter = taught(readings, S);
    assert_int_equal(mw_limiter_step(&limiter, &readings, 2 * S).next_trim_bytes, 250 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trim_is_paid_for_before_the_next),
        cmocka_unit_test(buckets_stand_apart_and_never_below_empty),
        cmocka_unit_test(what_others_ask_for_is_on_their_account),
        cmocka_unit_test(time_may_stand_still_leap_or_be_any),
        cmocka_unit_test(looks_come_closer_as_the_limit_does),
        cmocka_unit_test(a_growth_is_remembered_for_a_second_or_so),
        cmocka_unit_test(looks_come_after_so_many_bytes_too),
        cmocka_unit_test(what_cannot_wait),
        cmocka_unit_test(where_the_next_trim_is),
    };
    return cmocka_run_group_tests_name("limiter_pace", tests, NULL, NULL);
}
