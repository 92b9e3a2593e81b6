/* SPDX-License-Identifier: MIT */
#include "base64.h"

#include <errno.h>
#include <string.h>

/* -1: none of the 64. */
static int value_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

long mw_base64_decode(const char *base64, char *out, size_t capacity_bytes)
{
    size_t length = strlen(base64);
    size_t decoded = 0;
    unsigned bits = 0; /* not yet put out: so many of the lowest of `word` */
    unsigned word = 0;
    if (length % 4)
        return -EINVAL;
    for (unsigned padding = 0; padding < 2 && length && base64[length - 1] == '='; padding++)
        length--;
    for (size_t i = 0; i < length; i++) {
        int value = value_of(base64[i]);
        if (value < 0)
            return -EINVAL;
        word = word << 6 | (unsigned)value;
        bits += 6;
        if (bits < 8)
            continue;
        if (decoded == capacity_bytes)
            return -EMSGSIZE;
        bits -= 8;
        out[decoded++] = (char)(word >> bits);
        word &= (1U << bits) - 1;
    }
    return word ? -EINVAL : (long)decoded;
}
