/* SPDX-License-Identifier: MIT
 *
 * What a request asks for: the path and the parameters of its target, and the headers that are judged here. Pure, and
 * made for hostile input. What is refused is refused with a sentence for the person behind the client.
 */
#ifndef MW_HTTP_REQUEST_H
#define MW_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "metrics.h"

#define MW_HTTP_TARGET_BYTES    1024 /* longer ones are refused */
#define MW_HTTP_MOST_PARAMETERS 16

struct mw_http_target {
    char bytes[MW_HTTP_TARGET_BYTES]; /* what the pointers point into */
    const char *path;                 /* decoded; begins with a slash */
    unsigned count;
    struct mw_http_parameter {
        const char *name;
        const char *value; /* "" where there is no = */
    } parameters[MW_HTTP_MOST_PARAMETERS];
};

/* "/path?name=value&…", percent-encoded. False: *error says what is wrong with it. */
bool mw_http_target_parse(const char *text, struct mw_http_target *target, struct mw_error *error);

/* The value of a parameter, or NULL. */
const char *mw_http_parameter(const struct mw_http_target *target, const char *name);

/* A whole number within bounds; *value is left alone where the parameter is not there. False: it is there twice, or is
 * anything else, *error says what it takes. */
bool mw_http_number(const struct mw_http_target *target, const char *name, uint64_t least, uint64_t most,
                    uint64_t *value, struct mw_error *error);

/* Is that Host this machine's own loopback, by a name that no DNS server can hand out? "localhost", "127.0.0.1",
 * "[::1]", each with or without a port. */
bool mw_http_is_loopback_host(const char *host);

/* What Accept likes better; text where it likes both as much, or there is no such header (NULL). */
enum mw_metrics_format mw_http_negotiate_metrics(const char *accept);

/* Does Accept-Encoding take gzip? */
bool mw_http_takes_gzip(const char *accept_encoding);

/* Does Authorization hold this token? Takes as long for a wrong one as for the right one. */
bool mw_http_has_token(const char *authorization, const char *token);

#endif
