/* SPDX-License-Identifier: MIT
 *
 * Who has to go where there are too many clients, and when their time is up.
 */
#include "http_clients.h"

#include <stdlib.h>

#include "check.h"

#define S UINT64_C(1000000000)

static struct mw_http_client clients_memory[2 * MW_HTTP_CLIENTS];

/* One that came in second `second`, from the address `from`; 0: from this machine. */
static struct mw_http_client *add(struct mw_http_clients *clients, unsigned index, unsigned second, unsigned from)
{
    struct mw_http_client *client = &clients_memory[index];
    *client = (struct mw_http_client){.phase = MW_HTTP_ASKING, .since_ns = second * S, .is_local = !from};
    client->address[0] = (unsigned char)from;
    mw_http_clients_add(clients, client);
    return client;
}

static void who_has_to_go(void **state)
{
    struct mw_http_clients clients = {0};
    struct mw_http_client newcomer = {.is_local = true};
    (void)state;
    assert_null(mw_http_clients_victim(&clients, &newcomer));
    for (unsigned i = 0; i < MW_HTTP_CLIENTS; i++) {
        assert_true(mw_http_clients_has_room(&clients));
        assert_null(mw_http_clients_victim(&clients, &newcomer));
        add(&clients, i, 1000 - i, 0); /* the last one has been there for longest */
    }
    assert_false(mw_http_clients_has_room(&clients));
    struct mw_http_client *longest = &clients_memory[MW_HTTP_CLIENTS - 1];
    assert_ptr_equal(mw_http_clients_victim(&clients, &newcomer), longest);
    mw_http_client_set(longest, MW_HTTP_TAKING, 0); /* who takes an answer goes after all who do not */
    assert_ptr_equal(mw_http_clients_victim(&clients, &newcomer), longest - 1);
    mw_http_client_set(longest - 1, MW_HTTP_WAITING, 0);
    assert_ptr_equal(mw_http_clients_victim(&clients, &newcomer), longest - 2);
    mw_http_clients_give_up(&clients, longest - 2);
    mw_http_clients_give_up(&clients, longest - 2); /* once is enough */
    assert_int_equal(clients.count, MW_HTTP_CLIENTS - 1);
    assert_null(mw_http_clients_victim(&clients, &newcomer));
    for (unsigned i = 0; i < MW_HTTP_CLIENTS; i++)
        mw_http_client_set(&clients_memory[i], MW_HTTP_TAKING, (i + 1) * S);
    add(&clients, MW_HTTP_CLIENTS, 5000, 0);
    assert_ptr_equal(mw_http_clients_victim(&clients, &newcomer), &clients_memory[MW_HTTP_CLIENTS]);
    mw_http_clients_remove(&clients, &clients_memory[MW_HTTP_CLIENTS]);
    add(&clients, MW_HTTP_CLIENTS, 5000, 0)->phase = MW_HTTP_WAITING;
    assert_ptr_equal(mw_http_clients_victim(&clients, &newcomer), &clients_memory[0]);
    for (unsigned i = 0; i <= MW_HTTP_CLIENTS; i++)
        clients_memory[i].phase = clients_memory[i].phase == MW_HTTP_GIVEN_UP ? MW_HTTP_GIVEN_UP : MW_HTTP_WAITING;
    assert_null(mw_http_clients_victim(&clients, &newcomer));
    assert_false(mw_http_clients_has_room(&clients));
    for (unsigned i = 0; i <= MW_HTTP_CLIENTS; i++)
        mw_http_clients_remove(&clients, &clients_memory[i]);
    assert_int_equal(clients.count, 0);
    assert_null(clients.first);
    mw_http_clients_remove(&clients, &clients_memory[0]);
    assert_int_equal(clients.count, 0);
}

static void one_address_has_its_share(void **state)
{
    struct mw_http_clients clients = {0};
    struct mw_http_client near = {.address = {7}};
    struct mw_http_client far = {.address = {8}};
    struct mw_http_client local = {.is_local = true};
    (void)state;
    add(&clients, 0, 1, 9);
    for (unsigned i = 1; i <= MW_HTTP_PER_ADDRESS; i++)
        add(&clients, i, 10 + i, 7);
    assert_ptr_equal(mw_http_clients_victim(&clients, &near), &clients_memory[1]);
    assert_null(mw_http_clients_victim(&clients, &far));
    assert_null(mw_http_clients_victim(&clients, &local));
}

static void times(void **state)
{
    static const struct {
        const char *label;
        enum mw_http_phase phase;
        uint64_t deadline_ns;
    } cases[] = {
        {"asking", MW_HTTP_ASKING, 5 * S + MW_HTTP_REQUEST_NS},
        {"idle", MW_HTTP_IDLE, 5 * S + MW_HTTP_IDLE_NS},
        {"taking", MW_HTTP_TAKING, 5 * S + MW_HTTP_SEND_NS},
        {"waiting", MW_HTTP_WAITING, UINT64_MAX},
        {"given up", MW_HTTP_GIVEN_UP, UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_http_client client = {0};
        mw_http_client_set(&client, cases[i].phase, 5 * S);
        CHECK_U64(cases[i].label, mw_http_client_deadline_ns(&client), cases[i].deadline_ns);
        mw_http_client_set(&client, MW_HTTP_IDLE, 6 * S); /* nobody comes back from being given up */
        CHECK_I64(cases[i].label, client.phase == MW_HTTP_IDLE, cases[i].phase != MW_HTTP_GIVEN_UP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_to_go),
        cmocka_unit_test(one_address_has_its_share),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests_name("http_clients", tests, NULL, NULL);
}
