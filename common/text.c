/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <string.h>

struct mw_text mw_text_on(char *buffer, size_t capacity_bytes)
{
    buffer[0] = '\0';
    return (struct mw_text){.start = buffer, .capacity_bytes = capacity_bytes};
}

void mw_text_bytes(struct mw_text *text, const char *bytes, size_t count)
{
    size_t room = text->capacity_bytes - text->length - 1;
    if (count > room) {
        count = room;
        text->truncated = true;
    }
    memcpy(text->start + text->length, bytes, count);
    text->length += count;
    text->start[text->length] = '\0';
}

void mw_text_char(struct mw_text *text, char c)
{
    mw_text_bytes(text, &c, 1);
}

void mw_text_string(struct mw_text *text, const char *string)
{
    mw_text_bytes(text, string, strlen(string));
}

static void put_digits(struct mw_text *text, uint64_t value, unsigned at_least)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value || sizeof digits - n < at_least);
    mw_text_bytes(text, digits + n, sizeof digits - n);
}

void mw_text_u64(struct mw_text *text, uint64_t value)
{
    put_digits(text, value, 1);
}

void mw_text_fixed(struct mw_text *text, uint64_t value, unsigned decimals)
{
    uint64_t scale = 1;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    put_digits(text, value / scale, 1);
    if (decimals) {
        mw_text_char(text, '.');
        put_digits(text, value % scale, decimals);
    }
}

void mw_text_double(struct mw_text *text, double value, unsigned decimals)
{
    double scale = 1;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    double scaled = value * scale;
    bool representable = scaled >= 0 && scaled < 1e19; /* false for NaN too */
    uint64_t whole = representable ? (uint64_t)scaled : 0;
    if (representable && scaled - (double)whole >= 0.5) /* exact, unlike scaled + 0.5 */
        whole++;
    mw_text_fixed(text, whole, decimals);
}

size_t mw_text_utf8_length(const char *string)
{
    const unsigned char *s = (const unsigned char *)string;
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] >= 0xa0;
    bool too_high = s[0] == 0xf4 && s[1] >= 0x90;
    return overlong || surrogate || too_high ? 0 : length;
}

void mw_text_json_string(struct mw_text *text, const char *string)
{
    static const char hex[] = "0123456789abcdef";
    mw_text_char(text, '"');
    for (const unsigned char *s = (const unsigned char *)string; *s;) {
        size_t length = mw_text_utf8_length((const char *)s);
        if (length == 0) {
            mw_text_string(text, "\\ufffd");
            s++;
        } else if (*s == '"' || *s == '\\') {
            mw_text_char(text, '\\');
            mw_text_char(text, (char)*s++);
        } else if (*s < 0x20 || *s == 0x7f) {
            char escape[] = {'\\', 'u', '0', '0', hex[*s >> 4], hex[*s & 15]};
            mw_text_bytes(text, escape, sizeof escape);
            s++;
        } else {
            mw_text_bytes(text, (const char *)s, length);
            s += length;
        }
    }
    mw_text_char(text, '"');
}

void mw_text_pad_to(struct mw_text *text, size_t length)
{
    while (text->length < length && !text->truncated)
        mw_text_char(text, ' ');
}
