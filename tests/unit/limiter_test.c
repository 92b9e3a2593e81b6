/* SPDX-License-Identifier: MIT
 *
 * The limiter lives through simulated time: no clock, no memory, only readings. Rule by rule; what they make together
 * is in limiter_simulation_test.c.
 */
#include "limiter.h"

#include "check.h"

#define MS  UINT64_C(1000000)
#define S   (1000 * MS)
#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define ALL UINT64_MAX
#define OFF (-1)

static enum mw_limiter_reason step(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t now_ns)
{
    return mw_limiter_step(limiter, &readings, now_ns).reason;
}

/* A trim that returns so much of what is resident and of the usage, and takes no time. */
static struct mw_limiter_readings trim(struct mw_limiter *limiter, enum mw_limiter_reason reason,
                                       struct mw_limiter_readings readings, uint64_t returned_bytes, uint64_t now_ns)
{
    struct mw_limiter_readings after = readings;
    after.resident_bytes -= returned_bytes;
    after.usage_bytes -= returned_bytes;
    mw_limiter_trimmed(limiter, reason, &readings, &after, 0, now_ns);
    return after;
}

/* A limiter that has just learned that of these readings nothing can be returned. */
static struct mw_limiter taught(struct mw_limiter_readings readings, uint64_t now_ns)
{
    struct mw_limiter limiter = {0};
    mw_limiter_step(&limiter, &readings, now_ns);
    mw_limiter_trimmed(&limiter, MW_LIMITER_NONE, &readings, &readings, 0, now_ns);
    return limiter;
}

/* ---- LIMIT ---- */

static const struct mw_limiter_readings past = {.live_bytes = 50 * MIB,
                                                .resident_bytes = 200 * MIB,
                                                .usage_bytes = 200 * MIB,
                                                .limit_bytes = 100 * MIB,
                                                .percent = OFF};

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

/* A program and the monitor's loop around it: looks once a second, and each trim returns the same, which comes back
 * at once. The heap is turned over all the time. Counts the trims. */
static unsigned live(struct mw_limiter *limiter, struct mw_limiter_readings readings, uint64_t returned_bytes,
                     unsigned seconds, uint64_t *now_ns)
{
    unsigned trims = 0;
    for (unsigned i = 0; i < seconds; i++, *now_ns += S) {
        readings.allocated_bytes = *now_ns / S * readings.resident_bytes;
        enum mw_limiter_reason reason = step(limiter, readings, *now_ns);
        if (reason == MW_LIMITER_NONE)
            continue;
        trim(limiter, reason, readings, returned_bytes, *now_ns);
        trims++;
    }
    return trims;
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
        cmocka_unit_test(under_pressure_little_is_enough),
        cmocka_unit_test(a_trim_is_paid_for_before_the_next),
        cmocka_unit_test(buckets_stand_apart_and_never_below_empty),
        cmocka_unit_test(what_others_ask_for_is_on_their_account),
        cmocka_unit_test(time_may_stand_still_leap_or_be_any),
        cmocka_unit_test(looks_come_closer_as_the_limit_does),
        cmocka_unit_test(a_growth_is_remembered_for_a_second_or_so),
        cmocka_unit_test(where_the_next_trim_is),
        cmocka_unit_test(a_tiny_program_is_left_alone),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
