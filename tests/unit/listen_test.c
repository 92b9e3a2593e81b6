/* SPDX-License-Identifier: MIT
 *
 * Where a server listens, as people write it, and Unix sockets that are left behind.
 */
#include "listen.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

static void addresses(void **state)
{
    static const struct {
        const char *word;
        const char *name; /* NULL: it is refused */
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1:9464", "http://127.0.0.1:9464/", true},
        {"127.1.2.3:1", "http://127.1.2.3:1/", true},
        {"localhost:9464", "http://127.0.0.1:9464/", true},
        {"[::1]:9464", "http://[::1]:9464/", true},
        {"0.0.0.0:9464", "http://0.0.0.0:9464/", false},
        {"10.0.0.1:65535", "http://10.0.0.1:65535/", false},
        {"128.0.0.1:80", "http://128.0.0.1:80/", false},
        {"[::]:9464", "http://[::]:9464/", false},
        {"[fe80::1]:9464", "http://[fe80::1]:9464/", false},
        {"127.0.0.1:0", "http://127.0.0.1:0/", true},
        {"unix:/run/memwatch.sock", "unix:/run/memwatch.sock", false},
        {"unix:run/memwatch.sock", NULL, false},
        {"unix:", NULL, false},
        {"", NULL, false},
        {"9464", NULL, false},
        {":9464", NULL, false},
        {"127.0.0.1", NULL, false},
        {"127.0.0.1:", NULL, false},
        {"127.0.0.1:65536", NULL, false},
        {"127.0.0.1:999999", NULL, false},
        {"127.0.0.1:-1", NULL, false},
        {"127.0.0.1:80x", NULL, false},
        {"127.0.0.1 :80", NULL, false},
        {"127.1:80", NULL, false},
        {"::1:9464", NULL, false},
        {"[]:1", NULL, false},
        {"[::1:9464", NULL, false},
        {"example.org:80", NULL, false}, /* no name is looked up */
        {"http://127.0.0.1:9464", NULL, false},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1", NULL, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_listen listen;
        struct mw_error error = {0};
        char buffer[160];
        struct mw_text name = MW_TEXT(buffer);
        CHECK_I64(cases[i].word, mw_listen_parse(cases[i].word, &listen, &error), cases[i].name != NULL);
        if (!cases[i].name) {
            CHECK_HAS(cases[i].word, error.text, "takes ");
            continue;
        }
        mw_listen_name(&name, &listen);
        CHECK_TEXT(cases[i].word, buffer, cases[i].name);
        CHECK_I64(cases[i].word, listen.is_loopback, cases[i].is_loopback);
    }
}

static void the_port_that_is_got(void **state)
{
    struct mw_listen listen;
    struct mw_error error;
    char buffer[160];
    struct mw_text name = MW_TEXT(buffer);
    (void)state;
    assert_true(mw_listen_parse("127.0.0.1:0", &listen, &error));
    int fd = mw_listen_open(&listen, &error);
    assert_true(fd >= 0);
    mw_listen_name(&name, &listen);
    assert_string_not_equal(buffer, "http://127.0.0.1:0/");
    struct mw_listen again = listen;
    assert_int_equal(mw_listen_open(&again, &error), -1);
    assert_non_null(strstr(error.text, "cannot listen on http://127.0.0.1:"));
    mw_listen_close(&listen, fd);
}

static void unix_sockets(void **state)
{
    char word[1200];
    struct mw_listen listen;
    struct mw_error error;
    struct stat st;
    snprintf(word, sizeof word, "unix:%s", scratch_path(*state, "socket"));
    assert_true(mw_listen_parse(word, &listen, &error));
    int fd = mw_listen_open(&listen, &error);
    assert_true(fd >= 0);
    assert_int_equal(stat(scratch_path(*state, "socket"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct mw_listen again = listen;
    assert_int_equal(mw_listen_open(&again, &error), -1); /* somebody listens */
    close(fd);                                            /* and dies */
    fd = mw_listen_open(&again, &error);
    assert_true(fd >= 0);
    mw_listen_close(&again, fd);
    assert_int_equal(access(scratch_path(*state, "socket"), F_OK), -1);
    scratch_write(*state, "socket", "a file");
    assert_int_equal(mw_listen_open(&listen, &error), -1); /* is nothing of ours */
    assert_string_equal(scratch_read(scratch_path(*state, "socket")), "a file");
}

static void paths_that_are_too_long(void **state)
{
    char word[512];
    struct mw_listen listen;
    struct mw_error error;
    (void)state;
    for (int length = 1; length < 300; length++) {
        snprintf(word, sizeof word, "unix:/%0*d", length, 0);
        assert_int_equal(mw_listen_parse(word, &listen, &error), length < 107);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(the_port_that_is_got),
        cmocka_unit_test_setup_teardown(unix_sockets, scratch_setup, scratch_teardown),
        cmocka_unit_test(paths_that_are_too_long),
    };
    return cmocka_run_group_tests_name("listen", tests, NULL, NULL);
}
