/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static void what_is_not_for_the_manager_is_taken_out(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        const char *left;
        const char *left_when_stopping; /* NULL: the same */
    } cases[] = {
        {"READY=1", "READY=1", NULL},
        {"READY=1\nSTATUS=as it should be\n", "READY=1\nSTATUS=as it should be\n", NULL},
        {"READY=1\nMAINPID=123\nSTATUS=x", "READY=1\nSTATUS=x", NULL},
        {"MAINPID=1", "", NULL},
        {"READY=1\nMAINPID=1", "READY=1\n", NULL},
        {"MAINPIDFDID=7\nMAINPIDFD=1\nFDSTORE=1\nFDNAME=a", "FDSTORE=1\nFDNAME=a", NULL},
        {"STOPPING=1", "", "STOPPING=1"},
        {"STOPPING=1\nSTATUS=bye", "STATUS=bye", "STOPPING=1\nSTATUS=bye"},
        {"STOPPING=10\nSTOPPING=\nSTOPPING=1\n", "STOPPING=10\nSTOPPING=\n", "STOPPING=10\nSTOPPING=\nSTOPPING=1\n"},
        {"STATUS=MAINPID=1", "STATUS=MAINPID=1", NULL},
        {"", "", NULL},
        {"\n\n", "\n\n", NULL},
        {"nonsense \x01\xff", "nonsense \x01\xff", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int is_stopping = 0; is_stopping < 2; is_stopping++) {
            char message[256];
            const char *left = is_stopping && cases[i].left_when_stopping ? cases[i].left_when_stopping : cases[i].left;
            snprintf(message, sizeof message, "%s", cases[i].message);
            mw_notify_filter(message, is_stopping);
            assert_string_equal(message, left);
        }
    }
}

static void without_a_socket_of_unix_nothing_is_done(void **state)
{
    (void)state;
    static const char *const addresses[] = {"", "@", "/", "vsock:2:1234", "relative/path", NULL};
    struct mw_notify notify;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        unsetenv("NOTIFY_SOCKET");
        if (addresses[i])
            setenv("NOTIFY_SOCKET", addresses[i], 1);
        mw_notify_open(&notify);
        assert_int_equal(notify.fd, -1);
        if (addresses[i])
            assert_string_equal(getenv("NOTIFY_SOCKET"), addresses[i]);
        mw_notify_pass_on(&notify, &(struct mw_notify_speakers){.pid = 1}, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_for_the_manager_is_taken_out),
        cmocka_unit_test(without_a_socket_of_unix_nothing_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
