/* SPDX-License-Identifier: MIT
 *
 * Where a server listens: an address of this machine and a port, or a Unix socket.
 *
 * Descriptors are the caller's. Any thread.
 */
#ifndef MW_LISTEN_H
#define MW_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "error.h"
#include "text.h"

#define MW_LISTEN_ACCEPTED "ADDRESS:PORT, such as 127.0.0.1:9464, [::1]:9464 or localhost:9464, or unix:/absolute/path"

struct mw_listen {
    union {
        struct sockaddr any;
        struct sockaddr_un local;
        struct sockaddr_storage storage;
    } address;
    socklen_t address_bytes;
    bool is_unix;     /* nobody but this user and root can connect */
    bool is_loopback; /* nobody but processes of this machine */
};

/* False: it is none, *error says what is accepted. No name is looked up. */
bool mw_listen_parse(const char *word, struct mw_listen *listen, struct mw_error *error);

/* Listens, without blocking; the address then has the port that was got where 0 was asked for. A socket that nobody
 * listens on any more is replaced. -1: *error says why. */
int mw_listen_open(struct mw_listen *listen, struct mw_error *error);

/* Closes it, and removes the Unix socket. */
void mw_listen_close(const struct mw_listen *listen, int fd);

/* "http://127.0.0.1:9464/", "unix:/path". */
void mw_listen_name(struct mw_text *out, const struct mw_listen *listen);

#endif
