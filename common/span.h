/* SPDX-License-Identifier: MIT
 *
 * A piece of a text that is not its own, without an end of its own. Pure; any thread, async-signal-safe.
 */
#ifndef MW_SPAN_H
#define MW_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct mw_span {
    const char *start;
    size_t length;
};

static inline struct mw_span mw_span_of(const char *text)
{
    return (struct mw_span){text, strlen(text)};
}

/* Cuts off what stands before the next separator; the rest begins behind it. */
static inline struct mw_span mw_span_cut(struct mw_span *rest, char separator)
{
    const char *at = rest->length ? memchr(rest->start, separator, rest->length) : NULL;
    struct mw_span piece = {rest->start, at ? (size_t)(at - rest->start) : rest->length};
    size_t used = piece.length + (at ? 1 : 0);
    rest->start += used;
    rest->length -= used;
    return piece;
}

static inline bool mw_span_is(struct mw_span span, const char *string)
{
    return span.length == strlen(string) && memcmp(span.start, string, span.length) == 0;
}

static inline bool mw_spans_equal(struct mw_span a, struct mw_span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.start, b.start, a.length) == 0);
}

/* Is it one of the words that commas part? */
static inline bool mw_span_lists(struct mw_span words, const char *word)
{
    while (words.length)
        if (mw_span_is(mw_span_cut(&words, ','), word))
            return true;
    return false;
}

#endif
