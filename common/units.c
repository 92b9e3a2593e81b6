/* SPDX-License-Identifier: MIT */
#include "units.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

__extension__ typedef unsigned __int128 mw_u128;

/* A decimal number as units and nano-units, so that 1.5 needs no floating point. */
struct decimal {
    uint64_t whole;
    uint64_t nano;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits[.digits] from *cursor on and moves it behind. More than nine decimals are cut off. */
static int parse_decimal(const char **cursor, struct decimal *out)
{
    const char *s = *cursor;
    struct decimal d = {0};
    if (!is_digit(*s))
        return -EINVAL;
    int error = 0;
    for (; is_digit(*s); s++)
        if (__builtin_mul_overflow(d.whole, 10, &d.whole) ||
            __builtin_add_overflow(d.whole, (uint64_t)(*s - '0'), &d.whole))
            error = -ERANGE; /* read on: too large is to be told from nonsense */
    if (*s == '.') {
        if (!is_digit(*++s))
            return -EINVAL;
        for (uint64_t place = 100000000; is_digit(*s); s++, place /= 10)
            d.nano += place * (uint64_t)(*s - '0');
    }
    *cursor = s;
    *out = d;
    return error;
}

/* d * scale, rounded down. */
static int scale_decimal(struct decimal d, uint64_t scale, uint64_t *out)
{
    mw_u128 value = (mw_u128)d.whole * scale + (mw_u128)d.nano * scale / 1000000000;
    if (value > UINT64_MAX)
        return -ERANGE;
    *out = (uint64_t)value;
    return 0;
}

static const char *skip_spaces(const char *s)
{
    while (*s == ' ')
        s++;
    return s;
}

/* Units are ASCII whatever the program's locale says. */
static char lower(char c)
{
    if (c < 'A' || c > 'Z')
        return c;
    return (char)(c - 'A' + 'a');
}

int mw_size_parse(const char *string, uint64_t *out_bytes)
{
    static const char prefixes[] = "kmgtpe";
    const char *s = string;
    struct decimal d;
    int error = parse_decimal(&s, &d);
    if (error == -EINVAL)
        return error;
    s = skip_spaces(s);
    uint64_t scale = 1;
    const char *prefix = *s ? strchr(prefixes, lower(*s)) : NULL;
    if (prefix) {
        scale = UINT64_C(1) << (10 * (prefix - prefixes + 1));
        s++;
        if (lower(*s) == 'i') /* 100Mi, as Kubernetes writes it */
            s++;
    }
    if (lower(*s) == 'b')
        s++;
    if (*s)
        return -EINVAL;
    return error ? error : scale_decimal(d, scale, out_bytes);
}

int mw_share_parse(const char *string, uint32_t *out_ppm)
{
    const char *s = string;
    struct decimal d;
    uint64_t ppm;
    int error = parse_decimal(&s, &d);
    if (error == -EINVAL)
        return error;
    s = skip_spaces(s);
    if (*s++ != '%' || *s)
        return -EINVAL;
    if (error)
        return error;
    error = scale_decimal(d, 10000, &ppm);
    if (error)
        return error;
    if (ppm > 1000000)
        return -ERANGE;
    *out_ppm = (uint32_t)ppm;
    return 0;
}

int mw_percent_parse(const char *string, int *out)
{
    int percent = 0;
    if (strcmp(string, "off") == 0) {
        *out = -1;
        return 0;
    }
    if (!*string)
        return -EINVAL;
    for (const char *digit = string; *digit; digit++) {
        if (*digit < '0' || *digit > '9')
            return -EINVAL;
        percent = percent * 10 + (*digit - '0');
        if (percent > MW_LARGEST_PERCENT)
            return -ERANGE;
    }
    *out = percent;
    return 0;
}

int mw_duration_parse(const char *string, uint64_t *out_ns)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"", 1000000000},
                 {"ns", 1},
                 {"us", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", 60 * 1000000000ULL},
                 {"h", 3600 * 1000000000ULL}};
    const char *s = string;
    struct decimal d;
    int error = parse_decimal(&s, &d);
    if (error == -EINVAL)
        return error;
    s = skip_spaces(s);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(s, units[i].name) == 0)
            return error ? error : scale_decimal(d, units[i].ns, out_ns);
    return -EINVAL;
}

int mw_amount_parse(const char *string, struct mw_amount *out)
{
    struct mw_amount amount = {.kind = MW_AMOUNT_NONE};
    int error = 0;
    if (strcmp(string, "off") == 0) {
        *out = amount;
        return 0;
    }
    if (strchr(string, '%')) {
        amount.kind = MW_AMOUNT_SHARE;
        error = mw_share_parse(string, &amount.share_ppm);
    } else {
        amount.kind = MW_AMOUNT_BYTES;
        error = mw_size_parse(string, &amount.bytes);
    }
    if (!error && amount.bytes == 0 && amount.share_ppm == 0)
        error = -EINVAL;
    if (!error)
        *out = amount;
    return error;
}

uint64_t mw_amount_bytes(struct mw_amount amount, uint64_t whole_bytes)
{
    if (amount.kind == MW_AMOUNT_SHARE)
        return (uint64_t)((mw_u128)whole_bytes * amount.share_ppm / 1000000);
    return amount.kind == MW_AMOUNT_BYTES ? amount.bytes : 0;
}

/* value / unit with one decimal, or none where it would be 0. */
static void put_quotient(struct mw_text *text, uint64_t value, uint64_t unit)
{
    uint64_t tenths = (uint64_t)(((mw_u128)value * 10 + unit / 2) / unit);
    if (tenths % 10)
        mw_text_fixed(text, tenths, 1);
    else
        mw_text_u64(text, tenths / 10);
}

void mw_text_size(struct mw_text *text, uint64_t bytes)
{
    static const char *const names[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    unsigned unit = 0;
    while (unit < 6 && bytes >> (10 * (unit + 1)))
        unit++;
    put_quotient(text, bytes, UINT64_C(1) << (10 * unit));
    mw_text_string(text, names[unit]);
}

void mw_text_duration(struct mw_text *text, uint64_t ns)
{
    if (ns >= 1000000000) {
        put_quotient(text, ns, 1000000000);
        mw_text_string(text, " s");
    } else if (ns >= 1000000) {
        put_quotient(text, ns, 1000000);
        mw_text_string(text, " ms");
    } else {
        put_quotient(text, ns, 1000);
        mw_text_string(text, " us");
    }
}
