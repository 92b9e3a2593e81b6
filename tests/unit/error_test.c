/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <errno.h>
#include <stdio.h>

#include "check.h"

static void a_sentence_with_what_the_system_said(void **state)
{
    char due[256];
    struct mw_error error;
    (void)state;
    assert_false(mw_error_set(&error, ENOENT, "cannot open %s", "/no/such"));
    snprintf(due, sizeof due, "cannot open /no/such: %s", strerror(ENOENT));
    assert_string_equal(error.text, due);
    assert_int_equal(error.errno_value, ENOENT);
}

static void without_an_errno_the_sentence_alone(void **state)
{
    struct mw_error error = {.errno_value = EIO, .text = "of before"};
    (void)state;
    errno = EACCES; /* nobody's business */
    assert_false(mw_error_set(&error, 0, "--%s takes %d", "limit", 5));
    assert_string_equal(error.text, "--limit takes 5");
    assert_int_equal(error.errno_value, 0);
}

static void nothing_given_is_a_formatter(void **state)
{
    struct mw_error error;
    (void)state;
    mw_error_set(&error, 0, "%s", "100% %s %n");
    assert_string_equal(error.text, "100% %s %n");
    mw_error_set(&error, 0, "%s", "");
    assert_string_equal(error.text, "");
}

/* Whatever the length: as much as fits, terminated. */
static void what_does_not_fit_is_cut(void **state)
{
    (void)state;
    for (size_t length = 0; length < 2 * sizeof((struct mw_error *)0)->text; length++) {
        char given[2 * sizeof((struct mw_error *)0)->text + 1];
        char due[sizeof given + 256];
        struct mw_error error;
        memset(given, 'x', length);
        given[length] = '\0';
        snprintf(due, sizeof due, "%s: %s", given, strerror(EINVAL));
        due[sizeof error.text - 1] = '\0';
        memset(&error, '#', sizeof error);
        assert_false(mw_error_set(&error, EINVAL, "%s", given));
        assert_string_equal(error.text, due);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_with_what_the_system_said),
        cmocka_unit_test(without_an_errno_the_sentence_alone),
        cmocka_unit_test(nothing_given_is_a_formatter),
        cmocka_unit_test(what_does_not_fit_is_cut),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
