/* SPDX-License-Identifier: MIT
 *
 * Text built into a buffer of the caller's: no allocation, no locale, no stdio.
 *
 * What does not fit is left out and `truncated` says so; the text is always terminated.
 * A struct belongs to one thread at a time. Async-signal-safe.
 */
#ifndef MW_TEXT_H
#define MW_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mw_text {
    char *start;
    size_t capacity_bytes;
    size_t length;
    bool truncated;
};

/* capacity_bytes is at least 1. */
struct mw_text mw_text_on(char *buffer, size_t capacity_bytes);
#define MW_TEXT(array) mw_text_on(array, sizeof(array))

void mw_text_char(struct mw_text *text, char c);
void mw_text_string(struct mw_text *text, const char *string);
void mw_text_bytes(struct mw_text *text, const char *bytes, size_t count);
void mw_text_u64(struct mw_text *text, uint64_t value);
/* value / 10^decimals, with that many decimals (at most 19): (1234, 2) is 12.34. */
void mw_text_fixed(struct mw_text *text, uint64_t value, unsigned decimals);
/* A number from 0 up, with that many decimals (at most 9), rounded. Not finite, below 0 or beyond 64 bits when scaled:
 * 0. */
void mw_text_double(struct mw_text *text, double value, unsigned decimals);
/* In quotes, escaped as JSON wants it; bytes that are not UTF-8 become U+FFFD. */
void mw_text_json_string(struct mw_text *text, const char *string);
/* The length of the well-formed UTF-8 sequence that begins there, or 0. */
size_t mw_text_utf8_length(const char *string);
/* Spaces until the text is `length` long. */
void mw_text_pad_to(struct mw_text *text, size_t length);

#endif
