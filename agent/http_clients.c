/* SPDX-License-Identifier: MIT */
#include "http_clients.h"

#include <string.h>

void mw_http_clients_add(struct mw_http_clients *clients, struct mw_http_client *client)
{
    client->next = clients->first;
    clients->first = client;
    clients->count++;
}

void mw_http_clients_remove(struct mw_http_clients *clients, const struct mw_http_client *client)
{
    struct mw_http_client **link = &clients->first;
    while (*link && *link != client)
        link = &(*link)->next;
    if (!*link)
        return;
    *link = client->next;
    if (client->phase != MW_HTTP_GIVEN_UP)
        clients->count--;
}

void mw_http_client_set(struct mw_http_client *client, enum mw_http_phase phase, uint64_t now_ns)
{
    if (client->phase == MW_HTTP_GIVEN_UP)
        return;
    client->phase = phase;
    client->since_ns = now_ns;
}

void mw_http_clients_give_up(struct mw_http_clients *clients, struct mw_http_client *client)
{
    if (client->phase == MW_HTTP_GIVEN_UP)
        return;
    client->phase = MW_HTTP_GIVEN_UP;
    clients->count--;
}

uint64_t mw_http_client_deadline_ns(const struct mw_http_client *client)
{
    static const uint64_t times_ns[] = {
        [MW_HTTP_ASKING] = MW_HTTP_REQUEST_NS, [MW_HTTP_IDLE] = MW_HTTP_IDLE_NS, [MW_HTTP_TAKING] = MW_HTTP_SEND_NS};
    bool has_time = client->phase < sizeof times_ns / sizeof times_ns[0];
    return has_time ? client->since_ns + times_ns[client->phase] : UINT64_MAX;
}

static bool is_neighbour(const struct mw_http_client *a, const struct mw_http_client *b)
{
    return !a->is_local && !b->is_local && memcmp(a->address, b->address, sizeof a->address) == 0;
}

/* Does `a` go before `b`? */
static bool goes_first(const struct mw_http_client *a, const struct mw_http_client *b)
{
    bool a_takes = a->phase == MW_HTTP_TAKING;
    bool b_takes = b->phase == MW_HTTP_TAKING;
    return a_takes == b_takes ? a->since_ns < b->since_ns : b_takes;
}

static bool can_go(const struct mw_http_client *client)
{
    return client->phase != MW_HTTP_WAITING && client->phase != MW_HTTP_GIVEN_UP;
}

bool mw_http_clients_has_room(const struct mw_http_clients *clients)
{
    return clients->count < MW_HTTP_CLIENTS;
}

struct mw_http_client *mw_http_clients_victim(const struct mw_http_clients *clients,
                                              const struct mw_http_client *newcomer)
{
    struct mw_http_client *first = NULL;
    struct mw_http_client *first_neighbour = NULL;
    size_t neighbours = 0;
    for (struct mw_http_client *client = clients->first; client; client = client->next) {
        bool is_near = is_neighbour(client, newcomer);
        neighbours += is_near && client->phase != MW_HTTP_GIVEN_UP;
        if (!can_go(client))
            continue;
        if (!first || goes_first(client, first))
            first = client;
        if (is_near && (!first_neighbour || goes_first(client, first_neighbour)))
            first_neighbour = client;
    }
    if (neighbours >= MW_HTTP_PER_ADDRESS)
        return first_neighbour;
    return mw_http_clients_has_room(clients) ? NULL : first;
}
