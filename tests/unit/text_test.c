/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "json.h"

static void a_new_text_is_empty_and_terminated(void **state)
{
    char buffer[] = "xyz";
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    assert_string_equal(buffer, "");
    assert_int_equal(text.length, 0);
    assert_false(text.truncated);
}

/* Whatever the room: a prefix, terminated, nothing behind the buffer touched, and `truncated` exactly where it is one.
 */
static void what_does_not_fit_is_left_out_and_said(void **state)
{
    static const char whole[] = "Alloc = 12.5 \"\\u0001\"  ";
    (void)state;
    for (size_t capacity = 1; capacity <= sizeof whole + 2; capacity++) {
        char buffer[sizeof whole + 8];
        memset(buffer, '#', sizeof buffer);
        struct mw_text text = mw_text_on(buffer, capacity);
        mw_text_string(&text, "Alloc");
        mw_text_bytes(&text, " = ", 3);
        mw_text_u64(&text, 12);
        mw_text_char(&text, '.');
        mw_text_u64(&text, 5);
        mw_text_char(&text, ' ');
        mw_text_json_string(&text, "\x01");
        mw_text_pad_to(&text, sizeof whole - 1);
        size_t due = capacity - 1 < sizeof whole - 1 ? capacity - 1 : sizeof whole - 1;
        assert_int_equal(text.length, due);
        assert_int_equal(strlen(buffer), due);
        assert_memory_equal(buffer, whole, due);
        assert_int_equal(text.truncated, due < sizeof whole - 1);
        for (size_t i = capacity; i < sizeof buffer; i++)
            assert_int_equal(buffer[i], '#');
    }
}

static void nothing_added_to_a_full_text_is_no_truncation(void **state)
{
    char buffer[4];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    mw_text_string(&text, "abc");
    mw_text_string(&text, "");
    mw_text_bytes(&text, "x", 0);
    mw_text_pad_to(&text, 3);
    assert_false(text.truncated);
    mw_text_char(&text, 'd');
    assert_true(text.truncated);
    assert_string_equal(buffer, "abc");
}

static void whole_numbers(void **state)
{
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {9, "9"},
        {10, "10"},
        {1000000, "1000000"},
        {UINT32_MAX, "4294967295"},
        {INT64_MAX, "9223372036854775807"},
        {UINT64_MAX, "18446744073709551615"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[32];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_u64(&text, cases[i].value);
        CHECK_TEXT(cases[i].text, buffer, cases[i].text);
    }
}

static void fixed_point_numbers(void **state)
{
    static const struct {
        uint64_t value;
        unsigned decimals;
        const char *text;
    } cases[] = {
        {1234, 2, "12.34"},
        {1234, 0, "1234"},
        {0, 0, "0"},
        {0, 3, "0.000"},
        {5, 2, "0.05"},
        {100, 2, "1.00"},
        {1005, 3, "1.005"},
        {UINT64_MAX, 1, "1844674407370955161.5"},
        {UINT64_MAX, 9, "18446744073.709551615"},
        {UINT64_MAX, 19, "1.8446744073709551615"},
        {1, 19, "0.0000000000000000001"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[32];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_fixed(&text, cases[i].value, cases[i].decimals);
        CHECK_TEXT(cases[i].text, buffer, cases[i].text);
    }
}

static void floating_point_numbers(void **state)
{
    static const struct {
        double value;
        unsigned decimals;
        const char *text;
    } cases[] = {
        {0.0, 6, "0.000000"},
        {-0.0, 2, "0.00"},
        {1.0, 0, "1"},
        {0.25, 2, "0.25"},
        {0.125, 2, "0.13"},
        {0.0000004, 6, "0.000000"},
        {0.0000006, 6, "0.000001"},
        {0.9999999, 6, "1.000000"},
        {99.995, 1, "100.0"},
        {0.123456789, 9, "0.123456789"},
        {1e9, 9, "1000000000.000000000"},
        {5e-324, 9, "0.000000000"},
        {NAN, 3, "0.000"},
        {-NAN, 0, "0"},
        {INFINITY, 3, "0.000"},
        {-INFINITY, 3, "0.000"},
        {-1.0, 3, "0.000"},
        {-1e300, 0, "0"},
        {-0.6, 0, "0"},
        /* Adding a half and cutting off is wrong for these. */
        {0.49999999999999994, 0, "0"},
        {4503599627370497.0, 0, "4503599627370497"},
        {9007199254740991.0, 0, "9007199254740991"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[64];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_double(&text, cases[i].value, cases[i].decimals);
        char label[64];
        snprintf(label, sizeof label, "%.17g to %u", cases[i].value, cases[i].decimals);
        CHECK_TEXT(label, buffer, cases[i].text);
    }
}

#define REPLACED "\xef\xbf\xbd"

static void json_strings_are_valid_and_mean_what_was_given(void **state)
{
    static const struct {
        const char *given;
        const char *meant;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a\"b\\c/d", "a\"b\\c/d"},
        {"\x01\x02\t\n\r\x1f\x7f", "\x01\x02\t\n\r\x1f\x7f"},
        {"\\", "\\"},
        {"\\u0041", "\\u0041"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
        {"\xf0\x9f\x92\xa9", "\xf0\x9f\x92\xa9"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\x80", REPLACED},
        {"\xff", REPLACED},
        {"a\xff"
         "b",
         "a" REPLACED "b"},
        {"\xc3", REPLACED},
        {"\xc3\"", REPLACED "\""},
        {"\xe2\x82", REPLACED REPLACED},
        {"\xf0\x9f\x92", REPLACED REPLACED REPLACED},
        {"\xc0\x80", REPLACED REPLACED}, /* NUL, overlong */
        {"\xc1\xbf", REPLACED REPLACED},
        {"\xe0\x80\xaf", REPLACED REPLACED REPLACED}, /* '/', overlong */
        {"\xe0\x9f\xbf", REPLACED REPLACED REPLACED},
        {"\xed\xa0\x80", REPLACED REPLACED REPLACED}, /* a surrogate */
        {"\xf0\x8f\xbf\xbf", REPLACED REPLACED REPLACED REPLACED},
        {"\xf4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", REPLACED REPLACED REPLACED REPLACED},
        {"\xfe\xff", REPLACED REPLACED},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[128];
        char meant[128];
        struct mw_text text = MW_TEXT(buffer);
        char *exact = strdup(cases[i].given); /* so that a read behind its end is seen by the address sanitizer */
        mw_text_json_string(&text, exact);
        free(exact);
        CHECK(cases[i].given, json_is_valid(buffer));
        CHECK(cases[i].given, json_string(buffer, meant, sizeof meant) >= 0);
        CHECK_TEXT(cases[i].given, meant, cases[i].meant);
    }
}

static size_t encode(uint32_t code, char *out)
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[length] | code);
    out[length] = '\0';
    return length;
}

static void every_character_survives_json(void **state)
{
    (void)state;
    for (uint32_t code = 1; code <= 0x10ffff; code++) {
        char given[8];
        char buffer[16];
        char meant[16];
        struct mw_text text = MW_TEXT(buffer);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        encode(code, given);
        mw_text_json_string(&text, given);
        if (surrogate)
            continue; /* the table above has them */
        if (json_string(buffer, meant, sizeof meant) < 0 || strcmp(meant, given) != 0)
            fail_msg("U+%04X became %s", (unsigned)code, buffer);
    }
}

static void padding_fills_up_and_never_shortens(void **state)
{
    char buffer[16];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    mw_text_string(&text, "abc");
    mw_text_pad_to(&text, 2);
    assert_string_equal(buffer, "abc");
    mw_text_pad_to(&text, 6);
    assert_string_equal(buffer, "abc   ");
    mw_text_pad_to(&text, SIZE_MAX);
    assert_true(text.truncated);
    assert_string_equal(buffer, "abc            ");
}

static void errno_is_left_alone(void **state)
{
    char buffer[8];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    errno = EXDEV;
    mw_text_double(&text, NAN, 3);
    mw_text_json_string(&text, "\xff and more than fits");
    assert_int_equal(errno, EXDEV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_text_is_empty_and_terminated),
        cmocka_unit_test(what_does_not_fit_is_left_out_and_said),
        cmocka_unit_test(nothing_added_to_a_full_text_is_no_truncation),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(fixed_point_numbers),
        cmocka_unit_test(floating_point_numbers),
        cmocka_unit_test(json_strings_are_valid_and_mean_what_was_given),
        cmocka_unit_test(every_character_survives_json),
        cmocka_unit_test(padding_fills_up_and_never_shortens),
        cmocka_unit_test(errno_is_left_alone),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
