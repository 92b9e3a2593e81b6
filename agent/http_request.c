/* SPDX-License-Identifier: MIT
 *
 * RFC 9110 (Accept, Host, Authorization), RFC 3986 (targets), RFC 6750 (Bearer).
 */
#include "http_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "span.h"

#define SPACES " \t"

/* ---- the target ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes in place. False: an escape is none, or stands for what no path or parameter of ours holds. */
static bool decode(char *text, bool plus_is_space)
{
    char *out = text;
    for (const char *in = text; *in; in++) {
        char c = *in;
        if (c == '%') {
            int high = hex_value(in[1]);
            int low = high < 0 ? -1 : hex_value(in[2]);
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            in += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if ((unsigned char)c < ' ' || (unsigned char)c >= 0x7f)
            return false;
        *out++ = c;
    }
    *out = '\0';
    return true;
}

static bool parse_query(char *query, struct mw_http_target *target, struct mw_error *error)
{
    for (char *part; (part = strsep(&query, "&"));) {
        char *value = strchr(part, '=');
        if (!*part)
            continue;
        if (target->count == MW_HTTP_MOST_PARAMETERS)
            return mw_error_set(error, 0, "there are more than %d parameters", MW_HTTP_MOST_PARAMETERS);
        if (value)
            *value++ = '\0';
        if (!decode(part, true) || (value && !decode(value, true)))
            return mw_error_set(error, 0, "a parameter holds what is no text");
        target->parameters[target->count++] = (struct mw_http_parameter){part, value ? value : ""};
    }
    return true;
}

bool mw_http_target_parse(const char *text, struct mw_http_target *target, struct mw_error *error)
{
    size_t length = strlen(text);
    if (length >= sizeof target->bytes)
        return mw_error_set(error, 0, "the address is longer than %d bytes", MW_HTTP_TARGET_BYTES - 1);
    memcpy(target->bytes, text, length + 1);
    target->path = target->bytes;
    target->count = 0;
    if (*target->path != '/')
        return mw_error_set(error, 0, "the address does not begin with a slash");
    char *query = strchr(target->bytes, '?');
    if (query)
        *query++ = '\0';
    if (!decode(target->bytes, false))
        return mw_error_set(error, 0, "the path holds what is no text");
    return !query || parse_query(query, target, error);
}

static const char *parameter(const struct mw_http_target *target, const char *name, unsigned *count)
{
    const char *value = NULL;
    *count = 0;
    for (unsigned i = 0; i < target->count; i++)
        if (strcmp(target->parameters[i].name, name) == 0) {
            value = target->parameters[i].value;
            (*count)++;
        }
    return value;
}

const char *mw_http_parameter(const struct mw_http_target *target, const char *name)
{
    unsigned count;
    return parameter(target, name, &count);
}

bool mw_http_number(const struct mw_http_target *target, const char *name, uint64_t least, uint64_t most,
                    uint64_t *value, struct mw_error *error)
{
    unsigned count;
    const char *text = parameter(target, name, &count);
    if (!count)
        return true;
    if (count > 1)
        return mw_error_set(error, 0, "%s= is there %u times", name, count);
    size_t digits = strspn(text, "0123456789");
    uint64_t number = digits && digits < 19 && !text[digits] ? strtoull(text, NULL, 10) : UINT64_MAX;
    if (number < least || number > most)
        return mw_error_set(error, 0, "%s= takes a number from %llu to %llu, not \"%.40s\"", name,
                            (unsigned long long)least, (unsigned long long)most, text);
    *value = number;
    return true;
}

/* ---- Host ---- */

bool mw_http_is_loopback_host(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i]);
        if (strncasecmp(host, names[i], length) != 0)
            continue;
        const char *port = host + length;
        if (!*port)
            return true;
        size_t digits = *port == ':' ? strspn(port + 1, "0123456789") : 0;
        if (digits && digits <= 5 && !port[1 + digits])
            return true;
    }
    return false;
}

/* ---- lists of what is accepted ---- */

static struct mw_span trimmed(struct mw_span span)
{
    while (span.length && strchr(SPACES, span.start[0])) {
        span.start++;
        span.length--;
    }
    while (span.length && strchr(SPACES, span.start[span.length - 1]))
        span.length--;
    return span;
}

/* Cuts off what stands before the next separator that is in no quotes. */
static struct mw_span cut(struct mw_span *rest, char separator)
{
    bool is_quoted = false;
    size_t i = 0;
    for (; i < rest->length && (is_quoted || rest->start[i] != separator); i++)
        if (rest->start[i] == '"')
            is_quoted = !is_quoted;
    struct mw_span piece = {rest->start, i};
    size_t used = i + (i < rest->length);
    rest->start += used;
    rest->length -= used;
    return trimmed(piece);
}

static bool equals(struct mw_span span, const char *text)
{
    return span.length == strlen(text) && strncasecmp(span.start, text, span.length) == 0;
}

static struct mw_span unquoted(struct mw_span span)
{
    bool is_quoted = span.length >= 2 && span.start[0] == '"' && span.start[span.length - 1] == '"';
    return is_quoted ? (struct mw_span){span.start + 1, span.length - 2} : span;
}

/* "0.75" as 750; what is no such number as 0. */
static unsigned parse_quality(struct mw_span text)
{
    unsigned value = 0;
    unsigned scale = 1000;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.start[i];
        if (i == 1 ? c != '.' : c < '0' || c > '9')
            return 0;
        if (i == 1)
            continue;
        value += scale * (unsigned)(c - '0');
        scale /= 10;
    }
    return text.length && value <= 1000 ? value : 0;
}

/* One item of a list: what it names, its version and how much it is liked, in thousandths. */
struct item {
    struct mw_span name;
    struct mw_span version; /* empty: none is given */
    unsigned quality;
};

static struct item parse_item(struct mw_span text)
{
    struct item item = {.name = cut(&text, ';'), .quality = 1000};
    while (text.length) {
        struct mw_span value = cut(&text, ';');
        struct mw_span name = cut(&value, '=');
        if (equals(name, "q"))
            item.quality = parse_quality(unquoted(value));
        else if (equals(name, "version"))
            item.version = unquoted(trimmed(value));
    }
    return item;
}

static struct mw_span whole(const char *header)
{
    return (struct mw_span){header ? header : "", header ? strlen(header) : 0};
}

/* How much a type is liked, and how exactly it was named: 3 as itself, 2 with its kind, 1 with all. */
struct liking {
    unsigned exactness;
    unsigned quality;
};

static void consider(struct liking *liking, unsigned exactness, unsigned quality)
{
    bool is_better = exactness > liking->exactness || (exactness == liking->exactness && quality > liking->quality);
    if (is_better)
        *liking = (struct liking){exactness, quality};
}

static struct liking liking_of(const char *accept, const char *type, const char *kind, const char *version)
{
    struct liking liking = {0};
    for (struct mw_span rest = whole(accept); rest.length;) {
        struct item item = parse_item(cut(&rest, ','));
        bool is_version = !item.version.length || equals(item.version, version);
        if (equals(item.name, type) && is_version)
            consider(&liking, 3, item.quality);
        else if (equals(item.name, kind))
            consider(&liking, 2, item.quality);
        else if (equals(item.name, "*/*"))
            consider(&liking, 1, item.quality);
    }
    return liking;
}

enum mw_metrics_format mw_http_negotiate_metrics(const char *accept)
{
    struct liking text = liking_of(accept, "text/plain", "text/*", "0.0.4");
    struct liking open = liking_of(accept, "application/openmetrics-text", "application/*", "1.0.0");
    if (open.quality != text.quality)
        return open.quality > text.quality ? MW_METRICS_OPENMETRICS : MW_METRICS_TEXT;
    return open.quality && open.exactness > text.exactness ? MW_METRICS_OPENMETRICS : MW_METRICS_TEXT;
}

bool mw_http_takes_gzip(const char *accept_encoding)
{
    struct liking gzip = {0};
    for (struct mw_span rest = whole(accept_encoding); rest.length;) {
        struct item item = parse_item(cut(&rest, ','));
        if (equals(item.name, "gzip"))
            consider(&gzip, 2, item.quality);
        else if (equals(item.name, "*"))
            consider(&gzip, 1, item.quality);
    }
    return gzip.quality;
}

/* ---- Authorization ---- */

bool mw_http_has_token(const char *authorization, const char *token)
{
    static const char scheme[] = "Bearer ";
    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *given = authorization + sizeof scheme - 1;
    given += strspn(given, SPACES);
    size_t length = strlen(given);
    size_t token_length = strlen(token);
    unsigned char different = length != token_length;
    for (size_t i = 0; i < token_length; i++)
        different |= (unsigned char)(given[i < length ? i : length] ^ token[i]);
    return !different;
}
