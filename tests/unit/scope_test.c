/* SPDX-License-Identifier: MIT
 *
 * What needs no systemd. What does is tried in a virtual machine: tests/vm/systemd-scenarios.sh.
 */
#include "scope.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "scope_text.h"
#include "scratch.h"

#define USER 1234

/* ---- the socket ---- */

static void make_socket(const char *root, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    scratch_write(root, path, ""); /* the directories above it */
    const char *whole = scratch_path(root, path);
    unlink(whole);
    assert_true(strlen(whole) < sizeof address.sun_path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", whole);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static void the_bus_comes_before_the_manager_and_the_variable_before_the_usual_place(void **state)
{
    static const struct {
        const char *what;
        const char *sockets[4];
        const char *runtime_dir;
        const char *found; /* NULL: none */
        bool is_bus;
    } cases[] = {
        {"nothing", {NULL}, "/d/0", NULL, false},
        {"the bus", {"d/1/bus"}, "/d/1", "/d/1/bus", true},
        {"the manager", {"d/2/systemd/private"}, "/d/2", "/d/2/systemd/private", false},
        {"both", {"d/3/systemd/private", "d/3/bus"}, "/d/3", "/d/3/bus", true},
        {"not where the variable says", {"run/user/1234/bus"}, "/d/4", "/run/user/1234/bus", true},
        {"no variable", {NULL}, NULL, "/run/user/1234/bus", true},
        {"an empty variable", {NULL}, "", "/run/user/1234/bus", true},
        {"the variable first", {"d/6/systemd/private"}, "/d/6", "/d/6/systemd/private", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_scope_socket found;
        struct mw_error error = {0};
        for (const char *const *path = cases[i].sockets; *path; path++)
            make_socket(*state, *path);
        bool is_found = mw_scope_find_socket(*state, cases[i].runtime_dir, USER, &found, &error);
        CHECK_I64(cases[i].what, is_found, cases[i].found != NULL);
        if (is_found && cases[i].found) {
            CHECK_TEXT(cases[i].what, found.path + strlen(*state), cases[i].found);
            CHECK_I64(cases[i].what, found.is_bus, cases[i].is_bus);
        }
    }
}

static void a_file_that_is_no_socket_is_none(void **state)
{
    struct mw_scope_socket found;
    struct mw_error error = {0};
    scratch_write(*state, "d/bus", "");
    assert_false(mw_scope_find_socket(*state, "/d", USER, &found, &error));
    CHECK_HAS("both places", error.text, "in /d or /run/user/1234;");
    assert_false(mw_scope_find_socket(*state, NULL, USER, &found, &error));
    CHECK_HAS("one place", error.text, "in /run/user/1234;");
    CHECK_HAS("what helps", error.text, "loginctl enable-linger");
}

static void a_relative_path_is_none(void **state)
{
    struct mw_scope_socket found;
    struct mw_error error = {0};
    char before[4096];
    make_socket(*state, "d/bus");
    assert_non_null(getcwd(before, sizeof before));
    assert_return_code(chdir(*state), 0);
    bool is_found = mw_scope_find_socket("", "d", USER, &found, &error);
    assert_return_code(chdir(before), 0);
    assert_false(is_found);
}

static void a_path_that_is_too_long_is_none(void **state)
{
    struct mw_scope_socket found;
    struct mw_error error = {0};
    char runtime_dir[4096];
    memset(runtime_dir, 'x', sizeof runtime_dir);
    runtime_dir[0] = '/';
    runtime_dir[sizeof runtime_dir - 1] = '\0';
    assert_false(mw_scope_find_socket(*state, runtime_dir, USER, &found, &error));
    assert_true(memchr(error.text, '\0', sizeof error.text) != NULL);
}

/* ---- what is said to systemd ---- */

static void a_unit_is_named_for_the_process(void **state)
{
    char name[64];
    struct mw_text text = MW_TEXT(name);
    (void)state;
    mw_scope_unit_name(&text, 4194303);
    assert_string_equal(name, "memwatch-4194303.scope");
}

static void a_description_is_ascii_on_one_line(void **state)
{
    static const struct {
        const char *command;
        const char *description;
    } cases[] = {
        {"./app", "memwatch-run ./app"},   {"", "memwatch-run "},           {"a b~", "memwatch-run a b~"},
        {"a\nb\tc", "memwatch-run a?b?c"}, {"\xff\xfe", "memwatch-run ??"}, {"\x7f\xc3\xa4", "memwatch-run ???"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char description[64];
        struct mw_text text = MW_TEXT(description);
        mw_scope_description(&text, cases[i].command);
        CHECK_TEXT(cases[i].command, description, cases[i].description);
    }
}

static void an_address_is_escaped(void **state)
{
    static const struct {
        const char *path;
        const char *address;
    } cases[] = {
        {"/run/user/1000/bus", "unix:path=/run/user/1000/bus"},
        {"/a b", "unix:path=/a%20b"},
        {"/a,guid=1;unix:path=/b", "unix:path=/a%2cguid%3d1%3bunix%3apath%3d/b"},
        {"/100%", "unix:path=/100%25"},
        {"/\xc3\xa4", "unix:path=/%c3%a4"},
        {"/-_.\\*", "unix:path=/-_.\\*"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char address[128];
        struct mw_text text = MW_TEXT(address);
        mw_scope_address(&text, cases[i].path);
        CHECK_TEXT(cases[i].path, address, cases[i].address);
    }
}

/* ---- what it answers ---- */

static void a_refusal_is_one_sentence(void **state)
{
    static const struct {
        const char *name;
        const char *message;
        const char *sentence;
    } cases[] = {
        {"org.freedesktop.DBus.Error.ServiceUnknown", "not provided by any .service files",
         "no systemd manager is on the message bus (u.scope)"},
        {"org.freedesktop.DBus.Error.NameHasNoOwner", "", "no systemd manager is on the message bus (u.scope)"},
        {"org.freedesktop.DBus.Error.AccessDenied", "Permission denied",
         "systemd refuses to make a scope: Permission denied (u.scope)"},
        {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "Interactive authentication required.",
         "systemd refuses to make a scope: Interactive authentication required. (u.scope)"},
        {"org.freedesktop.systemd1.UnitExists", "Unit u.scope was already loaded.",
         "systemd has a unit of that name already (u.scope)"},
        {"org.freedesktop.DBus.Error.NoReply", "", "systemd did not answer within 5 seconds"},
        {"org.freedesktop.DBus.Error.Timeout", "x", "systemd did not answer within 5 seconds"},
        {"System.Error.ETIMEDOUT", "x", "systemd did not answer within 5 seconds"},
        {"org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set property X",
         "systemd cannot make the scope u.scope: Cannot set property X (org.freedesktop.DBus.Error.PropertyReadOnly)"},
        {"", "", "systemd cannot make the scope u.scope:  ()"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_error error = {0};
        CHECK(cases[i].name, !mw_scope_refusal(&error, cases[i].name, cases[i].message, "u.scope"));
        CHECK_TEXT(cases[i].name, error.text, cases[i].sentence);
    }
}

static void only_a_job_that_is_done_is_done(void **state)
{
    static const char *const results[] = {"failed", "timeout", "canceled", "dependency", "skipped", "", "don", "done "};
    struct mw_error error = {0};
    (void)state;
    assert_true(mw_scope_job_result(&error, "done", "u.scope"));
    for (size_t i = 0; i < COUNT(results); i++) {
        CHECK(results[i], !mw_scope_job_result(&error, results[i], "u.scope"));
        CHECK_HAS(results[i], error.text, results[i]);
    }
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(the_bus_comes_before_the_manager_and_the_variable_before_the_usual_place),
        WITH_SCRATCH(a_file_that_is_no_socket_is_none),
        WITH_SCRATCH(a_relative_path_is_none),
        WITH_SCRATCH(a_path_that_is_too_long_is_none),
        cmocka_unit_test(a_unit_is_named_for_the_process),
        cmocka_unit_test(a_description_is_ascii_on_one_line),
        cmocka_unit_test(an_address_is_escaped),
        cmocka_unit_test(a_refusal_is_one_sentence),
        cmocka_unit_test(only_a_job_that_is_done_is_done),
    };
    return cmocka_run_group_tests_name("scope", tests, NULL, NULL);
}
