/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#define DEEPEST 32

/* Each skip_ function returns the place behind what it takes, or NULL where that does not stand there. */
static const char *skip_value(const char *s, unsigned depth);

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *s)
{
    if (!is_digit(*s))
        return NULL;
    while (is_digit(*s))
        s++;
    return s;
}

static const char *skip_number(const char *s)
{
    if (*s == '-')
        s++;
    if (*s == '0' && is_digit(s[1]))
        return NULL;
    s = skip_digits(s);
    if (s && *s == '.')
        s = skip_digits(s + 1);
    if (s && (*s == 'e' || *s == 'E')) {
        s++;
        s = skip_digits(s + (*s == '+' || *s == '-'));
    }
    return s;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    if (!at)
        return -1;
    return (int)(at - digits) < 16 ? (int)(at - digits) : (int)(at - digits) - 6;
}

static long hex4(const char *s)
{
    long value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* An escape as its code point; *s is moved behind it. */
static long take_escape(const char **s)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    const char *at = *++*s ? strchr(letters, **s) : NULL;
    if (at) {
        ++*s;
        return meant[at - letters];
    }
    if (**s != 'u')
        return -1;
    long code = hex4(*s + 1);
    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff))
        return -1;
    *s += 5;
    if (code < 0xd800 || code > 0xdbff)
        return code;
    long low = (*s)[0] == '\\' && (*s)[1] == 'u' ? hex4(*s + 2) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *s += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* A UTF-8 sequence as its code point, by decoding it and asking whether that is its shortest form. */
static long take_utf8(const char **s)
{
    static const long least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *u = (const unsigned char *)*s;
    size_t length = u[0] < 0x80 ? 1 : u[0] >> 5 == 6 ? 2 : u[0] >> 4 == 14 ? 3 : u[0] >> 3 == 30 ? 4 : 0;
    if (!length)
        return -1;
    long code = length == 1 ? u[0] : u[0] & (0x7f >> length);
    for (size_t i = 1; i < length; i++) {
        if (u[i] >> 6 != 2)
            return -1;
        code = code << 6 | (u[i] & 0x3f);
    }
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return -1;
    *s += length;
    return code;
}

static const char *skip_string(const char *s)
{
    if (*s++ != '"')
        return NULL;
    while (*s != '"') {
        if ((unsigned char)*s < 0x20)
            return NULL; /* the text's end too */
        if ((*s == '\\' ? take_escape(&s) : take_utf8(&s)) < 0)
            return NULL;
    }
    return s + 1;
}

/* The members of an object or the elements of an array. */
static const char *skip_list(const char *s, char end, unsigned depth)
{
    s = skip_space(s + 1);
    if (*s == end)
        return s + 1;
    for (;;) {
        if (end == '}') {
            s = skip_string(s);
            s = s ? skip_space(s) : NULL;
            if (!s || *s != ':')
                return NULL;
            s = skip_space(s + 1);
        }
        s = skip_value(s, depth + 1);
        if (!s)
            return NULL;
        s = skip_space(s);
        if (*s == end)
            return s + 1;
        if (*s != ',')
            return NULL;
        s = skip_space(s + 1);
    }
}

static const char *skip_value(const char *s, unsigned depth)
{
    static const char *const words[] = {"true", "false", "null"};
    if (depth > DEEPEST)
        return NULL;
    if (*s == '{')
        return skip_list(s, '}', depth);
    if (*s == '[')
        return skip_list(s, ']', depth);
    if (*s == '"')
        return skip_string(s);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncmp(s, words[i], strlen(words[i])) == 0)
            return s + strlen(words[i]);
    return skip_number(s);
}

bool json_is_valid(const char *text)
{
    const char *end = skip_value(skip_space(text), 0);
    return end && *skip_space(end) == '\0';
}

const char *json_member(const char *object, const char *name)
{
    const char *found = NULL;
    if (*object != '{')
        return NULL;
    for (const char *s = object + 1; *(s = skip_space(s)) == '"';) {
        char key[128];
        bool matches = json_string(s, key, sizeof key) >= 0 && strcmp(key, name) == 0;
        s = skip_space(skip_space(skip_string(s)) + 1);
        if (matches && found)
            return NULL;
        if (matches)
            found = s;
        s = skip_space(skip_value(s, 0));
        s += *s == ',';
    }
    return found;
}

const char *json_element(const char *array, size_t index)
{
    if (*array != '[')
        return NULL;
    for (const char *s = skip_space(array + 1); *s != ']'; s = skip_space(s + (*s == ','))) {
        if (!index--)
            return s;
        s = skip_space(skip_value(s, 0));
    }
    return NULL;
}

size_t json_length(const char *array)
{
    size_t length = 0;
    while (json_element(array, length))
        length++;
    return length;
}

bool json_u64(const char *value, uint64_t *out)
{
    const char *end = value && is_digit(*value) ? skip_number(value) : NULL;
    if (!end || strspn(value, "0123456789") != (size_t)(end - value))
        return false;
    *out = strtoull(value, NULL, 10);
    return true;
}

bool json_double(const char *value, double *out)
{
    if (!value || !skip_number(value))
        return false;
    *out = strtod(value, NULL);
    return true;
}

static size_t put_utf8(long code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(((0xf00 >> length) & 0xff) | code);
    return length;
}

long json_string(const char *value, char *out, size_t capacity_bytes)
{
    size_t length = 0;
    if (!value || !skip_string(value))
        return -1;
    for (const char *s = value + 1; *s != '"';) {
        if (length + 5 > capacity_bytes)
            return -1;
        length += put_utf8(*s == '\\' ? take_escape(&s) : take_utf8(&s), out + length);
    }
    out[length] = '\0';
    return (long)length;
}
