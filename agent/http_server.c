/* SPDX-License-Identifier: MIT */
#include "http_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "http_exchange.h"
#include "memory.h"
#include "syscall.h"

#define NS_A_MS      UINT64_C(1000000)
#define MEMORY_BYTES 16384 /* for the headers of a request and of its answer; a client that sends more gets a 431 */
#define SPARE        64    /* connections that have been given up and are not closed yet */
#define LINE_BYTES   2048
#define TOO_LONG     414
#define MOST_BODY    (1 << 20)

/* ---- judging ---- */

struct header_count {
    const char *name;
    unsigned count;
};

static enum MHD_Result count_header(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct header_count *header = context;
    (void)kind;
    (void)value;
    header->count += strcasecmp(key, header->name) == 0;
    return MHD_YES;
}

static unsigned header_count(const struct mw_http_exchange *exchange, const char *name)
{
    struct header_count header = {.name = name};
    mw_http_library.MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, count_header, &header);
    return header.count;
}

/* A page from elsewhere cannot choose what Host its reader's browser sends: the name of that elsewhere, which it may
 * have made lead here. */
static bool is_host_allowed(const struct mw_http_exchange *exchange)
{
    const char *host = mw_http_exchange_header(exchange, MHD_HTTP_HEADER_HOST);
    return !exchange->server->settings.listen->is_loopback || !host || mw_http_is_loopback_host(host);
}

/* What a browser sends for a page from elsewhere, unless it follows a link. */
static bool is_cross_site(const struct mw_http_exchange *exchange)
{
    const char *site = mw_http_exchange_header(exchange, "Sec-Fetch-Site");
    const char *mode = mw_http_exchange_header(exchange, "Sec-Fetch-Mode");
    return site && strcmp(site, "cross-site") == 0 && !(mode && strcmp(mode, "navigate") == 0);
}

static const struct mw_http_route *find_route(const struct mw_http_exchange *exchange)
{
    const struct mw_http_route *route = exchange->server->settings.routes;
    while (route->path && strcmp(route->path, exchange->target.path) != 0)
        route++;
    return route->path ? route : NULL;
}

static bool is_method(const char *method, const char *name)
{
    return strcmp(method, name) == 0;
}

static bool takes(const struct mw_http_route *route, const char *method)
{
    return is_method(method, MHD_HTTP_METHOD_GET) || is_method(method, MHD_HTTP_METHOD_HEAD) ||
           (route->takes_post && is_method(method, MHD_HTTP_METHOD_POST));
}

/* A body that somebody waits for, if only for its end. */
static bool has_good_body(const struct mw_http_exchange *exchange, const char *method)
{
    const struct mw_http_route *route = exchange->refusal ? NULL : find_route(exchange);
    return route && route->takes_post && is_method(method, MHD_HTTP_METHOD_POST);
}

static bool has_body(const struct mw_http_exchange *exchange)
{
    const char *length = mw_http_exchange_header(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length && strcmp(length, "0") != 0) || mw_http_exchange_header(exchange, MHD_HTTP_HEADER_TRANSFER_ENCODING);
}

static void refuse_path(struct mw_http_exchange *exchange)
{
    char line[LINE_BYTES];
    struct mw_text text = MW_TEXT(line);
    mw_text_string(&text, "there is nothing by that name; there is");
    for (const struct mw_http_route *route = exchange->server->settings.routes; route->path; route++)
        if (*route->help) {
            mw_text_char(&text, ' ');
            mw_text_string(&text, route->path);
        }
    mw_http_answer(exchange, MHD_HTTP_NOT_FOUND, "%s", line);
}

static void judge(struct mw_http_exchange *exchange, const char *method)
{
    const struct mw_http_settings *settings = &exchange->server->settings;
    const struct mw_http_route *route = exchange->refusal ? NULL : find_route(exchange);
    if (exchange->refusal)
        mw_http_answer(exchange, exchange->refusal, "%s", exchange->why.text);
    else if (header_count(exchange, MHD_HTTP_HEADER_HOST) > 1)
        mw_http_answer(exchange, MHD_HTTP_BAD_REQUEST, "there is more than one Host");
    else if (!is_host_allowed(exchange))
        mw_http_answer(exchange, MHD_HTTP_MISDIRECTED_REQUEST,
                       "this is called localhost, 127.0.0.1 or [::1], not as Host says");
    else if (settings->token && !mw_http_has_token(mw_http_exchange_header(exchange, "Authorization"), settings->token))
        mw_http_answer_line(exchange, MHD_HTTP_UNAUTHORIZED, "this needs the token: Authorization: Bearer TOKEN\n",
                            "WWW-Authenticate: Bearer realm=\"memwatch\"\n");
    else if (is_cross_site(exchange))
        mw_http_answer(exchange, MHD_HTTP_FORBIDDEN, "this is not for other sites' pages");
    else if (!route)
        refuse_path(exchange);
    else if (!takes(route, method))
        mw_http_answer_line(exchange, MHD_HTTP_METHOD_NOT_ALLOWED, "this takes GET and HEAD\n",
                            route->takes_post ? "Allow: GET, HEAD, POST\n" : "Allow: GET, HEAD\n");
    else if (has_body(exchange) && !has_good_body(exchange, method))
        mw_http_answer(exchange, MHD_HTTP_CONTENT_TOO_LARGE, "this takes no body");
    else
        route->handle(settings->context, exchange);
}

/* ---- what libmicrohttpd calls ---- */

static struct mw_http_exchange *exchange_of(struct MHD_Connection *connection)
{
    return mw_http_library.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The target as it was sent: libmicrohttpd's own decoding would end it at a zero byte. */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct mw_http_exchange *exchange = exchange_of(connection);
    (void)context;
    exchange->is_announced = false;
    exchange->is_judged = false;
    exchange->body_bytes = 0;
    exchange->refusal = 0;
    if (!mw_http_target_parse(target, &exchange->target, &exchange->why))
        exchange->refusal = strlen(target) >= MW_HTTP_TARGET_BYTES ? TOO_LONG : MHD_HTTP_BAD_REQUEST;
    return exchange;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_bytes, void **request)
{
    struct mw_http_server *server = context;
    struct mw_http_exchange *exchange = exchange_of(connection);
    (void)url;
    (void)version;
    (void)upload;
    (void)request;
    if (!exchange->is_announced) {
        exchange->is_announced = true;
        if (!has_body(exchange) || has_good_body(exchange, method))
            return MHD_YES; /* an answer that comes as early as that would end the connection */
    }
    if (*upload_bytes) {
        exchange->body_bytes += *upload_bytes;
        *upload_bytes = 0;
        if (exchange->body_bytes > MOST_BODY)
            mw_http_give_up(exchange);
        return MHD_YES;
    }
    if (!exchange->is_judged) {
        exchange->is_judged = true;
        server->requests++;
        judge(exchange, method);
    }
    if (!exchange->answer) {
        mw_http_client_set(&exchange->client, MW_HTTP_WAITING, server->now_ns);
        mw_loop_add(server->settings.loop, &exchange->leaving, exchange->fd, EPOLLRDHUP, mw_http_on_leaving, exchange);
        mw_http_library.MHD_suspend_connection(connection);
        return MHD_YES;
    }
    mw_http_client_set(&exchange->client, MW_HTTP_TAKING, server->now_ns);
    enum MHD_Result result = mw_http_library.MHD_queue_response(connection, exchange->status, exchange->answer);
    mw_http_drop_answer(exchange); /* it is the connection's now */
    return result;
}

static void on_answered(void *context, struct MHD_Connection *connection, void **request,
                        enum MHD_RequestTerminationCode code)
{
    struct mw_http_server *server = context;
    struct mw_http_exchange *exchange = exchange_of(connection);
    struct pollfd half_closed = {.fd = exchange->fd, .events = POLLRDHUP};
    (void)request;
    (void)code;
    mw_http_client_set(&exchange->client, MW_HTTP_IDLE, server->now_ns);
    if (mw_sys_poll(&half_closed, 0) > 0) /* it asks for nothing more; libmicrohttpd may have missed that meanwhile */
        mw_http_give_up(exchange);
}

static void set_address(struct mw_http_client *client, const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    client->is_local = true;
    if (address && address->sa_family == AF_INET) {
        client->is_local = ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        memcpy(client->address, &v4->sin_addr, sizeof v4->sin_addr);
    } else if (address && address->sa_family == AF_INET6) {
        client->is_local = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        memcpy(client->address, &v6->sin6_addr, sizeof v6->sin6_addr);
    }
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct mw_http_server *server = context;
    struct mw_http_exchange *exchange = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        exchange = mw_memory_new(1, sizeof *exchange);
        exchange->server = server;
        exchange->connection = connection;
        exchange->leaving.fd = -1;
        exchange->fd =
            mw_http_library.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        set_address(
            &exchange->client,
            mw_http_library.MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr);
        mw_http_client_set(&exchange->client, MW_HTTP_ASKING, server->now_ns);
        mw_http_clients_add(&server->clients, &exchange->client);
        *socket_context = exchange;
        return;
    }
    mw_http_clients_remove(&server->clients, &exchange->client);
    mw_http_drop_answer(exchange); /* one that was made, and never asked for */
    free(exchange);
}

/* ---- connections ---- */

static struct mw_http_exchange *exchange_with(struct mw_http_client *client)
{
    return (struct mw_http_exchange *)client;
}

static void on_accept(void *context)
{
    struct mw_http_server *server = context;
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof address;
    struct mw_http_client newcomer = {0};
    int fd = accept4(server->settings.listen_fd, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    set_address(&newcomer, (struct sockaddr *)&address);
    struct mw_http_client *victim = mw_http_clients_victim(&server->clients, &newcomer);
    if (victim) {
        server->evicted++;
        mw_http_give_up(exchange_with(victim));
    }
    if (!mw_http_clients_has_room(&server->clients)) {
        server->evicted++;
        close(fd);
        return;
    }
    server->now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    mw_http_library.MHD_add_connection(server->daemon, fd, (struct sockaddr *)&address,
                                       bytes); /* closes it where it fails */
}

/* When the next one's time is up. */
static uint64_t give_up_slow_ones(struct mw_http_server *server)
{
    uint64_t next_ns = UINT64_MAX;
    for (struct mw_http_client *client = server->clients.first; client; client = client->next) {
        uint64_t deadline_ns = mw_http_client_deadline_ns(client);
        if (deadline_ns <= server->now_ns) {
            server->evicted++;
            mw_http_give_up(exchange_with(client));
        } else if (deadline_ns < next_ns) {
            next_ns = deadline_ns;
        }
    }
    return next_ns;
}

/* ---- the whole ---- */

static void on_daemon_ready(void *context)
{
    (void)context; /* mw_http_server_run comes next anyway */
}

static struct MHD_Daemon *start_daemon(struct mw_http_server *server)
{
    return mw_http_library.MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, server,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(MW_HTTP_CLIENTS + SPARE), MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_answered, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
}

struct mw_http_server *mw_http_server_new(const struct mw_http_settings *settings, struct mw_error *error)
{
    if (!mw_http_library_load(error))
        return NULL;
    struct mw_http_server *server = mw_memory_new(1, sizeof *server);
    server->settings = *settings;
    server->accepting.fd = server->daemon_ready.fd = -1;
    server->now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    server->daemon = start_daemon(server);
    if (server->daemon &&
        !mw_loop_add(settings->loop, &server->daemon_ready,
                     mw_http_library.MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, EPOLLIN,
                     on_daemon_ready, NULL) &&
        !mw_loop_add(settings->loop, &server->accepting, settings->listen_fd, EPOLLIN, on_accept, server))
        return server;
    mw_error_set(error, 0, "cannot start the HTTP server");
    mw_http_server_free(server);
    return NULL;
}

void mw_http_server_free(struct mw_http_server *server)
{
    for (struct mw_http_client *client = server->clients.first; client; client = client->next)
        if (exchange_with(client)->gone)
            mw_http_on_leaving(exchange_with(client));
    mw_loop_remove(server->settings.loop, &server->accepting);
    mw_loop_remove(server->settings.loop, &server->daemon_ready);
    if (server->daemon)
        mw_http_library.MHD_stop_daemon(server->daemon);
    free(server);
}

uint64_t mw_http_server_run(struct mw_http_server *server, uint64_t now_ns)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    server->now_ns = now_ns;
    mw_http_library.MHD_run(server->daemon);
    uint64_t next_ns = give_up_slow_ones(server);
    uint64_t left_ns = next_ns - now_ns;
    if (mw_http_library.MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && timeout_ms * NS_A_MS < left_ns)
        left_ns = timeout_ms * NS_A_MS;
    return left_ns;
}

struct mw_http_counts mw_http_server_counts(const struct mw_http_server *server)
{
    return (struct mw_http_counts){server->clients.count, server->requests, server->evicted};
}
