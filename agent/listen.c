/* SPDX-License-Identifier: MIT */
#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG     512
#define UNIX_PREFIX "unix:"

/* ---- parsing ---- */

static bool parse_unix(const char *path, struct mw_listen *listen, struct mw_error *error)
{
    struct sockaddr_un *local = &listen->address.local;
    if (*path != '/')
        return mw_error_set(error, 0, "unix: takes an absolute path, not \"%s\"", path);
    if (strlen(path) >= sizeof local->sun_path)
        return mw_error_set(error, 0, "the path of a Unix socket has at most %zu bytes: %s", sizeof local->sun_path - 1,
                            path);
    local->sun_family = AF_UNIX;
    snprintf(local->sun_path, sizeof local->sun_path, "%s", path);
    listen->address_bytes = sizeof *local;
    listen->is_unix = true;
    return true;
}

static bool parse_port(const char *text, in_port_t *port)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long number = digits && digits <= 5 && !text[digits] ? strtoul(text, NULL, 10) : UINT16_MAX + 1UL;
    *port = htons((uint16_t)number);
    return number <= UINT16_MAX;
}

static bool parse_address(const char *host, in_port_t port, struct mw_listen *listen)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&listen->address.storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&listen->address.storage;
    char inner[INET6_ADDRSTRLEN + 2];
    size_t length = strlen(host);
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        listen->address_bytes = sizeof *v4;
        listen->is_loopback = ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        return true;
    }
    if (length < 3 || length >= sizeof inner || host[0] != '[' || host[length - 1] != ']')
        return false;
    snprintf(inner, sizeof inner, "%.*s", (int)length - 2, host + 1);
    if (inet_pton(AF_INET6, inner, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    listen->address_bytes = sizeof *v6;
    listen->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    return true;
}

bool mw_listen_parse(const char *word, struct mw_listen *listen, struct mw_error *error)
{
    char host[64];
    in_port_t port;
    *listen = (struct mw_listen){0};
    if (strncmp(word, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(word + strlen(UNIX_PREFIX), listen, error);
    const char *colon = strrchr(word, ':');
    int length = colon ? snprintf(host, sizeof host, "%.*s", (int)(colon - word), word) : -1;
    if (length < 0 || length >= (int)sizeof host || !parse_port(colon + 1, &port) || !parse_address(host, port, listen))
        return mw_error_set(error, 0, "--listen takes " MW_LISTEN_ACCEPTED ", not \"%s\"", word);
    return true;
}

/* ---- opening ---- */

/* Only what is a socket on which nobody listens any more. */
static void remove_left_behind(const struct mw_listen *listen)
{
    struct stat st;
    const char *path = listen->address.local.sun_path;
    if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, &listen->address.any, listen->address_bytes) && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static bool bind_to(int fd, const struct mw_listen *listen)
{
    if (!listen->is_unix)
        return bind(fd, &listen->address.any, listen->address_bytes) == 0;
    remove_left_behind(listen);
    mode_t mask = umask(S_IXUSR | S_IRWXG | S_IRWXO); /* there is no moment at which others could connect */
    bool done = bind(fd, &listen->address.any, listen->address_bytes) == 0;
    int cause = errno;
    umask(mask);
    errno = cause;
    return done;
}

int mw_listen_open(struct mw_listen *listen_at, struct mw_error *error)
{
    char buffer[160];
    struct mw_text name = MW_TEXT(buffer);
    int family = listen_at->address.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0 && !listen_at->is_unix)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fd >= 0 && bind_to(fd, listen_at) && listen(fd, BACKLOG) == 0) {
        socklen_t bytes = sizeof listen_at->address;
        if (!listen_at->is_unix)
            getsockname(fd, &listen_at->address.any, &bytes);
        return fd;
    }
    int cause = errno;
    if (fd >= 0)
        close(fd);
    mw_listen_name(&name, listen_at);
    mw_error_set(error, cause, "cannot listen on %s", buffer);
    return -1;
}

void mw_listen_close(const struct mw_listen *listen, int fd)
{
    close(fd);
    if (listen->is_unix)
        unlink(listen->address.local.sun_path);
}

void mw_listen_name(struct mw_text *out, const struct mw_listen *listen)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&listen->address.storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&listen->address.storage;
    bool is_v6 = listen->address.any.sa_family == AF_INET6;
    char host[INET6_ADDRSTRLEN] = "";
    if (listen->is_unix) {
        mw_text_string(out, UNIX_PREFIX);
        mw_text_string(out, listen->address.local.sun_path);
        return;
    }
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr, host, sizeof host);
    mw_text_string(out, is_v6 ? "http://[" : "http://");
    mw_text_string(out, host);
    mw_text_string(out, is_v6 ? "]:" : ":");
    mw_text_u64(out, ntohs(is_v6 ? v6->sin6_port : v4->sin_port));
    mw_text_char(out, '/');
}
