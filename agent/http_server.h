/* SPDX-License-Identifier: MIT
 *
 * A small HTTP server for one machine's agent, by libmicrohttpd: who may ask, what there is, and how much of the server
 * a client can take up.
 *
 * Who may ask: on a loopback address whoever calls this machine by a loopback name, so that no page from elsewhere can
 * (DNS rebinding); with a token whoever has it. What there is: the caller's table of routes, for GET and HEAD.
 * How much: a connection has so much memory and time; where there are too many, the slowest gives way to the new one,
 * so that whoever asks at once is answered however many others dawdle.
 *
 * One thread, which calls everything here, and in which every handler runs: none may wait. A handler answers at once,
 * or says that it will later, and may then be told that the client has gone.
 */
#ifndef MW_HTTP_SERVER_H
#define MW_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "http_clients.h"
#include "http_request.h"
#include "listen.h"

#define MW_HTTP_MOST_BYTES (UINT64_C(128) << 20) /* of bodies that are cached or being sent */

struct mw_http_server;
struct mw_http_exchange; /* a request, and its answer to come */

struct mw_http_route {
    const char *path;
    void (*handle)(void *context, struct mw_http_exchange *exchange);
    bool takes_post;  /* besides GET and HEAD; what is posted is not kept */
    const char *help; /* for the list of what there is; "": it is not in it */
};

struct mw_http_settings {
    const struct mw_http_route *routes; /* the last one has no path */
    void *context;                      /* the handlers' */
    const struct mw_listen *listen;     /* which is open */
    int listen_fd;
    const char *token; /* NULL: none is asked for */
    int loop;
};

/* NULL: *error says why. The settings' pointers must stay. */
struct mw_http_server *mw_http_server_new(const struct mw_http_settings *settings, struct mw_error *error);
void mw_http_server_free(struct mw_http_server *server);

/* Does what is to be done, and returns how long it can be left alone, at most. To be called after each wait. */
uint64_t mw_http_server_run(struct mw_http_server *server, uint64_t now_ns);

struct mw_http_counts {
    uint64_t connections;
    uint64_t requests;
    uint64_t evicted;
};
struct mw_http_counts mw_http_server_counts(const struct mw_http_server *server);

/* ---- for handlers ---- */

const struct mw_http_target *mw_http_exchange_target(const struct mw_http_exchange *exchange);
const char *mw_http_exchange_header(const struct mw_http_exchange *exchange, const char *name); /* NULL: none */

/* A sentence, with a newline behind it. */
void mw_http_answer(struct mw_http_exchange *exchange, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A file of the server's own, which is closed afterwards. headers: "Name: value\n" each. */
void mw_http_answer_file(struct mw_http_exchange *exchange, int fd, size_t bytes, const char *headers);

/* Bytes on the heap that several answers share: taken over, and freed when the maker and the last answer are through.
 * NULL: there are so many on their way to slow clients that there can be no more; the bytes are freed. */
struct mw_http_body;
struct mw_http_body *mw_http_body_new(struct mw_http_server *server, void *bytes, size_t count, const char *headers);
void mw_http_body_let_go(struct mw_http_body *body);
void mw_http_answer_body(struct mw_http_exchange *exchange, struct mw_http_body *body); /* not later */

/* The answer comes later. gone(context): the client does not wait for it any more, and there is no exchange. */
void mw_http_answer_later(struct mw_http_exchange *exchange, void (*gone)(void *context), void *context);

#endif
