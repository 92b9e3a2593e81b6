/* SPDX-License-Identifier: MIT
 *
 * What is between the two halves of the HTTP server: connections and their judging (http_server.c), and answers
 * (http_answer.c). Nobody else's. One thread.
 */
#ifndef MW_HTTP_EXCHANGE_H
#define MW_HTTP_EXCHANGE_H

#include "http_library.h"
#include "http_server.h"
#include "loop.h"

struct mw_http_server {
    struct mw_http_settings settings;
    struct MHD_Daemon *daemon;
    struct mw_loop_source accepting;
    struct mw_loop_source daemon_ready;
    struct mw_http_clients clients;
    uint64_t now_ns;
    uint64_t requests;
    uint64_t evicted;
    uint64_t body_bytes;
};

/* A connection, and the request that is on it. */
struct mw_http_exchange {
    struct mw_http_client client; /* the first member: the list of clients is of these */
    struct mw_http_server *server;
    struct MHD_Connection *connection;
    int fd;
    bool is_announced; /* its headers are here */
    bool is_judged;
    size_t body_bytes;
    unsigned refusal; /* the status that the target deserves; 0: it is good */
    struct mw_error why;
    struct mw_http_target target;
    struct MHD_Response *answer; /* NULL: there is none yet */
    bool is_shared;              /* the answer is a body's */
    unsigned status;
    struct mw_loop_source leaving; /* while it waits */
    void (*gone)(void *context);
    void *gone_context;
};

/* With further headers than all answers have; the line ends with a newline. */
void mw_http_answer_line(struct mw_http_exchange *exchange, unsigned status, const char *line, const char *headers);

/* The answer has been given to libmicrohttpd, or nobody wants it. */
void mw_http_drop_answer(struct mw_http_exchange *exchange);

/* Ends the connection: its socket is shut down, which libmicrohttpd then notices. */
void mw_http_give_up(struct mw_http_exchange *exchange);

/* It waits, and its client does so no more. context: the exchange. */
void mw_http_on_leaving(void *context);

#endif
