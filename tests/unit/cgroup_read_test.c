/* SPDX-License-Identifier: MIT
 *
 * What a memory cgroup says, read from a tree of plain files. Where it is found is in cgroup_test.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cgroup.h"
#include "check.h"
#include "scratch.h"

#define V1_NO_LIMIT "9223372036854771712\n"

/* The group dir/name of a hierarchy whose top is dir. */
static struct mw_cgroup group(const char *dir, int version, const char *name)
{
    struct mw_cgroup cgroup = {.version = version, .top_length = strlen(dir)};
    snprintf(cgroup.dir, sizeof cgroup.dir, "%s%s%s", dir, *name ? "/" : "", name);
    return cgroup;
}

static struct mw_cgroup_reading read_well(const struct mw_cgroup *cgroup, struct mw_cgroup_handles *handles)
{
    struct mw_cgroup_reading reading;
    memset(&reading, 0xa5, sizeof reading);
    errno = EXDEV;
    CHECK_I64(cgroup->dir, mw_cgroup_read(cgroup, handles, &reading), 0);
    CHECK_I64(cgroup->dir, errno, EXDEV);
    return reading;
}

static void version_1_is_read(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1, "app");
    scratch_write(*state, "app/memory.usage_in_bytes", "73400320\n");
    scratch_write(*state, "app/memory.limit_in_bytes", "104857600\n");
    scratch_write(*state, "app/memory.max_usage_in_bytes", "94371840\n");
    scratch_write(*state, "app/memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n");
    scratch_write(*state, "app/memory.stat",
                  "cache 1\ninactive_file 4096\nhierarchical_memory_limit 104857600\n"
                  "total_cache 1\ntotal_inactive_file 10485760\ntotal_active_file 7\n");
    struct mw_cgroup_reading reading = read_well(&cgroup, NULL);
    assert_int_equal(reading.usage_bytes, 73400320);
    assert_int_equal(reading.working_set_bytes, 62914560); /* the subtree's inactive_file, not the group's own */
    assert_int_equal(reading.limit_bytes, 104857600);
    assert_int_equal(reading.peak_bytes, 94371840);
    assert_int_equal(reading.oom_kills, 3);
    assert_float_equal(reading.pressure, 0, 0);
}

static void version_2_is_read(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2, "app");
    scratch_write(*state, "app/memory.current", "73400320\n");
    scratch_write(*state, "app/memory.max", "104857600\n");
    scratch_write(*state, "app/memory.peak", "94371840\n");
    scratch_write(*state, "app/memory.events", "low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 1\n");
    scratch_write(*state, "app/memory.stat", "anon 1\ntotal_inactive_file 1\ninactive_file 10485760\nactive_file 7\n");
    scratch_write(*state, "app/memory.pressure",
                  "some avg10=12.34 avg60=0.00 avg300=0.00 total=5\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1\n");
    struct mw_cgroup_reading reading = read_well(&cgroup, NULL);
    assert_int_equal(reading.usage_bytes, 73400320);
    assert_int_equal(reading.working_set_bytes, 62914560);
    assert_int_equal(reading.limit_bytes, 104857600);
    assert_int_equal(reading.peak_bytes, 94371840);
    assert_int_equal(reading.oom_kills, 2);
    assert_float_equal(reading.pressure, 0.1234, 1e-9);
}

/* Only the usage must be there: the root group of v2 has no memory.max, a 5.15 kernel no memory.peak. */
static void what_is_missing_is_0(void **state)
{
    for (int version = 1; version <= 2; version++) {
        struct mw_cgroup cgroup = group(*state, version, "app");
        scratch_write(*state, version == 1 ? "app/memory.usage_in_bytes" : "app/memory.current", "4096\n");
        struct mw_cgroup_reading reading = read_well(&cgroup, NULL);
        assert_int_equal(reading.usage_bytes, 4096);
        assert_int_equal(reading.working_set_bytes, 4096);
        assert_int_equal(reading.limit_bytes, 0);
        assert_int_equal(reading.peak_bytes, 0);
        assert_int_equal(reading.oom_kills, 0);
        assert_float_equal(reading.pressure, 0, 0);
    }
}

static void without_the_usage_it_fails(void **state)
{
    static const char *const contents[] = {"", "\n", "max_\n", "-1\n", "x\n", "4096 4096\n", "99999999999999999999\n"};
    struct mw_cgroup cgroup = group(*state, 2, "app");
    struct mw_cgroup_reading reading;
    assert_true(mw_cgroup_read(&cgroup, NULL, &reading) < 0);
    scratch_write(*state, "app/memory.max", "104857600\n");
    assert_true(mw_cgroup_read(&cgroup, NULL, &reading) < 0);
    for (size_t i = 0; i < COUNT(contents); i++) {
        scratch_write(*state, "app/memory.current", contents[i]);
        CHECK(contents[i], mw_cgroup_read(&cgroup, NULL, &reading) < 0);
    }
}

static void figures_that_are_none_are_as_missing(void **state)
{
    static const char *const contents[] = {"",       "\n",         "-5\n", "0x10\n", "1.5\n", "99999999999999999999\n",
                                           "\xff\n", "12 apples\n"};
    struct mw_cgroup cgroup = group(*state, 2, "app");
    scratch_write(*state, "app/memory.current", "4096\n");
    for (size_t i = 0; i < COUNT(contents); i++) {
        char keyed[64];
        scratch_write(*state, "app/memory.max", contents[i]);
        scratch_write(*state, "app/memory.peak", contents[i]);
        snprintf(keyed, sizeof keyed, "oom_kill:%s", contents[i]);
        scratch_write(*state, "app/memory.events", keyed);
        snprintf(keyed, sizeof keyed, "inactive_file %s", contents[i]);
        scratch_write(*state, "app/memory.stat", keyed);
        scratch_write(*state, "app/memory.pressure", contents[i]);
        struct mw_cgroup_reading reading = read_well(&cgroup, NULL);
        CHECK_U64(contents[i], reading.limit_bytes, 0);
        CHECK_U64(contents[i], reading.peak_bytes, 0);
        CHECK_U64(contents[i], reading.oom_kills, 0);
        CHECK_U64(contents[i], reading.working_set_bytes, 4096);
        CHECK(contents[i], reading.pressure == 0);
    }
}

static void the_working_set_is_never_below_0(void **state)
{
    static const struct {
        const char *usage;
        const char *inactive;
        uint64_t working_set;
    } cases[] = {
        {"100\n", "99\n", 1},
        {"100\n", "100\n", 0},
        {"100\n", "101\n", 0},
        {"0\n", "18446744073709551615\n", 0},
        {"18446744073709551615\n", "1\n", UINT64_MAX - 1},
        {"18446744073709551615\n", "0\n", UINT64_MAX},
    };
    for (int version = 1; version <= 2; version++) {
        struct mw_cgroup cgroup = group(*state, version, "app");
        for (size_t i = 0; i < COUNT(cases); i++) {
            char stat[64];
            snprintf(stat, sizeof stat, "%sinactive_file %s", version == 1 ? "total_" : "", cases[i].inactive);
            scratch_write(*state, version == 1 ? "app/memory.usage_in_bytes" : "app/memory.current", cases[i].usage);
            scratch_write(*state, "app/memory.stat", stat);
            CHECK_U64(cases[i].inactive, read_well(&cgroup, NULL).working_set_bytes, cases[i].working_set);
        }
    }
}

/* Limits from the group itself (a/b/c) up to the top; NULL: that group has no such file. */
static void the_limit_is_the_least_up_to_the_top(void **state)
{
    static const struct {
        const char *name;
        int version;
        const char *limits[4];
        const char *hierarchical;
        uint64_t due;
    } cases[] = {
        {"own", 2, {"100\n", "200\n", "300\n", NULL}, NULL, 100},
        {"parent's", 2, {"300\n", "200\n", "400\n", NULL}, NULL, 200},
        {"grandparent's", 2, {"max\n", "max\n", "400\n", NULL}, NULL, 400},
        {"the top's", 2, {"max\n", "900\n", "max\n", "500\n"}, NULL, 500},
        {"none", 2, {"max\n", "max\n", "max\n", NULL}, NULL, 0},
        {"none at all", 2, {NULL, NULL, NULL, NULL}, NULL, 0},
        {"a hole", 2, {"max\n", NULL, "300\n", NULL}, NULL, 300},
        {"equal", 2, {"300\n", "300\n", "300\n", "300\n"}, NULL, 300},
        {"v1 none", 1, {V1_NO_LIMIT, V1_NO_LIMIT, V1_NO_LIMIT, V1_NO_LIMIT}, V1_NO_LIMIT, 0},
        {"v1 none, 64 KiB pages", 1, {"9223372036854710272\n", NULL, NULL, NULL}, NULL, 0},
        {"v1 parent's", 1, {V1_NO_LIMIT, "700\n", V1_NO_LIMIT, V1_NO_LIMIT}, "700\n", 700},
        {"v1 above what is visible", 1, {"900\n", V1_NO_LIMIT, NULL, NULL}, "600\n", 600},
        {"v1 above, all else none", 1, {V1_NO_LIMIT, V1_NO_LIMIT, NULL, NULL}, "600\n", 600},
        {"v1 told too high", 1, {"500\n", V1_NO_LIMIT, NULL, NULL}, "600\n", 500},
        {"v1 not told", 1, {"500\n", "400\n", NULL, NULL}, NULL, 400},
    };
    static const char *const dirs[] = {"a/b/c/", "a/b/", "a/", ""};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_cgroup_handles handles = {0};
        char root[32];
        char stat[64];
        snprintf(root, sizeof root, "case%zu", i);
        const char *top = scratch_path(*state, root);
        struct mw_cgroup cgroup = group(top, cases[i].version, "a/b/c");
        bool v1 = cases[i].version == 1;
        char name[128];
        snprintf(name, sizeof name, "%s/a/b/c/%s", root, v1 ? "memory.usage_in_bytes" : "memory.current");
        scratch_write(*state, name, "1\n");
        for (size_t level = 0; level < COUNT(dirs); level++) {
            snprintf(name, sizeof name, "%s/%s%s", root, dirs[level], v1 ? "memory.limit_in_bytes" : "memory.max");
            if (cases[i].limits[level])
                scratch_write(*state, name, cases[i].limits[level]);
        }
        snprintf(stat, sizeof stat, "cache 1\nhierarchical_memory_limit %s", cases[i].hierarchical);
        snprintf(name, sizeof name, "%s/a/b/c/memory.stat", root);
        if (cases[i].hierarchical)
            scratch_write(*state, name, stat);
        CHECK_U64(cases[i].name, read_well(&cgroup, NULL).limit_bytes, cases[i].due);
        CHECK_U64(cases[i].name, read_well(&cgroup, &handles).limit_bytes, cases[i].due);
        CHECK_U64(cases[i].name, read_well(&cgroup, &handles).limit_bytes, cases[i].due);
        mw_cgroup_handles_drop(&handles);
    }
}

/* What lies outside the hierarchy is no cgroup's. */
static void nothing_above_the_top_is_read(void **state)
{
    struct mw_cgroup cgroup = group(scratch_path(*state, "cg"), 2, "app");
    scratch_write(*state, "memory.max", "1\n");
    scratch_write(*state, "cg/memory.max", "300\n");
    scratch_write(*state, "cg/app/memory.current", "1\n");
    assert_int_equal(read_well(&cgroup, NULL).limit_bytes, 300);
}

/* Deeper than there are handles for. */
static void limits_count_at_any_depth(void **state)
{
    char name[256];
    size_t length = 0;
    struct mw_cgroup_handles handles = {0};
    scratch_write(*state, "memory.max", "300\n");
    for (unsigned level = 0; level < 3 * MW_CGROUP_HELD_LEVELS; level++)
        length += (size_t)snprintf(name + length, sizeof name - length, level ? "/deep" : "deep");
    struct mw_cgroup cgroup = group(*state, 2, name);
    snprintf(name + length, sizeof name - length, "/memory.current");
    scratch_write(*state, name, "1\n");
    assert_int_equal(read_well(&cgroup, NULL).limit_bytes, 300);
    assert_int_equal(read_well(&cgroup, &handles).limit_bytes, 300);
    scratch_write(*state, "memory.max", "200\n");
    assert_int_equal(read_well(&cgroup, &handles).limit_bytes, 200);
    mw_cgroup_handles_drop(&handles);
}

static void handles_see_every_change_and_are_given_back(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2, "app");
    struct mw_cgroup_handles handles = {0};
    unsigned open_before = open_descriptors();
    unsigned open_held = 0;
    for (unsigned i = 1; i <= 500; i++) {
        char text[64];
        snprintf(text, sizeof text, "%u\n", i * 4096);
        scratch_write(*state, "app/memory.current", text);
        snprintf(text, sizeof text, "%u\n", 10000000 + i);
        scratch_write(*state, "app/memory.max", text);
        snprintf(text, sizeof text, "oom_kill %u\n", i);
        scratch_write(*state, "app/memory.events", text);
        struct mw_cgroup_reading reading = read_well(&cgroup, &handles);
        assert_int_equal(reading.usage_bytes, i * 4096);
        assert_int_equal(reading.limit_bytes, 10000000 + i);
        assert_int_equal(reading.oom_kills, i);
        if (i == 1)
            open_held = open_descriptors();
    }
    assert_true(open_held > open_before);
    assert_int_equal(open_descriptors(), open_held);
    mw_cgroup_handles_drop(&handles);
    assert_int_equal(open_descriptors(), open_before);
}

/* As a program does that closes all it finds open. */
static void handles_closed_under_us_are_opened_again(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2, "app");
    struct mw_cgroup_handles handles = {0};
    unsigned open_before = open_descriptors();
    scratch_write(*state, "app/memory.current", "4096\n");
    scratch_write(*state, "app/memory.max", "8192\n");
    assert_int_equal(read_well(&cgroup, &handles).usage_bytes, 4096);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    scratch_write(*state, "app/memory.current", "5000\n");
    struct mw_cgroup_reading reading = read_well(&cgroup, &handles);
    assert_int_equal(reading.usage_bytes, 5000);
    assert_int_equal(reading.limit_bytes, 8192);
    mw_cgroup_handles_drop(&handles);
    assert_true(open_descriptors() <= open_before);
}

static void without_handles_nothing_stays_open(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1, "a/b");
    unsigned open_before = open_descriptors();
    scratch_write(*state, "a/b/memory.usage_in_bytes", "1\n");
    scratch_write(*state, "a/b/memory.stat", "total_inactive_file 0\n");
    for (unsigned i = 0; i < 100; i++)
        read_well(&cgroup, NULL);
    assert_int_equal(open_descriptors(), open_before);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

/* ---- CPU time ---- */

static void the_cpu_quota_is_the_tightest_up_to_the_top(void **state)
{
    static const struct {
        const char *label;
        const char *max[3]; /* cpu.max of top/a/b, top/a and top; NULL: no such file, as in v2's root */
        uint64_t quota_us;
        uint64_t period_us;
    } cases[] = {
        {"none", {"max 100000\n", "max 100000\n", NULL}, 0, 0},
        {"no file", {NULL, NULL, NULL}, 0, 0},
        {"its own", {"50000 100000\n", "max 100000\n", NULL}, 50000, 100000},
        {"its parent's", {"max 100000\n", "150000 100000\n", NULL}, 150000, 100000},
        {"the top's", {"max 100000\n", "max 100000\n", "20000 100000\n"}, 20000, 100000},
        {"a tighter parent", {"400000 100000\n", "150000 100000\n", NULL}, 150000, 100000},
        {"a wider parent", {"150000 100000\n", "400000 100000\n", NULL}, 150000, 100000},
        {"tighter, by its period", {"50000 100000\n", "60000 1000000\n", NULL}, 60000, 1000000},
        {"no newline", {"50000 100000", NULL, NULL}, 50000, 100000},
        {"no period", {"50000\n", "150000 100000\n", NULL}, 150000, 100000},
        {"a period of 0", {"50000 0\n", NULL, NULL}, 0, 0},
        {"a quota of 0", {"0 100000\n", NULL, NULL}, 0, 0},
        {"below 0", {"-1 100000\n", NULL, NULL}, 0, 0},
        {"not numbers", {"some thing\n", NULL, NULL}, 0, 0},
        {"too large", {"99999999999999999999 100000\n", NULL, NULL}, 0, 0},
        {"empty", {"", "\n", " "}, 0, 0},
    };
    static const char *const files[] = {"a/b/cpu.max", "a/cpu.max", "cpu.max"};
    struct mw_cgroup cgroup = group(*state, 2, "a/b");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_cpu_quota quota;
        for (size_t k = 0; k < COUNT(files); k++) {
            unlink(scratch_path(*state, files[k]));
            if (cases[i].max[k])
                scratch_write(*state, files[k], cases[i].max[k]);
        }
        mw_cgroup_read_cpu_quota(&cgroup, &quota);
        CHECK_U64(cases[i].label, quota.quota_us, cases[i].quota_us);
        CHECK_U64(cases[i].label, quota.period_us, cases[i].period_us);
    }
}

static void version_1_has_quota_and_period_apart(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1, "a");
    struct mw_cpu_quota quota;
    scratch_write(*state, "cpu.cfs_quota_us", "-1\n");
    scratch_write(*state, "cpu.cfs_period_us", "100000\n");
    scratch_write(*state, "a/cpu.cfs_quota_us", "-1\n");
    scratch_write(*state, "a/cpu.cfs_period_us", "100000\n");
    mw_cgroup_read_cpu_quota(&cgroup, &quota);
    assert_int_equal(quota.quota_us, 0);
    scratch_write(*state, "a/cpu.cfs_quota_us", "250000\n");
    mw_cgroup_read_cpu_quota(&cgroup, &quota);
    assert_int_equal(quota.quota_us, 250000);
    assert_int_equal(quota.period_us, 100000);
    scratch_write(*state, "cpu.cfs_quota_us", "120000\n");
    mw_cgroup_read_cpu_quota(&cgroup, &quota);
    assert_int_equal(quota.quota_us, 120000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(version_1_is_read),
        WITH_SCRATCH(version_2_is_read),
        WITH_SCRATCH(what_is_missing_is_0),
        WITH_SCRATCH(without_the_usage_it_fails),
        WITH_SCRATCH(figures_that_are_none_are_as_missing),
        WITH_SCRATCH(the_working_set_is_never_below_0),
        WITH_SCRATCH(the_limit_is_the_least_up_to_the_top),
        WITH_SCRATCH(nothing_above_the_top_is_read),
        WITH_SCRATCH(limits_count_at_any_depth),
        WITH_SCRATCH(handles_see_every_change_and_are_given_back),
        WITH_SCRATCH(handles_closed_under_us_are_opened_again),
        WITH_SCRATCH(without_handles_nothing_stays_open),
        WITH_SCRATCH(the_cpu_quota_is_the_tightest_up_to_the_top),
        WITH_SCRATCH(version_1_has_quota_and_period_apart),
    };
    return cmocka_run_group_tests_name("cgroup_read", tests, NULL, NULL);
}
