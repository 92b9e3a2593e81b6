/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define ID    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void groups_and_containers(void **state)
{
    static const struct {
        const char *text;
        const char *cgroup;
        const char *container;
    } cases[] = {
        {"0::/system.slice/nginx.service\n", "/system.slice/nginx.service", ""},
        {"0::/\n", "/", ""},
        {"4:memory:/docker/" ID "\n0::/x\n", "/docker/" ID, ID},
        {"0::/system.slice/docker-" ID ".scope\n", "/system.slice/docker-" ID ".scope", ID},
        {"0::/machine.slice/libpod-" ID ".scope/container\n", "/machine.slice/libpod-" ID ".scope/container", ID},
        {"0::/kubepods.slice/pod1/cri-containerd-" ID ".scope", "/kubepods.slice/pod1/cri-containerd-" ID ".scope", ID},
        {"0::/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/" ID "\n",
         "/kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef/" ID, ID},
        {"0::/docker/" ID "/docker/" OTHER "\n", "/docker/" ID "/docker/" OTHER, OTHER},
        {"0::/docker/" ID "0\n", "/docker/" ID "0", ""}, /* a digit too many */
        {"0::/docker/0123\n", "/docker/0123", ""},
        {"0::/../other\n", "/../other", ""},
        {"0::relative\n", "", ""},
        {"3:cpu:/a\n", "", ""},
        {"", "", ""},
        {"::::\n\n:", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_workload workload;
        char *text = strdup(cases[i].text); /* so that a read behind its end is seen by the address sanitizer */
        mw_workload_parse(text, &workload);
        free(text);
        CHECK_TEXT(cases[i].text, workload.cgroup, cases[i].cgroup);
        CHECK_TEXT(cases[i].text, workload.container_id, cases[i].container);
    }
}

static void a_name_that_is_too_long(void **state)
{
    static char text[2 * MW_CGROUP_PATH_BYTES];
    struct mw_workload workload;
    (void)state;
    snprintf(text, sizeof text, "0::/%0*d\n", MW_CGROUP_PATH_BYTES, 0);
    mw_workload_parse(text, &workload);
    assert_string_equal(workload.cgroup, "");
    assert_string_equal(workload.container_id, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_containers),
        cmocka_unit_test(a_name_that_is_too_long),
    };
    return cmocka_run_group_tests_name("workload", tests, NULL, NULL);
}
