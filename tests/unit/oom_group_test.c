/* SPDX-License-Identifier: MIT
 *
 * To whom an OOM kill belongs: the arithmetic, and groups that a test has made.
 */
#include "oom_group.h"

#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

#define S UINT64_C(1000000000)

/* A letter a step: "4" the counter is read and says 4, "k" a process did not end by itself, "s" a second passes, "m" a
 * minute. Upper case "K": it is to be an OOM kill. */
static void whose_an_oom_kill_is(void **state)
{
    static const struct {
        const char *label;
        const char *steps;
    } cases[] = {
        {"none", "0k"},
        {"one, read before", "01Kk"},
        {"one, read twice before", "01s1Kk"},
        {"its victim ends late", "01ssss1K"},
        {"its victim was none of ours", "01m1k"},
        {"two", "02KKk"},
        {"those before the first process", "3k3k"},
        {"each its own", "01K2Kk"},
        {"long after", "01Km2Kk"},
        {"an old one and a new one", "01m2Kk"},
        {"another group by the name", "50k1K"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *step = cases[i].steps;
        uint64_t now_ns = 100 * S;
        struct mw_oom_claims claims = mw_oom_claims_start((uint64_t)(*step - '0'), now_ns);
        while (*++step) {
            if (*step == 's' || *step == 'm')
                now_ns += *step == 's' ? S : 60 * S;
            else if (*step == 'k' || *step == 'K')
                CHECK_I64(cases[i].label, mw_oom_claims_take(&claims), *step == 'K');
            else
                mw_oom_claims_notice(&claims, (uint64_t)(*step - '0'), now_ns);
        }
    }
}

static struct mw_oom_groups *groups_in(const char *dir)
{
    char mountinfo[2048];
    snprintf(mountinfo, sizeof mountinfo,
             "22 28 0:20 / /proc rw - proc proc rw\n36 24 0:31 / %s/v1 rw - cgroup cgroup rw,memory\n"
             "37 24 0:32 / /a rw - tmpfs tmpfs rw",
             dir);
    return mw_oom_groups_new(mountinfo);
}

static void counters_of_groups(void **state)
{
    struct mw_oom_groups *groups = groups_in(*state);
    scratch_write(*state, "v1/app/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
    scratch_write(*state, "v1/app/cgroup.procs", "1\n12\n13\n");
    struct mw_oom_group *first = mw_oom_groups_hold(groups, "9:memory:/app\n", 12, S);
    struct mw_oom_group *second = mw_oom_groups_hold(groups, "9:memory:/app\n", 13, S);
    assert_non_null(first);
    assert_ptr_equal(first, second);
    assert_false(mw_oom_group_take(first, S));
    scratch_write(*state, "v1/app/memory.oom_control", "oom_kill 4\n");
    assert_true(mw_oom_group_take(first, S));
    assert_false(mw_oom_group_take(second, S)); /* killed by whoever: the counter counts one */
    scratch_write(*state, "v1/app/memory.oom_control", "oom_kill 5\n");
    mw_oom_groups_notice(groups, 2 * S);
    unlink(scratch_path(*state, "v1/app/memory.oom_control"));
    assert_true(mw_oom_group_take(second, 2 * S)); /* the group is gone, and was heard before */
    mw_oom_groups_let_go(groups, first);
    mw_oom_groups_let_go(groups, second);
    mw_oom_groups_free(groups);
}

static void groups_that_are_not_to_be_seen(void **state)
{
    struct mw_oom_groups *groups = groups_in(*state);
    scratch_write(*state, "v1/other/memory.oom_control", "oom_kill 0\n");
    scratch_write(*state, "v1/other/cgroup.procs", "1\n");
    scratch_write(*state, "v1/strange/memory.oom_control", "oom\n");
    scratch_write(*state, "v1/strange/cgroup.procs", "12\n");
    assert_null(mw_oom_groups_hold(groups, "9:memory:/other\n", 12, S)); /* in it is somebody else */
    assert_null(mw_oom_groups_hold(groups, "9:memory:/strange\n", 12, S));
    assert_null(mw_oom_groups_hold(groups, "9:memory:/none\n", 12, S));
    assert_null(mw_oom_groups_hold(groups, "0::/other\n", 12, S));
    assert_null(mw_oom_groups_hold(groups, "", 12, S));
    assert_false(mw_oom_group_take(NULL, S));
    mw_oom_groups_let_go(groups, NULL);
    mw_oom_groups_free(groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_an_oom_kill_is),
        cmocka_unit_test_setup_teardown(counters_of_groups, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(groups_that_are_not_to_be_seen, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests_name("oom_group", tests, NULL, NULL);
}
