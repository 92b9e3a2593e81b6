/* SPDX-License-Identifier: MIT
 *
 * What is counted of OOM kills, read from a tree of plain files, and the difference of two readings. What follows from
 * it is in verdict_test.c.
 */
#include "group_counts.h"

#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

#define NONE MW_COUNT_UNKNOWN

/* The group /cg/NAME of a hierarchy whose top is ROOT/cg. */
static struct mw_cgroup group(const char *root, int version, const char *name)
{
    struct mw_cgroup cgroup = {.version = version, .top_length = strlen(root) + 3};
    snprintf(cgroup.dir, sizeof cgroup.dir, "%s/cg%s%s", root, *name ? "/" : "", name);
    return cgroup;
}

static struct mw_group_counts read_once(const char *root, const struct mw_cgroup *cgroup)
{
    struct mw_group_counter counter;
    struct mw_group_counts counts;
    unsigned open_before = open_descriptors();
    memset(&counts, 0xa5, sizeof counts);
    mw_group_counter_open(&counter, root, cgroup);
    mw_group_counter_read(&counter, &counts);
    mw_group_counter_close(&counter);
    mw_group_counter_close(&counter);
    assert_int_equal(open_descriptors(), open_before);
    return counts;
}

static void version_2_is_read_at_every_level(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2, "outer/own");
    scratch_write(*state, "cg/outer/own/memory.events", "low 0\nhigh 3\nmax 9\noom 4\noom_kill 2\noom_group_kill 1\n");
    scratch_write(*state, "cg/outer/own/memory.events.local", "low 0\nhigh 3\nmax 9\noom 1\noom_kill 2\n");
    scratch_write(*state, "cg/outer/own/memory.swap.events", "high 0\nmax 5\nfail 6\n");
    scratch_write(*state, "cg/outer/own/memory.max", "62914560\n");
    scratch_write(*state, "cg/outer/own/memory.swap.max", "1048576\n");
    scratch_write(*state, "cg/outer/own/memory.swap.peak", "4096\n");
    scratch_write(*state, "cg/outer/memory.events.local", "oom 7\n");
    scratch_write(*state, "cg/outer/memory.max", "max\n");
    scratch_write(
        *state, "proc/vmstat",
        "nr_free_pages 1\nallocstall_dma 1\nallocstall_normal 20\nallocstall_movable 300\noom_kill 8\nlast 1\n");
    struct mw_group_counts counts = read_once(*state, &cgroup);
    assert_int_equal(counts.version, 2);
    assert_int_equal(counts.level_count, 3);
    assert_true(counts.sees_top);
    const struct mw_level_counts own = {.local_ooms = 1,
                                        .ooms = 4,
                                        .kills = 2,
                                        .group_kills = 1,
                                        .limit_hits = 9,
                                        .high_hits = 3,
                                        .swap_hits = 5,
                                        .swap_fails = 6,
                                        .limit_bytes = 62914560,
                                        .swap_limit_bytes = 1048576,
                                        .swap_peak_bytes = 4096,
                                        .notices = NONE};
    assert_memory_equal(&counts.levels[0], &own, sizeof own);
    CHECK_U64("parent", counts.levels[1].local_ooms, 7);
    CHECK_U64("parent", counts.levels[1].kills, NONE);
    CHECK("parent", mw_cgroup_is_unlimited(counts.levels[1].limit_bytes));
    CHECK_U64("top", counts.levels[2].local_ooms, 0);
    CHECK_U64("machine", counts.machine_kills, 8);
    CHECK_U64("machine", counts.machine_stalls, 321);
}

static void version_1_is_summed_over_the_groups_below(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1, "outer/own");
    scratch_write(*state, "cg/outer/own/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    scratch_write(*state, "cg/outer/own/memory.failcnt", "50\n");
    scratch_write(*state, "cg/outer/own/memory.memsw.failcnt", "60\n");
    scratch_write(*state, "cg/outer/own/memory.memsw.limit_in_bytes", "7000000\n");
    scratch_write(*state, "cg/outer/own/a/memory.oom_control", "oom_kill 20\n");
    scratch_write(*state, "cg/outer/own/a/b/memory.oom_control", "oom_kill 300\n");
    scratch_write(*state, "cg/outer/own/a/b/memory.failcnt", "4\n");
    scratch_write(*state, "cg/outer/own/c/memory.memsw.failcnt", "70\n");
    scratch_write(*state, "cg/outer/memory.failcnt", "9\n");
    scratch_write(*state, "cg/release_agent", "\n");
    struct mw_group_counts counts = read_once(*state, &cgroup);
    assert_int_equal(counts.version, 1);
    assert_int_equal(counts.level_count, 3);
    assert_true(counts.sees_top);
    CHECK_U64("kills", counts.levels[0].kills, 321);
    CHECK_U64("failcnt", counts.levels[0].limit_hits, 50);
    CHECK_U64("memsw failcnt", counts.levels[0].swap_hits, 60);
    CHECK_U64("memsw limit", counts.levels[0].swap_limit_bytes, 7000000);
    CHECK_U64("inner", counts.inner_limit_hits, 74);
    CHECK_U64("parent's failcnt", counts.levels[1].limit_hits, 9);
    CHECK_U64("parent's kills", counts.levels[1].kills, NONE);
    CHECK_U64("no vmstat", counts.machine_kills, NONE);
    CHECK_U64("no vmstat", counts.machine_stalls, NONE);
}

static void what_is_no_number_is_not_known(void **state)
{
    static const char *const contents[] = {"",
                                           "\n",
                                           "oom_kill\n",
                                           "oom_kill \n",
                                           "oom_kill -1\n",
                                           "oom_kill x\n",
                                           "oom\n",
                                           "\xff\n",
                                           "oom_kill 1 2\n",
                                           "oom_kill 99999999999999999999\n",
                                           "oom_killer 5\n"};
    for (int version = 1; version <= 2; version++) {
        struct mw_cgroup cgroup = group(*state, version, "own");
        const char *file = version == 1 ? "cg/own/memory.oom_control" : "cg/own/memory.events";
        for (size_t i = 0; i < COUNT(contents); i++) {
            scratch_write(*state, file, contents[i]);
            scratch_write(*state, "cg/own/memory.failcnt", contents[i]);
            scratch_write(*state, "proc/vmstat", contents[i]);
            struct mw_group_counts counts = read_once(*state, &cgroup);
            CHECK_U64(contents[i], counts.levels[0].kills, NONE);
            CHECK_U64(contents[i], counts.levels[0].limit_hits, NONE);
            CHECK_U64(contents[i], counts.levels[0].notices, NONE);
            CHECK_U64(contents[i], counts.machine_kills, NONE);
            CHECK_U64(contents[i], counts.machine_stalls, NONE);
        }
    }
}

static void without_a_group_the_machine_is_read(void **state)
{
    scratch_write(*state, "proc/vmstat", "oom_kill 8\n");
    struct mw_group_counts counts = read_once(*state, NULL);
    assert_int_equal(counts.version, 0);
    assert_int_equal(counts.level_count, 0);
    CHECK_U64("machine", counts.machine_kills, 8);
}

static void where_the_top_is_out_of_sight_it_is_known(void **state)
{
    struct mw_cgroup v1 = group(*state, 1, "own");
    struct mw_cgroup v2 = group(*state, 2, "own");
    scratch_write(*state, "cg/own/release_agent", "\n"); /* has nothing to say below the top */
    scratch_write(*state, "cg/cgroup.type", "domain\n");
    assert_false(read_once(*state, &v1).sees_top);
    assert_false(read_once(*state, &v2).sees_top);
}

/* Deeper than there are levels: the rest is as if it were out of sight. */
static void the_depth_is_bounded(void **state)
{
    char name[256];
    size_t length = 0;
    for (unsigned i = 0; i < 3 * MW_GROUP_COUNTS_LEVELS; i++)
        length += (size_t)snprintf(name + length, sizeof name - length, i ? "/d" : "d");
    for (int version = 1; version <= 2; version++) {
        struct mw_cgroup cgroup = group(*state, version, name);
        struct mw_group_counts counts = read_once(*state, &cgroup);
        assert_int_equal(counts.level_count, MW_GROUP_COUNTS_LEVELS);
        assert_false(counts.sees_top);
    }
}

static uint64_t one_since(uint64_t before, uint64_t after)
{
    struct mw_group_counts first = {.version = 2, .level_count = 1, .levels = {{.kills = before}}};
    struct mw_group_counts second = {.version = 2, .level_count = 1, .levels = {{.kills = after, .limit_bytes = 5}}};
    struct mw_group_counts happened;
    mw_group_counts_since(&first, &second, &happened);
    assert_int_equal(happened.levels[0].limit_bytes, 5);
    return happened.levels[0].kills;
}

static void a_difference_is_never_below_0_and_known_only_where_both_are(void **state)
{
    (void)state;
    CHECK_U64("more", one_since(3, 5), 2);
    CHECK_U64("as many", one_since(3, 3), 0);
    CHECK_U64("fewer", one_since(5, 3), 0);
    CHECK_U64("not known before", one_since(NONE, 3), NONE);
    CHECK_U64("not known after", one_since(3, NONE), NONE);
    CHECK_U64("huge", one_since(0, NONE - 1), NONE - 1);
}

static void notices_of_version_1_become_calls_of_each_level(void **state)
{
    static const struct {
        const char *what;
        uint64_t notices[3];
        uint64_t due[3];
    } cases[] = {
        {"own", {2, 0, 0}, {2, 0, 0}},
        {"the parent's", {2, 2, 0}, {0, 2, 0}},
        {"the top's", {1, 1, 1}, {0, 0, 1}},
        {"own and the parent's", {3, 1, 0}, {2, 1, 0}},
        {"one that came while they were read", {0, 1, 1}, {0, 0, 1}},
        {"none given above", {1, NONE, NONE}, {NONE, NONE, NONE}},
        {"none given", {NONE, 1, 0}, {NONE, 1, 0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_group_counts before = {.version = 1, .level_count = 3};
        struct mw_group_counts after = {.version = 1, .level_count = 3};
        struct mw_group_counts happened;
        for (unsigned level = 0; level < 3; level++)
            after.levels[level].notices = cases[i].notices[level];
        mw_group_counts_since(&before, &after, &happened);
        for (unsigned level = 0; level < 3; level++)
            CHECK_U64(cases[i].what, happened.levels[level].local_ooms, cases[i].due[level]);
    }
}

/* A kernel of v2 without memory.events.local: a level that counted no more than the one below it did not call. */
static void calls_of_version_2_are_derived_where_that_is_certain(void **state)
{
    struct mw_group_counts before = {.version = 2, .level_count = 3};
    struct mw_group_counts after = {
        .version = 2,
        .level_count = 3,
        .levels = {{.local_ooms = NONE, .ooms = 1}, {.local_ooms = NONE, .ooms = 1}, {.local_ooms = NONE, .ooms = 2}}};
    struct mw_group_counts happened;
    (void)state;
    mw_group_counts_since(&before, &after, &happened);
    CHECK_U64("own", happened.levels[0].local_ooms, 1);
    CHECK_U64("parent", happened.levels[1].local_ooms, 0);
    CHECK_U64("grandparent or another below it", happened.levels[2].local_ooms, NONE);
}

static void others_in_the_group_are_seen(void **state)
{
    static const struct {
        const char *procs;
        const char *below;
        bool due;
    } cases[] = {{"7\n", "", false}, {"", "", false},   {"7\n8\n", "", true},
                 {"8\n", "", true},  {"0\n", "", true}, {"7\n", "8\n", true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_cgroup cgroup = group(*state, 2, "own");
        scratch_write(*state, "cg/own/cgroup.procs", cases[i].procs);
        scratch_write(*state, "cg/own/below/cgroup.procs", cases[i].below);
        CHECK_I64(cases[i].procs, mw_group_has_others(&cgroup, 7), cases[i].due);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_2_is_read_at_every_level, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(version_1_is_summed_over_the_groups_below, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_number_is_not_known, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(without_a_group_the_machine_is_read, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(where_the_top_is_out_of_sight_it_is_known, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(the_depth_is_bounded, scratch_setup, scratch_teardown),
        cmocka_unit_test(a_difference_is_never_below_0_and_known_only_where_both_are),
        cmocka_unit_test(notices_of_version_1_become_calls_of_each_level),
        cmocka_unit_test(calls_of_version_2_are_derived_where_that_is_certain),
        cmocka_unit_test_setup_teardown(others_in_the_group_are_seen, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("group_counts", tests, NULL, NULL);
}
