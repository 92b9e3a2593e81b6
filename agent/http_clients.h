/* SPDX-License-Identifier: MIT
 *
 * Who is connected, what for and since when; and who has to go. Pure: the sockets are the server's.
 *
 * A client asks, or is being answered, or waits for an answer that takes its time, or is idle between two requests. All
 * but waiting has its time. Where there are too many, one gives way to the new one: who has asked for nothing for
 * longest, before who has been taking an answer for longest. So whoever asks at once is served at once.
 *
 * One thread at a time. The structs are the caller's, and stay where they are.
 */
#ifndef MW_HTTP_CLIENTS_H
#define MW_HTTP_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MW_HTTP_CLIENTS       256
#define MW_HTTP_PER_ADDRESS   128
#define MW_HTTP_REQUEST_NS    UINT64_C(10000000000)  /* from connecting to the end of the headers */
#define MW_HTTP_IDLE_NS       UINT64_C(120000000000) /* from one answer to the end of the next headers */
#define MW_HTTP_SEND_NS       UINT64_C(60000000000)  /* for taking an answer */
#define MW_HTTP_ADDRESS_BYTES 16

enum mw_http_phase {
    MW_HTTP_ASKING,
    MW_HTTP_IDLE,
    MW_HTTP_TAKING,
    MW_HTTP_WAITING,
    MW_HTTP_GIVEN_UP /* its socket is shut down, and about to be closed */
};

struct mw_http_client {
    struct mw_http_client *next;
    uint64_t since_ns;
    enum mw_http_phase phase;
    bool is_local; /* of this machine: has no address that would count */
    unsigned char address[MW_HTTP_ADDRESS_BYTES];
};

struct mw_http_clients {
    struct mw_http_client *first; /* the last one that came */
    size_t count;                 /* without those that are given up */
};

void mw_http_clients_add(struct mw_http_clients *clients, struct mw_http_client *client);
void mw_http_clients_remove(struct mw_http_clients *clients, const struct mw_http_client *client);

void mw_http_client_set(struct mw_http_client *client, enum mw_http_phase phase, uint64_t now_ns);

/* Its socket is being shut down. */
void mw_http_clients_give_up(struct mw_http_clients *clients, struct mw_http_client *client);

/* When its time is up; UINT64_MAX: never. */
uint64_t mw_http_client_deadline_ns(const struct mw_http_client *client);

/* Who has to go if one more comes, from this address. NULL: nobody need, or, where there is no room, nobody can: all
 * wait for answers. */
struct mw_http_client *mw_http_clients_victim(const struct mw_http_clients *clients,
                                              const struct mw_http_client *newcomer);
bool mw_http_clients_has_room(const struct mw_http_clients *clients);

#endif
