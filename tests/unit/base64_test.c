/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <errno.h>

#include "check.h"

#define TRIGGER "some 150000 2000000" /* and its NUL */

static void it_is_decoded_strictly(void **state)
{
    static const struct {
        const char *base64, *bytes;
        long length;
    } cases[] = {
        {"", "", 0},
        {"QQ==", "A", 1},
        {"QUI=", "AB", 2},
        {"QUJD", "ABC", 3},
        {"QUJDRA==", "ABCD", 4},
        {"AAAA", "\0\0", 3},
        {"+/+/", "\xfb\xff\xbf", 3},
        {"c29tZSAxNTAwMDAgMjAwMDAwMAA=", TRIGGER, sizeof TRIGGER},
        {"QUJDREVGR0g=", "ABCDEFGH", 8},
        {"Q", NULL, -EINVAL},
        {"QQ", NULL, -EINVAL},
        {"QQ=", NULL, -EINVAL},
        {"Q===", NULL, -EINVAL},
        {"====", NULL, -EINVAL},
        {"=", NULL, -EINVAL},
        {"QQ==QQ==", NULL, -EINVAL},
        {"QR==", NULL, -EINVAL}, /* stray bits */
        {"QUJ=", NULL, -EINVAL},
        {"QU D", NULL, -EINVAL},
        {"QUJD\n", NULL, -EINVAL},
        {"QUJD   \n", NULL, -EINVAL},
        {"-_-_", NULL, -EINVAL},
        {"QUJ\xc3", NULL, -EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        memset(out, '#', sizeof out);
        errno = EXDEV;
        CHECK_I64(cases[i].base64, mw_base64_decode(cases[i].base64, out, sizeof out), cases[i].length);
        CHECK_I64(cases[i].base64, errno, EXDEV);
        if (cases[i].length >= 0) {
            CHECK(cases[i].base64, memcmp(out, cases[i].bytes, (size_t)cases[i].length) == 0);
            CHECK(cases[i].base64, out[cases[i].length] == '#');
        }
    }
}

static void it_stays_within_its_bounds(void **state)
{
    char out[8];
    (void)state;
    memset(out, '#', sizeof out);
    assert_int_equal(mw_base64_decode("QUJD", out, 3), 3);
    assert_int_equal(mw_base64_decode("QUJD", out, 2), -EMSGSIZE);
    assert_int_equal(mw_base64_decode("QQ==", out, 0), -EMSGSIZE);
    assert_int_equal(mw_base64_decode("", out, 0), 0);
    assert_int_equal(out[3], '#');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_decoded_strictly),
        cmocka_unit_test(it_stays_within_its_bounds),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
