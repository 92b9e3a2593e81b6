/* SPDX-License-Identifier: MIT */
#include "units.h"

#include <errno.h>
#include <stdlib.h>

#include "check.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define TIB (GIB * 1024)
#define PIB (TIB * 1024)
#define EIB (PIB * 1024)

#define DIGITS_100                                                                                                     \
    "1000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

struct parse_case {
    const char *string;
    int error;
    uint64_t value;
};

typedef int parser(const char *string, uint64_t *out);

static int parse_share(const char *string, uint64_t *out)
{
    uint32_t ppm = (uint32_t)*out;
    int error = mw_share_parse(string, &ppm);
    *out = (*out & ~(uint64_t)UINT32_MAX) | ppm;
    return error;
}

static void check_parses(parser *parse, const struct parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t untouched = UINT64_C(0xa5a5a5a5a5a5a5a5);
        uint64_t value = untouched;
        char *exact = strdup(cases[i].string); /* so that a read behind its end is seen by the address sanitizer */
        errno = EXDEV;
        int error = parse(exact, &value);
        free(exact);
        CHECK_I64(cases[i].string, error, cases[i].error);
        CHECK_I64(cases[i].string, errno, EXDEV);
        if (parse == parse_share && !error)
            value &= UINT32_MAX;
        CHECK_U64(cases[i].string, value, error ? untouched : cases[i].value);
    }
}

static void sizes_as_people_write_them(void **state)
{
    static const struct parse_case cases[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"4096", 0, 4096},
        {"0004096", 0, 4096},
        {"7B", 0, 7},
        {"7 b", 0, 7},
        {"1K", 0, KIB},
        {"1k", 0, KIB},
        {"1KB", 0, KIB},
        {"1kb", 0, KIB},
        {"1KiB", 0, KIB},
        {"1kIb", 0, KIB},
        {"1Ki", 0, KIB},
        {"512K", 0, 512 * KIB},
        {"100M", 0, 104857600},
        {"100MB", 0, 104857600},
        {"100MiB", 0, 104857600},
        {"1.5GiB", 0, GIB + GIB / 2},
        {"1.5 GiB", 0, GIB + GIB / 2},
        {"1.5  g", 0, GIB + GIB / 2},
        {"2T", 0, 2 * TIB},
        {"3p", 0, 3 * PIB},
        {"15E", 0, 15 * EIB},
        {"15.5EiB", 0, 15 * EIB + EIB / 2},
        {"0.5K", 0, 512},
        {"1.9", 0, 1},
        {"0.9999B", 0, 0},
        {"0.001K", 0, 1},
        {"0.000000001G", 0, 1},
        {"1.00000000000000000000000000000000000000000001K", 0, KIB},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551615B", 0, UINT64_MAX},
        {"17179869183.999999999G", 0, UINT64_MAX - 1},
    };
    (void)state;
    check_parses(mw_size_parse, cases, COUNT(cases));
}

static void sizes_that_are_none(void **state)
{
    static const struct parse_case cases[] = {
        {"", -EINVAL, 0},
        {" ", -EINVAL, 0},
        {"K", -EINVAL, 0},
        {".", -EINVAL, 0},
        {".5M", -EINVAL, 0},
        {"5.", -EINVAL, 0},
        {"5.M", -EINVAL, 0},
        {"1.5.5M", -EINVAL, 0},
        {"1,5M", -EINVAL, 0},
        {"1_000", -EINVAL, 0},
        {"1 000", -EINVAL, 0},
        {" 1M", -EINVAL, 0},
        {"1M ", -EINVAL, 0},
        {"1M\n", -EINVAL, 0},
        {"1\tM", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"-1M", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"1KK", -EINVAL, 0},
        {"1KBB", -EINVAL, 0},
        {"1KiBs", -EINVAL, 0},
        {"1iB", -EINVAL, 0},
        {"1Z", -EINVAL, 0},
        {"100 M B", -EINVAL, 0},
        {"max", -EINVAL, 0},
        {"nan", -EINVAL, 0},
        {"inf", -EINVAL, 0},
        {"50%", -EINVAL, 0},
        {"\xef\xbc\x91", -EINVAL, 0},  /* a digit, but not ASCII's */
        {"1\xc4\xb0", -EINVAL, 0},     /* I with a dot */
        {"1\xe2\x84\xaa", -EINVAL, 0}, /* the Kelvin sign, whose lower case is k */
        {"1\xff", -EINVAL, 0},
        {"1\x01", -EINVAL, 0},
    };
    (void)state;
    check_parses(mw_size_parse, cases, COUNT(cases));
}

/* Too large is told from nonsense, however large. */
static void sizes_beyond_64_bits(void **state)
{
    static const struct parse_case cases[] = {
        {"18446744073709551616", -ERANGE, 0},
        {"16E", -ERANGE, 0},
        {"17179869184G", -ERANGE, 0},
        {"18446744073709551615K", -ERANGE, 0},
        {"18446744073709551616 KiB", -ERANGE, 0},
        {"99999999999999999999.5G", -ERANGE, 0},
        {DIGITS_100, -ERANGE, 0},
        {DIGITS_100 ".5MiB", -ERANGE, 0},
        {DIGITS_100 "x", -EINVAL, 0},
        {DIGITS_100 "KK", -EINVAL, 0},
        {DIGITS_100 ".", -EINVAL, 0},
        {DIGITS_100 ".5.5", -EINVAL, 0},
    };
    (void)state;
    check_parses(mw_size_parse, cases, COUNT(cases));
}

static void shares(void **state)
{
    static const struct parse_case cases[] = {
        {"0%", 0, 0},
        {"1%", 0, 10000},
        {"90%", 0, 900000},
        {"12.5%", 0, 125000},
        {"0.0001%", 0, 1},
        {"99.9999%", 0, 999999},
        {"100%", 0, 1000000},
        {"100.000%", 0, 1000000},
        {"100.0001%", -ERANGE, 0},
        {"101%", -ERANGE, 0},
        {"429496.7296%", -ERANGE, 0}, /* 2^32 millionths */
        {"1844674407370955.1616%", -ERANGE, 0},
        {"18446744073709551616%", -ERANGE, 0},
        {DIGITS_100 "%", -ERANGE, 0},
        {DIGITS_100, -EINVAL, 0},
        {"", -EINVAL, 0},
        {"%", -EINVAL, 0},
        {"90", -EINVAL, 0},
        {"90%%", -EINVAL, 0},
        {"90% ", -EINVAL, 0},
        {"90%x", -EINVAL, 0},
        {"%90", -EINVAL, 0},
        {"-1%", -EINVAL, 0},
        {"+1%", -EINVAL, 0},
        {" 1%", -EINVAL, 0},
        {"1e1%", -EINVAL, 0},
        {"1,5%", -EINVAL, 0},
        {".5%", -EINVAL, 0},
    };
    (void)state;
    check_parses(parse_share, cases, COUNT(cases));
}

static void percentages(void **state)
{
    static const struct {
        const char *string;
        int error;
        int percent;
    } cases[] = {
        {"0", 0, 0},
        {"50", 0, 50},
        {"007", 0, 7},
        {"100000", 0, 100000},
        {"off", 0, -1},
        {"100001", -ERANGE, 0},
        {"99999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {"50%", -EINVAL, 0},
        {"5 0", -EINVAL, 0},
        {"Off", -EINVAL, 0},
        {"1.5", -EINVAL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int percent = 12345;
        int error = mw_percent_parse(cases[i].string, &percent);
        if (error != cases[i].error || percent != (error ? 12345 : cases[i].percent))
            fail_msg("\"%s\": %d, %d", cases[i].string, error, percent);
    }
}

static void durations(void **state)
{
    const uint64_t s = UINT64_C(1000000000);
    const struct parse_case cases[] = {
        {"0", 0, 0},
        {"1", 0, s},
        {"1.5", 0, s + s / 2},
        {"10us", 0, 10000},
        {"250ms", 0, 250000000},
        {"1s", 0, s},
        {"1 s", 0, s},
        {"1.5m", 0, 90 * s},
        {"2h", 0, 7200 * s},
        {"0.000000001s", 0, 1},
        {"0.0015 ms", 0, 1500},
        {"18446744073.709551615s", 0, UINT64_MAX},
        {"18446744073.709551616s", -ERANGE, 0},
        {"5124096h", -ERANGE, 0},
        {"18446744073709551616us", -ERANGE, 0},
        {DIGITS_100, -ERANGE, 0},
        {DIGITS_100 "ms", -ERANGE, 0},
        {DIGITS_100 " parsecs", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"+1s", -EINVAL, 0},
        {" 1s", -EINVAL, 0},
        {"1s ", -EINVAL, 0},
        {"1sec", -EINVAL, 0},
        {"1 m s", -EINVAL, 0},
        {"1m30s", -EINVAL, 0},
        {"1M", -EINVAL, 0},
        {"1MS", -EINVAL, 0},
        {"1e3s", -EINVAL, 0},
        {"1.s", -EINVAL, 0},
        {".5s", -EINVAL, 0},
        {"1\xc2\xb5s", -EINVAL, 0},
        {"inf", -EINVAL, 0},
    };
    (void)state;
    check_parses(mw_duration_parse, cases, COUNT(cases));
}

static void amounts(void **state)
{
    static const struct {
        const char *string;
        int error;
        struct mw_amount amount;
    } cases[] = {
        {"off", 0, {.kind = MW_AMOUNT_NONE}},
        {"100M", 0, {.kind = MW_AMOUNT_BYTES, .bytes = 100 * MIB}},
        {"1", 0, {.kind = MW_AMOUNT_BYTES, .bytes = 1}},
        {"18446744073709551615", 0, {.kind = MW_AMOUNT_BYTES, .bytes = UINT64_MAX}},
        {"90%", 0, {.kind = MW_AMOUNT_SHARE, .share_ppm = 900000}},
        {"100%", 0, {.kind = MW_AMOUNT_SHARE, .share_ppm = 1000000}},
        {"0.0001%", 0, {.kind = MW_AMOUNT_SHARE, .share_ppm = 1}},
        {"0", -EINVAL, {0}},
        {"0M", -EINVAL, {0}},
        {"0.5", -EINVAL, {0}},
        {"0%", -EINVAL, {0}},
        {"0.00001%", -EINVAL, {0}},
        {"101%", -ERANGE, {0}},
        {"16E", -ERANGE, {0}},
        {"", -EINVAL, {0}},
        {"of", -EINVAL, {0}},
        {"offf", -EINVAL, {0}},
        {" off", -EINVAL, {0}},
        {"none", -EINVAL, {0}},
        {"max", -EINVAL, {0}},
        {"-1", -EINVAL, {0}},
        {"%", -EINVAL, {0}},
        {"50%M", -EINVAL, {0}},
        {"50M%", -EINVAL, {0}},
        {"50%50%", -EINVAL, {0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct mw_amount untouched = {.kind = MW_AMOUNT_SHARE, .bytes = 12345, .share_ppm = 67890};
        struct mw_amount amount = untouched;
        CHECK_I64(cases[i].string, mw_amount_parse(cases[i].string, &amount), cases[i].error);
        const struct mw_amount *due = cases[i].error ? &untouched : &cases[i].amount;
        CHECK_I64(cases[i].string, amount.kind, due->kind);
        CHECK_U64(cases[i].string, amount.bytes, due->bytes);
        CHECK_U64(cases[i].string, amount.share_ppm, due->share_ppm);
    }
}

static void what_an_amount_stands_for(void **state)
{
    static const struct {
        const char *string;
        uint64_t whole_bytes;
        uint64_t bytes;
    } cases[] = {
        {"off", GIB, 0},
        {"100M", GIB, 100 * MIB},
        {"100M", 0, 100 * MIB},
        {"2G", GIB, 2 * GIB},
        {"50%", GIB, GIB / 2},
        {"50%", 0, 0},
        {"100%", UINT64_MAX, UINT64_MAX},
        {"50%", UINT64_MAX, UINT64_MAX / 2},
        {"12.5%", 8 * TIB, TIB},
        {"0.0001%", 999999, 0},
        {"0.0001%", 1000000, 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_amount amount;
        CHECK_I64(cases[i].string, mw_amount_parse(cases[i].string, &amount), 0);
        CHECK_U64(cases[i].string, mw_amount_bytes(amount, cases[i].whole_bytes), cases[i].bytes);
    }
}

static void sizes_in_text(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1, "1 B"},
        {1000, "1000 B"},
        {1023, "1023 B"},
        {KIB, "1 KiB"},
        {KIB + 512, "1.5 KiB"},
        {62914560, "60 MiB"},
        {1572864, "1.5 MiB"},
        {10 * GIB, "10 GiB"},
        {3 * TIB / 2, "1.5 TiB"},
        {7 * PIB, "7 PiB"},
        {EIB, "1 EiB"},
        {UINT64_MAX, "16 EiB"},
        {MIB + MIB / 10, "1.1 MiB"},
        {MIB + MIB / 100, "1 MiB"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[32];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_size(&text, cases[i].bytes);
        CHECK_TEXT(cases[i].text, buffer, cases[i].text);
    }
}

static void durations_in_text(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        {0, "0 us"},
        {900, "0.9 us"},
        {1000, "1 us"},
        {12300, "12.3 us"},
        {1000000, "1 ms"},
        {12300000, "12.3 ms"},
        {1000000000, "1 s"},
        {1500000000, "1.5 s"},
        {UINT64_C(90061) * 1000000000, "90061 s"},
        {UINT64_MAX, "18446744073.7 s"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[32];
        struct mw_text text = MW_TEXT(buffer);
        mw_text_duration(&text, cases[i].ns);
        CHECK_TEXT(cases[i].text, buffer, cases[i].text);
    }
}

/* What is printed can be given back as an option, and is right to half of its last digit. */
static void printed_sizes_parse_back(void **state)
{
    uint64_t random = 42;
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        char buffer[32];
        struct mw_text text = MW_TEXT(buffer);
        uint64_t back;
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t bytes = random >> (i % 60 + 4); /* below 2^60, where rounding up cannot leave 64 bits */
        mw_text_size(&text, bytes);
        CHECK_I64(buffer, mw_size_parse(buffer, &back), 0);
        uint64_t off = back > bytes ? back - bytes : bytes - back;
        CHECK(buffer, off <= bytes / 20 + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_as_people_write_them),
        cmocka_unit_test(sizes_that_are_none),
        cmocka_unit_test(sizes_beyond_64_bits),
        cmocka_unit_test(shares),
        cmocka_unit_test(percentages),
        cmocka_unit_test(durations),
        cmocka_unit_test(amounts),
        cmocka_unit_test(what_an_amount_stands_for),
        cmocka_unit_test(sizes_in_text),
        cmocka_unit_test(durations_in_text),
        cmocka_unit_test(printed_sizes_parse_back),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
