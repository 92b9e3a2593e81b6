/* SPDX-License-Identifier: MIT
 *
 * The counters of deaths.
 */
#include "deaths.h"

#include <stdio.h>

#include "check.h"

static void a_row_outlives_its_processes(void **state)
{
    struct mw_deaths deaths = {0};
    (void)state;
    struct mw_death_row *first = mw_deaths_hold(&deaths, "comm=\"a\"");
    struct mw_death_row *second = mw_deaths_hold(&deaths, "comm=\"a\"");
    struct mw_death_row *other = mw_deaths_hold(&deaths, "comm=\"b\"");
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, other);
    first->deaths.counts[MW_DEATH_EXIT]++;
    mw_deaths_let_go(&deaths, first);
    mw_deaths_let_go(&deaths, first);
    assert_int_equal(deaths.count, 2);
    assert_int_equal(deaths.idle, 1);
    assert_ptr_equal(mw_deaths_hold(&deaths, "comm=\"a\""), first);
    assert_int_equal(first->deaths.counts[MW_DEATH_EXIT], 1);
    assert_int_equal(deaths.idle, 0);
    mw_deaths_free(&deaths);
}

static void the_oldest_names_are_forgotten(void **state)
{
    struct mw_deaths deaths = {0};
    char labels[32];
    (void)state;
    struct mw_death_row *lasting = mw_deaths_hold(&deaths, "lasting");
    for (unsigned i = 0; i < 3 * MW_DEATHS_MOST_IDLE; i++) {
        snprintf(labels, sizeof labels, "job-%u", i);
        mw_deaths_let_go(&deaths, mw_deaths_hold(&deaths, labels));
    }
    assert_int_equal(deaths.count, MW_DEATHS_MOST_IDLE + 1);
    assert_int_equal(deaths.idle, MW_DEATHS_MOST_IDLE);
    assert_ptr_equal(deaths.rows[0], lasting);
    snprintf(labels, sizeof labels, "job-%d", 2 * MW_DEATHS_MOST_IDLE);
    assert_string_equal(deaths.rows[1]->deaths.labels, labels);
    mw_deaths_free(&deaths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_outlives_its_processes),
        cmocka_unit_test(the_oldest_names_are_forgotten),
    };
    return cmocka_run_group_tests_name("deaths", tests, NULL, NULL);
}
