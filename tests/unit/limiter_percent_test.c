/* SPDX-License-Identifier: MIT
 *
 * The limiter, rule by rule: what nobody needs in a hurry, by percentage and in quiet times.
 */
#include "limiting.h"

/* ---- PERCENT ---- */

static void percent_is_a_share_of_live_and_a_floor(void **state)
{
    static const struct {
        const char *what;
        uint64_t live_bytes;
        uint64_t retained_bytes;
        int percent;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"as much as is live", 100 * MIB, 100 * MIB, 100, MW_LIMITER_NONE},
        {"a byte more", 100 * MIB, 100 * MIB + 1, 100, MW_LIMITER_PERCENT},
        {"half", 100 * MIB, 50 * MIB, 50, MW_LIMITER_NONE},
        {"half, a byte more", 100 * MIB, 50 * MIB + 1, 50, MW_LIMITER_PERCENT},
        {"thrice", 100 * MIB, 300 * MIB, 300, MW_LIMITER_NONE},
        {"thrice, a byte more", 100 * MIB, 300 * MIB + 1, 300, MW_LIMITER_PERCENT},
        {"the floor", MIB, 4 * MIB, 100, MW_LIMITER_NONE},
        {"a byte past the floor", MIB, 4 * MIB + 1, 100, MW_LIMITER_PERCENT},
        {"nothing live, the floor", 0, 4 * MIB, 100, MW_LIMITER_NONE},
        {"nothing live", 0, 4 * MIB + 1, 100, MW_LIMITER_PERCENT},
        {"0 %, the floor", GIB, 4 * MIB, 0, MW_LIMITER_NONE},
        {"0 %", GIB, 4 * MIB + 1, 0, MW_LIMITER_PERCENT},
        {"off", MIB, GIB, OFF, MW_LIMITER_NONE},
        {"far off", MIB, GIB, INT32_MIN, MW_LIMITER_NONE},
        {"the highest", MIB, 20 * GIB, INT32_MAX, MW_LIMITER_NONE},
        {"the highest of much", ALL / 2, ALL / 2, INT32_MAX, MW_LIMITER_NONE},
        {"half of all there is", ALL / 2, ALL / 2, 50, MW_LIMITER_PERCENT},
        {"all there is", 0, ALL, 100, MW_LIMITER_PERCENT},
        {"nothing", 0, 0, 100, MW_LIMITER_NONE},
        {"all live", ALL, 0, 100, MW_LIMITER_NONE},
        {"a tiny program", 100 * KIB, 2 * MIB, 100, MW_LIMITER_NONE},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.live_bytes = cases[i].live_bytes,
                                               .resident_bytes = cases[i].live_bytes + cases[i].retained_bytes,
                                               .percent = cases[i].percent};
        CHECK_I64(cases[i].what, step(&limiter, readings, 0), cases[i].reason);
    }
}

/* Static data, stacks, fragments: they are not worth a second trim, however they compare with what is live. */
static void percent_does_not_count_what_stayed(void **state)
{
    struct mw_limiter_readings readings = {.live_bytes = 10 * MIB, .resident_bytes = 210 * MIB, .percent = 100};
    struct mw_limiter limiter = taught(readings, S);
    (void)state;
    assert_int_equal(step(&limiter, readings, 10 * S), MW_LIMITER_NONE);
    readings.allocated_bytes = 25 * MIB;
    readings.resident_bytes = 220 * MIB;
    assert_int_equal(step(&limiter, readings, 20 * S), MW_LIMITER_NONE);
    readings.resident_bytes += 1;
    assert_int_equal(step(&limiter, readings, 20 * S), MW_LIMITER_PERCENT);
}

/* Fragments come and go as the heap is turned over: now and then it is worth a try. */
static void percent_tries_a_stale_heap_now_and_then(void **state)
{
    static const struct mw_limiter_readings fragmented = {
        .live_bytes = 10 * MIB, .resident_bytes = 210 * MIB, .percent = 100};
    struct mw_limiter limiter = {0};
    uint64_t now_ns = 0;
    (void)state;
    assert_in_range(live(&limiter, fragmented, 0, 24 * 3600, &now_ns), 24 * 12, 24 * 12 + 10);
    struct mw_limiter known_too = {0}; /* what is known to be returnable does not make a try worth it */
    assert_in_range(live(&known_too, fragmented, 5 * MIB, 24 * 3600, &now_ns), 24 * 12, 24 * 12 + 10);
}

static void what_stays_is_learned_anew(void **state)
{
    struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 300 * MIB, .percent = 50};
    (void)state;

    struct mw_limiter filled = taught(readings, S);
    struct mw_limiter_readings grown = readings;
    grown.live_bytes = 250 * MIB; /* 150 MiB of what was kept are filled; freed again, they may be returnable */
    assert_int_equal(step(&filled, grown, 2 * S), MW_LIMITER_NONE);
    assert_int_equal(step(&filled, readings, 3 * S), MW_LIMITER_PERCENT);

    struct mw_limiter shrunk = taught(readings, S);
    struct mw_limiter_readings fewer = readings;
    fewer.percent = 200;
    fewer.live_bytes -= 300 * MIB / 8;
    assert_int_equal(step(&shrunk, fewer, 2 * S), MW_LIMITER_NONE);
    fewer.live_bytes -= 1; /* fragments go with the blocks between them */
    assert_int_equal(step(&shrunk, fewer, 2 * S), MW_LIMITER_PERCENT);

    struct mw_limiter untouched = taught(readings, S);
    struct mw_limiter_readings huge = readings;
    huge.live_bytes = 2 * GIB; /* for the most part never written: nothing is known of what is retained */
    assert_int_equal(step(&untouched, huge, 2 * S), MW_LIMITER_NONE);
    assert_int_equal(untouched.kept_bytes, 200 * MIB);
}

/* A heap between 100 and 300 MiB, over and over, looked at so often. Each trim returns all that is not live. */
static unsigned ebb_and_flood(uint64_t period_ns, uint64_t spacing_ns, uint64_t for_ns, uint64_t *last_ns)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = {.resident_bytes = 100 * MIB, .percent = 100};
    unsigned trims = 0;
    for (uint64_t now_ns = 0; now_ns < for_ns; now_ns += spacing_ns) {
        bool is_flood = now_ns / (period_ns / 2) % 2;
        readings.live_bytes = is_flood ? 300 * MIB : 100 * MIB;
        if (readings.resident_bytes < readings.live_bytes)
            readings.resident_bytes = readings.live_bytes;
        readings.allocated_bytes += MIB * spacing_ns / MS;
        enum mw_limiter_reason reason = step(&limiter, readings, now_ns);
        if (reason == MW_LIMITER_NONE)
            continue;
        assert_int_equal(reason, MW_LIMITER_PERCENT);
        readings = trim(&limiter, reason, readings, readings.resident_bytes - readings.live_bytes, now_ns);
        *last_ns = now_ns;
        trims++;
    }
    return trims;
}

static void what_comes_back_at_once_is_left_alone_soon(void **state)
{
    static const struct {
        const char *what;
        uint64_t period_ns;
        uint64_t spacing_ns;
        unsigned most_trims;
    } cases[] = {
        {"fast", 200 * MS, 10 * MS, 1},       {"a second", 1000 * MS, 10 * MS, 1},
        {"seldom looked at", 700 * MS, S, 9}, {"two seconds", 2 * S, 100 * MS, 2},
        {"five seconds", 5 * S, 100 * MS, 3}, {"ebbs of five seconds", 10 * S, S, 4},
        {"unseen", 2 * S, 2 * S, 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t last_ns = 0;
        unsigned trims = ebb_and_flood(cases[i].period_ns, cases[i].spacing_ns, 3600 * S, &last_ns);
        if (trims > cases[i].most_trims)
            fail_msg("\"%s\": %u trims, the last after %llu ms", cases[i].what, trims,
                     (unsigned long long)(last_ns / MS));
    }
}

static void what_has_lain_idle_longer_than_an_ebb_is_trimmed_yet(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings low = {.live_bytes = 100 * MIB, .resident_bytes = 300 * MIB, .percent = 100};
    (void)state;
    for (uint64_t i = 0; i < 3; i++) { /* patience: 1, 2, 4 s */
        uint64_t now_ns = i * 100 * S;
        step(&limiter, low, now_ns);
        now_ns += i ? (S << (i - 1)) : 0;
        assert_int_equal(step(&limiter, low, now_ns), MW_LIMITER_PERCENT);
        struct mw_limiter_readings high = trim(&limiter, MW_LIMITER_PERCENT, low, 200 * MIB, now_ns);
        high.resident_bytes += 150 * MIB;
        step(&limiter, high, now_ns + S);
        assert_int_equal(limiter.patience_ns, i ? S << (i - 1) : 0); /* not more than three quarters */
        high.resident_bytes += 1;
        step(&limiter, high, now_ns + 5 * S);
        assert_int_equal(limiter.patience_ns, S << i);
    }
    struct mw_limiter_readings flood = low;
    flood.live_bytes = 200 * MIB;
    const struct {
        const struct mw_limiter_readings *readings;
        uint64_t now_ns;
        enum mw_limiter_reason reason;
    } steps[] = {
        {&flood, 999 * S, MW_LIMITER_NONE},    {&low, 1000 * S, MW_LIMITER_NONE},
        {&flood, 1003 * S, MW_LIMITER_NONE},   {&low, 1004 * S, MW_LIMITER_NONE}, /* it begins anew */
        {&low, 1008 * S - 1, MW_LIMITER_NONE}, {&low, 1008 * S, MW_LIMITER_PERCENT},
    };
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct mw_limiter_readings busy = *steps[i].readings;
        busy.allocated_bytes = i * GIB;
        assert_int_equal(step(&limiter, busy, steps[i].now_ns), steps[i].reason);
    }
    low = trim(&limiter, MW_LIMITER_PERCENT, low, 200 * MIB, 1008 * S);
    step(&limiter, low, 1014 * S); /* nothing came back: half the patience */
    assert_int_equal(limiter.patience_ns, 2 * S);
}

/* Nor is a try made then, for fragments beside what rises and falls. */
static void what_comes_back_at_once_is_not_tried_for(void **state)
{
    struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 150 * MIB, .percent = 100};
    struct mw_limiter limiter = taught(readings, S);
    (void)state;
    readings.resident_bytes = 251 * MIB;
    assert_int_equal(step(&limiter, readings, 2 * S), MW_LIMITER_PERCENT);
    struct mw_limiter_readings after = trim(&limiter, MW_LIMITER_PERCENT, readings, 51 * MIB, 2 * S);
    after.allocated_bytes = GIB;
    after.resident_bytes = 240 * MIB; /* it is back, and all of it may be returnable */
    assert_int_equal(step(&limiter, after, 3 * S), MW_LIMITER_NONE);
    after.allocated_bytes = 2 * GIB;
    assert_int_equal(step(&limiter, after, 4 * S - 1), MW_LIMITER_NONE);
    assert_int_equal(step(&limiter, after, 4 * S), MW_LIMITER_PERCENT);
}

/* ---- QUIET ---- */

static void quiet_for_two_seconds_however_often_it_is_looked_at(void **state)
{
    static const uint64_t spacings_ns[] = {10 * MS, 30 * MS, 100 * MS, 500 * MS, 700 * MS, S, 2 * S, 3600 * S};
    (void)state;
    for (size_t i = 0; i < COUNT(spacings_ns); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 110 * MIB, .percent = 100};
        uint64_t now_ns = 777;
        for (unsigned k = 0; k < 1000; k++, now_ns += spacings_ns[i]) { /* busy */
            readings.allocated_bytes += MIB;
            assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_NONE);
        }
        uint64_t since_ns = now_ns - spacings_ns[i];
        while (step(&limiter, readings, now_ns) == MW_LIMITER_NONE && now_ns < since_ns + 10000 * S)
            now_ns += spacings_ns[i];
        assert_in_range(now_ns - since_ns, 2 * S, 2 * S + spacings_ns[i]);
        assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_QUIET);
        trim(&limiter, MW_LIMITER_QUIET, readings, 5 * MIB, now_ns);
        for (unsigned k = 0; k < 1000; k++, now_ns += spacings_ns[i]) /* once, and whatever comes back */
            assert_int_equal(step(&limiter, readings, now_ns), MW_LIMITER_NONE);
    }
}

static void what_quiet_means(void **state)
{
    static const struct {
        const char *what;
        uint64_t allocated_bytes;
        uint64_t freed_bytes;
        uint64_t retained_bytes;
        int percent;
        enum mw_limiter_reason reason;
    } cases[] = {
        {"nothing", 0, 0, 10 * MIB, 100, MW_LIMITER_QUIET},
        {"a 256th", 400 * KIB, 400 * KIB, 10 * MIB, 100, MW_LIMITER_QUIET},
        {"churn", MIB, MIB, 10 * MIB, 100, MW_LIMITER_NONE},
        {"growth", MIB, 0, 10 * MIB, 100, MW_LIMITER_NONE},
        {"freeing", 0, MIB, 10 * MIB, 100, MW_LIMITER_NONE},
        {"off", 0, 0, 10 * MIB, OFF, MW_LIMITER_NONE},
        {"nothing retained", 0, 0, 0, 100, MW_LIMITER_NONE},
        {"a hundredth", 0, 0, MIB, 100, MW_LIMITER_NONE},
        {"more than a hundredth", 0, 0, 11 * MIB / 10, 100, MW_LIMITER_QUIET},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_limiter limiter = {0};
        struct mw_limiter_readings readings = {.live_bytes = 100 * MIB,
                                               .resident_bytes = 100 * MIB + cases[i].retained_bytes,
                                               .allocated_bytes = 100 * MIB,
                                               .percent = cases[i].percent};
        CHECK_I64(cases[i].what, step(&limiter, readings, S), MW_LIMITER_NONE);
        readings.allocated_bytes += cases[i].allocated_bytes;
        readings.live_bytes += cases[i].allocated_bytes - cases[i].freed_bytes;
        readings.resident_bytes += cases[i].allocated_bytes - cases[i].freed_bytes;
        CHECK_I64(cases[i].what, step(&limiter, readings, 3 * S), cases[i].reason);
    }
}

/* A little now and then is quiet, until it adds up to something new. */
static void a_quiet_time_is_served_once(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 150 * MIB, .percent = 100};
    unsigned trims = 0;
    (void)state;
    for (uint64_t now_ns = 0; now_ns < 3600 * S; now_ns += 100 * MS) {
        readings.allocated_bytes += KIB;
        if (step(&limiter, readings, now_ns) == MW_LIMITER_NONE)
            continue;
        readings = trim(&limiter, MW_LIMITER_QUIET, readings, 15 * MIB, now_ns);
        trims++;
    }
    assert_int_equal(trims, 3); /* 36 MiB were allocated in all: twice it has become another heap */
}

static void another_trim_does_not_serve_a_quiet_time(void **state)
{
    struct mw_limiter limiter = {0};
    struct mw_limiter_readings readings = {.live_bytes = 100 * MIB, .resident_bytes = 110 * MIB, .percent = 100};
    (void)state;
    step(&limiter, readings, S);
    readings = trim(&limiter, MW_LIMITER_PRESSURE, readings, 9 * MIB, S);
    readings.resident_bytes += 9 * MIB; /* the program uses it again, without an allocation */
    assert_int_equal(step(&limiter, readings, 3 * S), MW_LIMITER_QUIET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent_is_a_share_of_live_and_a_floor),
        cmocka_unit_test(percent_does_not_count_what_stayed),
        cmocka_unit_test(percent_tries_a_stale_heap_now_and_then),
        cmocka_unit_test(what_stays_is_learned_anew),
        cmocka_unit_test(what_comes_back_at_once_is_left_alone_soon),
        cmocka_unit_test(what_has_lain_idle_longer_than_an_ebb_is_trimmed_yet),
        cmocka_unit_test(what_comes_back_at_once_is_not_tried_for),
        cmocka_unit_test(quiet_for_two_seconds_however_often_it_is_looked_at),
        cmocka_unit_test(what_quiet_means),
        cmocka_unit_test(a_quiet_time_is_served_once),
        cmocka_unit_test(another_trim_does_not_serve_a_quiet_time),
    };
    return cmocka_run_group_tests_name("limiter_percent", tests, NULL, NULL);
}
