/* SPDX-License-Identifier: MIT
 *
 * When glibc is told how many arenas to make, over an allocator that only notes what it is told.
 */
#include "arenas.h"

#include <malloc.h>
#include <stdlib.h>

#include "check.h"
#include "store.h"

static unsigned capped; /* what it was told last */
static unsigned times;

static int note_cap(const struct mw_allocator *allocator, unsigned arenas)
{
    (void)allocator;
    capped = arenas;
    times++;
    return 0;
}

static const struct mw_allocator_kind kind = {.name = "fake", .cap_arenas = note_cap};
static const struct mw_allocator fake = {.kind = &kind};

static void start_over(const struct mw_allocator *allocator)
{
    mw_arenas_start(allocator);
    times = capped = 0;
    mw_store.header->arenas_cap = 0;
}

static void begin_threads(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        mw_arenas_before_thread();
}

static void a_limit_and_a_quota_are_needed(void **state)
{
    static const struct {
        const char *label;
        uint64_t limit_bytes;
        struct mw_cpu_quota quota;
        unsigned cpus;
        unsigned wanted;
    } cases[] = {
        {"half a CPU of two", 1 << 20, {50000, 100000}, 2, 8},
        {"one of two", 1 << 20, {100000, 100000}, 2, 8},
        {"one and a bit of four", 1 << 20, {110000, 100000}, 4, 16},
        {"one and a bit of two", 1 << 20, {110000, 100000}, 2, 0},
        {"as many as there are", 1 << 20, {400000, 100000}, 4, 0},
        {"more than there are", 1 << 20, {800000, 100000}, 4, 0},
        {"no limit", 0, {50000, 100000}, 64, 0},
        {"no quota", 1 << 20, {0, 100000}, 64, 0},
        {"no CPUs known", 1 << 20, {50000, 100000}, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_U64(cases[i].label, mw_arenas_wanted(cases[i].limit_bytes, cases[i].quota, cases[i].cpus),
                  cases[i].wanted);
}

/* Whether there is one here the scenarios see to: what is tested is that nothing is done without a limit. */
static void without_a_limit_nothing_is_told_and_nobody_waits(void **state)
{
    (void)state;
    start_over(&fake);
    mw_arenas_see_limit(0);
    begin_threads(100);
    assert_int_equal(times, 0);
    start_over(&fake);
    mw_arenas_settle(0);
    begin_threads(100);
    assert_int_equal(times, 0);
}

static void a_choice_of_the_users_stands(void **state)
{
    static const struct {
        const char *name;
        const char *value;
        bool is_choice;
    } cases[] = {
        {"MALLOC_ARENA_MAX", "1", true},
        {"MALLOC_ARENA_TEST", "1", true},
        {"GLIBC_TUNABLES", "glibc.malloc.check=0:glibc.malloc.arena_max=1", true},
        {"GLIBC_TUNABLES", "glibc.malloc.arena_test=1", true},
        {"GLIBC_TUNABLES", "glibc.malloc.tcache_count=0", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        setenv(cases[i].name, cases[i].value, 1);
        start_over(&fake);
        unsetenv(cases[i].name);
        CHECK(cases[i].value, mw_arenas_is_possible() == !cases[i].is_choice);
    }
    start_over(&fake);
    mw_arenas_see_mallopt(M_TRIM_THRESHOLD);
    assert_true(mw_arenas_is_possible());
    mw_arenas_see_mallopt(M_ARENA_MAX);
    assert_false(mw_arenas_is_possible());
    start_over(&fake);
    mw_arenas_see_mallopt(M_ARENA_TEST);
    assert_false(mw_arenas_is_possible());
    start_over(&(struct mw_allocator){.kind = &mw_allocator_jemalloc});
    assert_false(mw_arenas_is_possible());
    start_over(&(struct mw_allocator){0});
    assert_false(mw_arenas_is_possible());
}

static void it_is_told_before_the_eighth_thread_and_once(void **state)
{
    (void)state;
    start_over(&fake);
    mw_arenas_settle(24);
    mw_arenas_settle(0); /* what is settled stays so */
    begin_threads(7);
    assert_int_equal(times, 0);
    begin_threads(1);
    assert_int_equal(times, 1);
    assert_int_equal(capped, 24);
    assert_int_equal(mw_store.header->arenas_cap, 24);
    begin_threads(100);
    assert_int_equal(times, 1);
}

/* The eighth waits for a moment, nobody else does; and what is known then is still told. */
static void what_is_known_late_is_told_late(void **state)
{
    (void)state;
    start_over(&fake);
    begin_threads(9);
    assert_int_equal(times, 0);
    mw_arenas_settle(8);
    begin_threads(1);
    assert_int_equal(times, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_and_a_quota_are_needed),
        cmocka_unit_test(without_a_limit_nothing_is_told_and_nobody_waits),
        cmocka_unit_test(a_choice_of_the_users_stands),
        cmocka_unit_test(it_is_told_before_the_eighth_thread_and_once),
        cmocka_unit_test(what_is_known_late_is_told_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
