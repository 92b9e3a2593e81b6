/* SPDX-License-Identifier: MIT */
#include "restart.h"

#include <stdio.h>

#include "check.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

#define LONGEST_NS  (30 * S)
#define GOOD_RUN_NS (60 * S)

static struct mw_restart new_restart(enum mw_restart_policy policy, uint64_t first_delay_ns, unsigned limit)
{
    return (struct mw_restart){.policy = policy,
                               .first_delay_ns = first_delay_ns,
                               .longest_delay_ns = LONGEST_NS,
                               .growth = 2,
                               .good_run_ns = GOOD_RUN_NS,
                               .limit = limit};
}

static void each_policy_wants_what_it_says(void **state)
{
    static const struct {
        const char *what;
        struct mw_restart_ending ending;
        bool on_oom, on_failure;
    } cases[] = {
        {"ended well", {.oom_killed = false, .failed = false}, false, false},
        {"failed", {.oom_killed = false, .failed = true}, false, true},
        {"OOM-killed", {.oom_killed = true, .failed = true}, true, true},
        {"ended well, but a child was OOM-killed", {.oom_killed = true, .failed = false}, true, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct {
            enum mw_restart_policy policy;
            bool wanted;
        } policies[] = {
            {MW_RESTART_ON_OOM, cases[i].on_oom},
            {MW_RESTART_ON_FAILURE, cases[i].on_failure},
            {MW_RESTART_ALWAYS, true},
            {MW_RESTART_NO, false},
        };
        for (size_t k = 0; k < COUNT(policies); k++) {
            struct mw_restart restart = new_restart(policies[k].policy, S, 5);
            CHECK_I64(cases[i].what, mw_restart_step(&restart, cases[i].ending).what,
                      policies[k].wanted ? MW_RESTART_AGAIN : MW_RESTART_END);
        }
    }
}

static void delays_double_up_to_the_longest(void **state)
{
    static const uint64_t due[] = {100 * MS,  200 * MS,   400 * MS,   800 * MS,   1600 * MS, 3200 * MS,
                                   6400 * MS, 12800 * MS, 25600 * MS, 30000 * MS, 30000 * MS};
    struct mw_restart restart = new_restart(MW_RESTART_ALWAYS, 100 * MS, 1000000);
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        struct mw_restart_decision decision = mw_restart_step(&restart, (struct mw_restart_ending){.ran_ns = S});
        assert_int_equal(decision.what, MW_RESTART_AGAIN);
        assert_int_equal(decision.delay_ns, i < COUNT(due) ? due[i] : LONGEST_NS);
    }
}

/* None; longer than the longest; as long as an option can say. */
static void delays_at_the_edges(void **state)
{
    static const uint64_t firsts[] = {0, 30 * S, 30 * S + 1, 3600 * S, UINT64_MAX / 2 + 1, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(firsts); i++) {
        struct mw_restart restart = new_restart(MW_RESTART_ALWAYS, firsts[i], 100);
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(mw_restart_step(&restart, (struct mw_restart_ending){0}).delay_ns, firsts[i]);
    }
}

static void it_gives_up_after_so_many_restarts_without_a_good_run(void **state)
{
    static const unsigned limits[] = {0, 1, 5, 100};
    const struct mw_restart_ending killed = {.oom_killed = true, .failed = true, .ran_ns = GOOD_RUN_NS - 1};
    (void)state;
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct mw_restart restart = new_restart(MW_RESTART_ON_OOM, S, limits[i]);
        for (unsigned k = 0; k < limits[i]; k++)
            assert_int_equal(mw_restart_step(&restart, killed).what, MW_RESTART_AGAIN);
        assert_int_equal(mw_restart_step(&restart, killed).what, MW_RESTART_GIVE_UP);
        assert_int_equal(mw_restart_step(&restart, killed).what, MW_RESTART_GIVE_UP);
    }
}

static void a_good_run_begins_the_count_and_the_delay_anew(void **state)
{
    struct mw_restart restart = new_restart(MW_RESTART_ON_OOM, 100 * MS, 3);
    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        const struct mw_restart_ending good = {.oom_killed = true, .ran_ns = GOOD_RUN_NS};
        const struct mw_restart_ending bad = {.oom_killed = true, .ran_ns = 1};
        assert_int_equal(mw_restart_step(&restart, good).delay_ns, 100 * MS);
        assert_int_equal(mw_restart_step(&restart, bad).delay_ns, 200 * MS);
        assert_int_equal(mw_restart_step(&restart, bad).delay_ns, 400 * MS);
    }
    assert_int_equal(mw_restart_step(&restart, (struct mw_restart_ending){.oom_killed = true}).what,
                     MW_RESTART_GIVE_UP);
}

static void an_end_that_is_none_of_its_business_is_not_a_giving_up(void **state)
{
    struct mw_restart restart = new_restart(MW_RESTART_ON_OOM, S, 0);
    (void)state;
    assert_int_equal(mw_restart_step(&restart, (struct mw_restart_ending){.failed = true}).what, MW_RESTART_END);
}

static void delays_grow_as_they_are_told_to(void **state)
{
    static const struct {
        const char *what;
        unsigned growth;
        uint64_t first_ns, longest_ns;
        uint64_t due_ns[5];
    } cases[] = {
        {"not at all", 1, S, 30 * S, {S, S, S, S, S}},
        {"threefold", 3, S, 30 * S, {S, 3 * S, 9 * S, 27 * S, 30 * S}},
        {"at once to the longest", 100, S, 5 * S, {S, 5 * S, 5 * S, 5 * S, 5 * S}},
        {"beyond what can be counted",
         100,
         UINT64_MAX / 50,
         UINT64_MAX,
         {UINT64_MAX / 50, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
        {"from nothing", 2, 0, 30 * S, {0, 0, 0, 0, 0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_restart restart = new_restart(MW_RESTART_ALWAYS, cases[i].first_ns, 100);
        restart.growth = cases[i].growth;
        restart.longest_delay_ns = cases[i].longest_ns;
        for (size_t k = 0; k < COUNT(cases[i].due_ns); k++)
            CHECK_U64(cases[i].what, mw_restart_step(&restart, (struct mw_restart_ending){0}).delay_ns,
                      cases[i].due_ns[k]);
    }
}

static void jitter_spreads_a_delay_evenly_about_itself(void **state)
{
    static const struct {
        unsigned percent;
        uint32_t random;
        uint64_t due_ns;
    } cases[] = {{0, 0, 100 * S}, {0, UINT32_MAX, 100 * S},  {10, 0, 90 * S}, {10, UINT32_MAX, 110 * S},
                 {100, 0, 0},     {100, UINT32_MAX, 200 * S}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_restart restart = new_restart(MW_RESTART_ALWAYS, 100 * S, 1);
        restart.jitter_percent = cases[i].percent;
        assert_int_equal(mw_restart_step(&restart, (struct mw_restart_ending){.random = cases[i].random}).delay_ns,
                         cases[i].due_ns);
    }
    struct mw_restart longest = new_restart(MW_RESTART_ALWAYS, UINT64_MAX, 1);
    longest.jitter_percent = 100;
    assert_true(mw_restart_step(&longest, (struct mw_restart_ending){.random = UINT32_MAX}).delay_ns > UINT64_MAX / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_wants_what_it_says),
        cmocka_unit_test(delays_double_up_to_the_longest),
        cmocka_unit_test(delays_at_the_edges),
        cmocka_unit_test(delays_grow_as_they_are_told_to),
        cmocka_unit_test(jitter_spreads_a_delay_evenly_about_itself),
        cmocka_unit_test(it_gives_up_after_so_many_restarts_without_a_good_run),
        cmocka_unit_test(a_good_run_begins_the_count_and_the_delay_anew),
        cmocka_unit_test(an_end_that_is_none_of_its_business_is_not_a_giving_up),
    };
    return cmocka_run_group_tests_name("restart", tests, NULL, NULL);
}
