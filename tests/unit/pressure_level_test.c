/* SPDX-License-Identifier: MIT
 *
 * From readings to a level, look by look; and the table of callbacks.
 */
#include "pressure_level.h"

#include <errno.h>

#include "check.h"
#include "trim.h"

#define MS  UINT64_C(1000000)
#define S   (1000 * MS)
#define MIB (UINT64_C(1) << 20)

static unsigned wakes;

void mw_trim_wake(void) /* the reclaimer's */
{
    wakes++;
}

struct look {
    const char *what;
    uint64_t now_ns;
    uint64_t usage_mib;
    enum mw_limiter_reason reason;
    bool is_under_pressure;
    bool has_hit_hard_limit;
    enum memwatch_pressure_level level;
    bool is_due;
};

static void follow(const struct look *looks, size_t count, uint64_t limit_mib, uint64_t ceiling_mib)
{
    struct mw_pressure_level state = {0};
    for (size_t i = 0; i < count; i++) {
        const struct look *look = &looks[i];
        const struct mw_limiter_readings readings = {.usage_bytes = look->usage_mib * MIB,
                                                     .limit_bytes = limit_mib * MIB,
                                                     .ceiling_bytes = ceiling_mib * MIB,
                                                     .is_under_pressure = look->is_under_pressure};
        mw_pressure_level_step(&state, &readings, look->reason, look->has_hit_hard_limit, look->now_ns);
        CHECK_I64(look->what, state.level, look->level);
        CHECK_I64(look->what, state.is_due, look->is_due);
    }
}

#define NONE     MEMWATCH_PRESSURE_NONE
#define LOW      MEMWATCH_PRESSURE_LOW
#define MEDIUM   MEMWATCH_PRESSURE_MEDIUM
#define CRITICAL MEMWATCH_PRESSURE_CRITICAL
#define LIMIT    MW_LIMITER_LIMIT
#define REST     MW_LIMITER_NONE

static void a_trim_that_helps_is_low_and_fades(void **state)
{
    static const struct look looks[] = {
        {"below", 0, 99, REST, false, false, NONE, false},
        {"past it: the limiter trims", 1 * S, 101, LIMIT, false, false, LOW, true},
        {"that was enough", 1 * S + 10 * MS, 60, REST, false, false, LOW, false},
        {"still", 2 * S - 1, 60, REST, false, false, LOW, false},
        {"over", 2 * S, 60, REST, false, false, NONE, false},
        {"anew", 3 * S, 101, LIMIT, false, false, LOW, true},
    };
    (void)state;
    follow(looks, COUNT(looks), 100, 0);
}

static void what_the_trim_leaves_past_the_limit_is_medium_and_told_again(void **state)
{
    static const struct look looks[] = {
        {"past it", 1 * S, 101, LIMIT, false, false, LOW, true},
        {"of no avail, but just told", 1 * S + 10 * MS, 101, REST, false, false, MEDIUM, false},
        {"told", 1 * S + 50 * MS, 102, REST, false, false, MEDIUM, true},
        {"trims again", 1 * S + 60 * MS, 102, LIMIT, false, false, MEDIUM, false},
        {"lasts", 2 * S + 49 * MS, 102, REST, false, false, MEDIUM, false},
        {"is told again", 2 * S + 50 * MS, 102, REST, false, false, MEDIUM, true},
        {"falls", 2 * S + 60 * MS, 90, REST, false, false, LOW, false},
        {"rises: the limiter has a try first", 2 * S + 70 * MS, 101, LIMIT, false, false, LOW, false},
        {"and it was of no avail", 2 * S + 100 * MS, 101, REST, false, false, MEDIUM, true},
    };
    (void)state;
    follow(looks, COUNT(looks), 100, 0);
}

static void where_no_trim_would_help_it_is_medium_at_once(void **state)
{
    static const struct look looks[] = {{"past it", 1 * S, 101, REST, false, false, MEDIUM, true}};
    (void)state;
    follow(looks, COUNT(looks), 100, 0);
}

static void past_half_of_the_way_to_the_ceiling_it_is_critical(void **state)
{
    static const struct look looks[] = {
        {"half", 1 * S, 110, LIMIT, false, false, LOW, true},
        {"more", 1 * S + 60 * MS, 111, LIMIT, false, false, CRITICAL, true},
        {"less", 1 * S + 70 * MS, 110, REST, false, false, MEDIUM, false},
        {"more again", 2 * S, 111, REST, false, false, CRITICAL, true},
    };
    (void)state;
    follow(looks, COUNT(looks), 100, 120);
    follow(looks, 1, 100, 90); /* a ceiling that has fallen below the limit is none */
}

static void who_else_says_so_counts_without_a_limit(void **state)
{
    static const struct look looks[] = {
        {"nothing", 0, 500, REST, false, false, NONE, false},
        {"the kernel says so", 1 * S, 500, REST, true, false, LOW, true},
        {"and again", 1 * S + 500 * MS, 500, REST, true, false, LOW, false},
        {"lasts", 2 * S, 500, REST, false, false, LOW, true},
        {"is over", 2 * S + 500 * MS, 500, REST, false, false, NONE, false},
        {"the hard limit", 4 * S, 500, REST, false, true, CRITICAL, true},
        {"after it", 4 * S + 1, 500, REST, false, false, LOW, false},
        {"is over", 5 * S, 500, REST, false, false, NONE, false},
    };
    (void)state;
    follow(looks, COUNT(looks), 0, 0);
}

/* ---- callbacks ---- */

static struct called {
    unsigned times;
    int level;
    int removes; /* this handle; -1: none */
    int removed;
} called[3];

static void note(enum memwatch_pressure_level level, void *context)
{
    struct called *it = context;
    it->times++;
    it->level = (int)level;
    if (it->removes > 0)
        it->removed = mw_pressure_level_remove(it->removes);
}

static void reach(enum memwatch_pressure_level level, uint64_t now_ns)
{
    const struct mw_limiter_readings readings = {.limit_bytes = 100, .usage_bytes = level == LOW ? 99 : 101};
    mw_pressure_level_note(&readings, level == LOW ? LIMIT : REST, now_ns);
}

static void whom_it_concerns_is_called_once(void **state)
{
    (void)state;
    mw_pressure_level_after_fork();
    memset(called, 0, sizeof called);
    wakes = 0;
    reach(LOW, 1 * S);
    CHECK("nobody there", wakes == 0 && !mw_pressure_level_is_due() && !mw_pressure_level_call());
    int low = mw_pressure_level_add(LOW, note, &called[0]);
    int medium = mw_pressure_level_add(MEDIUM, note, &called[1]);
    CHECK("handles", low > 0 && medium > 0 && low != medium);
    reach(LOW, 3 * S);
    CHECK("due", wakes == 1 && mw_pressure_level_is_due() && mw_pressure_level_now() == LOW);
    CHECK("called", mw_pressure_level_call() && !mw_pressure_level_is_due() && !mw_pressure_level_call());
    CHECK("low", called[0].times == 1 && called[0].level == LOW && called[1].times == 0);
    reach(MEDIUM, 4 * S);
    CHECK("medium",
          mw_pressure_level_call() && called[0].times == 2 && called[1].times == 1 && called[1].level == MEDIUM);
    CHECK_I64("removed", mw_pressure_level_remove(low), 0);
    CHECK_I64("only once", mw_pressure_level_remove(low), -ENOENT);
    int again = mw_pressure_level_add(CRITICAL, note, &called[2]);
    CHECK("an old handle is not a new one", again > 0 && again != low && mw_pressure_level_remove(low) == -ENOENT);
    reach(MEDIUM, 6 * S);
    CHECK("not any more", mw_pressure_level_call() && called[0].times == 2 && called[1].times == 2 && !called[2].times);
    mw_pressure_level_hit_hard_limit();
    CHECK_I64("at once", mw_pressure_level_now(), CRITICAL);
    reach(MEDIUM, 7 * S);
    CHECK("critical", mw_pressure_level_call() && called[2].times == 1 && called[2].level == CRITICAL);
    CHECK("removed", mw_pressure_level_remove(medium) == 0 && mw_pressure_level_remove(again) == 0);
    CHECK("none", !mw_pressure_level_has_callbacks());
}

static void a_callback_may_remove_itself_and_others(void **state)
{
    (void)state;
    mw_pressure_level_after_fork();
    memset(called, 0, sizeof called);
    called[0].removes = mw_pressure_level_add(LOW, note, &called[0]);
    called[1].removes = mw_pressure_level_add(LOW, note, &called[2]); /* whose entry comes before its own */
    mw_pressure_level_add(LOW, note, &called[1]);
    reach(LOW, 1 * S);
    CHECK("called", mw_pressure_level_call());
    CHECK("itself", called[0].times == 1 && called[0].removed == 0);
    CHECK("another", called[1].times == 1 && called[1].removed == 0 && called[2].times == 1);
    reach(LOW, 3 * S);
    CHECK("again", mw_pressure_level_call());
    CHECK("they are gone", called[0].times == 1 && called[2].times == 1);
    CHECK("whom it has removed before", called[1].times == 2 && called[1].removed == -ENOENT);
}

static void the_table_is_bounded(void **state)
{
    int handles[MEMWATCH_PRESSURE_CALLBACKS];
    (void)state;
    CHECK_I64("none", mw_pressure_level_add(NONE, note, NULL), -EINVAL);
    CHECK_I64("beyond", mw_pressure_level_add((enum memwatch_pressure_level)(CRITICAL + 1), note, NULL), -EINVAL);
    CHECK_I64("nobody", mw_pressure_level_add(LOW, NULL, NULL), -EINVAL);
    for (size_t i = 0; i < COUNT(handles) - 1; i++) /* one is there already */
        handles[i] = mw_pressure_level_add(LOW, note, &called[0]);
    CHECK_I64("one too many", mw_pressure_level_add(LOW, note, &called[0]), -ENOSPC);
    mw_pressure_level_after_fork();
    CHECK("a fork changes nothing of it", mw_pressure_level_has_callbacks());
    for (size_t i = 0; i < COUNT(handles) - 1; i++)
        CHECK_I64("removed", mw_pressure_level_remove(handles[i]), 0);
    CHECK_I64("nonsense", mw_pressure_level_remove(0), -ENOENT);
    CHECK_I64("nonsense", mw_pressure_level_remove(INT32_MIN), -ENOENT);
    CHECK_I64("nonsense", mw_pressure_level_remove(INT32_MAX), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trim_that_helps_is_low_and_fades),
        cmocka_unit_test(what_the_trim_leaves_past_the_limit_is_medium_and_told_again),
        cmocka_unit_test(where_no_trim_would_help_it_is_medium_at_once),
        cmocka_unit_test(past_half_of_the_way_to_the_ceiling_it_is_critical),
        cmocka_unit_test(who_else_says_so_counts_without_a_limit),
        cmocka_unit_test(whom_it_concerns_is_called_once),
        cmocka_unit_test(a_callback_may_remove_itself_and_others),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
