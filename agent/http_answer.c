/* SPDX-License-Identifier: MIT
 *
 * Answers: made at once, later, or once for many.
 */
#include <stdarg.h>
#include <stdio.h>

#include "http_exchange.h"
#include "memory.h"

#define LINE_BYTES 2048

struct mw_http_body {
    struct MHD_Response *response;
};

struct body_bytes {
    void *bytes;
    size_t count;
    struct mw_http_server *server;
};

static void add_headers(struct MHD_Response *response, const char *headers)
{
    char line[256];
    while (*headers) {
        size_t length = strcspn(headers, "\n");
        snprintf(line, sizeof line, "%.*s", (int)length, headers);
        char *colon = strstr(line, ": ");
        if (colon) {
            *colon = '\0';
            mw_http_library.MHD_add_response_header(response, line, colon + 2);
        }
        headers += length + (headers[length] == '\n');
    }
}

#define COMMON_HEADERS                                                                                                 \
    "X-Content-Type-Options: nosniff\nCache-Control: no-store\nCross-Origin-Resource-Policy: same-origin\n"

static void give(struct mw_http_exchange *exchange, unsigned status, struct MHD_Response *response)
{
    bool was_waiting = exchange->gone;
    exchange->answer = response;
    exchange->status = status;
    exchange->gone = NULL;
    if (was_waiting) {
        mw_loop_remove(exchange->server->settings.loop, &exchange->leaving);
        mw_http_library.MHD_resume_connection(exchange->connection);
    }
}

/* After a refusal the connection ends: what follows may be a body that nobody wants. */
void mw_http_answer_line(struct mw_http_exchange *exchange, unsigned status, const char *line, const char *headers)
{
    struct MHD_Response *response =
        mw_http_library.MHD_create_response_from_buffer(strlen(line), (void *)line, MHD_RESPMEM_MUST_COPY);
    if (!response)
        abort();
    add_headers(response, COMMON_HEADERS "Content-Type: text/plain; charset=utf-8\n");
    add_headers(response, headers);
    if (status >= MHD_HTTP_BAD_REQUEST && status < MHD_HTTP_INTERNAL_SERVER_ERROR)
        add_headers(response, "Connection: close\n");
    give(exchange, status, response);
}

void mw_http_answer(struct mw_http_exchange *exchange, unsigned status, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it does not see that it has been started
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    size_t end = length < (int)sizeof line - 2 ? (size_t)length : sizeof line - 2;
    line[end] = '\n';
    line[end + 1] = '\0';
    mw_http_answer_line(exchange, status, line, status == MHD_HTTP_SERVICE_UNAVAILABLE ? "Retry-After: 5\n" : "");
}

void mw_http_answer_file(struct mw_http_exchange *exchange, int fd, size_t bytes, const char *headers)
{
    struct MHD_Response *response = mw_http_library.MHD_create_response_from_fd(bytes, fd);
    if (!response)
        abort();
    add_headers(response, COMMON_HEADERS);
    add_headers(response, headers);
    give(exchange, MHD_HTTP_OK, response);
}

static void free_body_bytes(void *context)
{
    struct body_bytes *bytes = context;
    bytes->server->body_bytes -= bytes->count;
    free(bytes->bytes);
    free(bytes);
}

struct mw_http_body *mw_http_body_new(struct mw_http_server *server, void *bytes, size_t count, const char *headers)
{
    if (server->body_bytes + count > MW_HTTP_MOST_BYTES) {
        free(bytes);
        return NULL;
    }
    struct body_bytes *owner = mw_memory_new(1, sizeof *owner);
    struct mw_http_body *body = mw_memory_new(1, sizeof *body);
    *owner = (struct body_bytes){bytes, count, server};
    server->body_bytes += count;
    body->response =
        mw_http_library.MHD_create_response_from_buffer_with_free_callback_cls(count, bytes, free_body_bytes, owner);
    if (!body->response)
        abort();
    add_headers(body->response, COMMON_HEADERS);
    add_headers(body->response, headers);
    return body;
}

void mw_http_body_let_go(struct mw_http_body *body)
{
    if (body)
        mw_http_library.MHD_destroy_response(body->response); /* counted: answers that are under way have it still */
    free(body);
}

void mw_http_answer_body(struct mw_http_exchange *exchange, struct mw_http_body *body)
{
    exchange->is_shared = true;
    give(exchange, MHD_HTTP_OK, body->response);
}

/* ---- answers that come later ---- */

/* Its socket is shut down, which libmicrohttpd then notices. */
void mw_http_give_up(struct mw_http_exchange *exchange)
{
    mw_http_clients_give_up(&exchange->server->clients, &exchange->client);
    shutdown(exchange->fd, SHUT_RDWR);
}

void mw_http_on_leaving(void *context)
{
    struct mw_http_exchange *exchange = context;
    exchange->gone(exchange->gone_context);
    mw_http_give_up(exchange);
    mw_http_answer(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "you have gone");
}

void mw_http_answer_later(struct mw_http_exchange *exchange, void (*gone)(void *context), void *context)
{
    exchange->gone = gone;
    exchange->gone_context = context;
}

const struct mw_http_target *mw_http_exchange_target(const struct mw_http_exchange *exchange)
{
    return &exchange->target;
}

const char *mw_http_exchange_header(const struct mw_http_exchange *exchange, const char *name)
{
    return mw_http_library.MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

void mw_http_drop_answer(struct mw_http_exchange *exchange)
{
    if (exchange->answer && !exchange->is_shared)
        mw_http_library.MHD_destroy_response(exchange->answer);
    exchange->answer = NULL;
    exchange->is_shared = false;
}
