/* SPDX-License-Identifier: MIT */
#include "supervisor.h"

#include <signal.h>

#include "check.h"

#define MS UINT64_C(1000000)
#define S  (1000 * MS)

static struct mw_supervisor supervisor;
static uint64_t now_ns;

/* One that always restarts, after a second. */
static void begin(uint64_t stop_timeout_ns)
{
    now_ns = 1000 * S;
    supervisor = (struct mw_supervisor){.restart = {.policy = MW_RESTART_ALWAYS,
                                                    .first_delay_ns = S,
                                                    .longest_delay_ns = 30 * S,
                                                    .growth = 2,
                                                    .good_run_ns = 60 * S,
                                                    .limit = 2},
                                        .stop_timeout_ns = stop_timeout_ns};
}

static struct mw_supervisor_orders step(struct mw_supervisor_event event)
{
    return mw_supervisor_step(&supervisor, &event, now_ns);
}

static struct mw_supervisor_orders happens(enum mw_supervisor_event_kind kind)
{
    return step((struct mw_supervisor_event){.kind = kind});
}

static struct mw_supervisor_orders signalled(int signal, bool is_from_terminal)
{
    return step(
        (struct mw_supervisor_event){.kind = MW_EVENT_SIGNAL, .signal = signal, .is_from_terminal = is_from_terminal});
}

static struct mw_supervisor_orders ended(int exit_status)
{
    return step((struct mw_supervisor_event){
        .kind = MW_EVENT_ENDED, .exit_status = exit_status, .ending = {.failed = exit_status != 0}});
}

static void run(uint64_t stop_timeout_ns)
{
    begin(stop_timeout_ns);
    assert_true(happens(MW_EVENT_BEGIN).start);
    assert_int_equal(happens(MW_EVENT_STARTED).wake_ns, MW_SUPERVISOR_NEVER); /* nothing wakes it while all is well */
}

static void a_life(void **state)
{
    (void)state;
    run(MW_SUPERVISOR_NEVER);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(ended(3).clear);
        struct mw_supervisor_orders waits = happens(MW_EVENT_CLEARED);
        assert_false(waits.start || waits.end);
        assert_int_equal(waits.wake_ns, now_ns + (S << i));
        now_ns = waits.wake_ns - 1;
        assert_false(happens(MW_EVENT_TIME).start);
        now_ns++;
        assert_true(happens(MW_EVENT_TIME).start);
        happens(MW_EVENT_STARTED);
    }
    assert_true(ended(4).clear);
    assert_int_equal(supervisor.next.what, MW_RESTART_GIVE_UP);
    assert_true(happens(MW_EVENT_CLEARED).end);
    assert_int_equal(supervisor.exit_status, 4);
}

static void what_cannot_be_started_is_the_end(void **state)
{
    (void)state;
    begin(MW_SUPERVISOR_NEVER);
    happens(MW_EVENT_BEGIN);
    assert_true(step((struct mw_supervisor_event){.kind = MW_EVENT_FAILED, .exit_status = 127}).end);
    assert_int_equal(supervisor.exit_status, 127);
}

/* All that can be sent, by whom, and what becomes of it while the program runs. */
static void signals_are_passed_on_and_some_mean_us_too(void **state)
{
    (void)state;
    for (int signal = 1; signal <= 64; signal++) {
        bool stops = signal == SIGINT || signal == SIGTERM || signal == SIGQUIT;
        for (int who = 0; who < 3; who++) {
            struct mw_supervisor_event event = {
                .kind = MW_EVENT_SIGNAL, .signal = signal, .is_from_terminal = who == 1, .is_from_program = who == 2};
            run(MW_SUPERVISOR_NEVER);
            struct mw_supervisor_orders orders = step(event);
            assert_int_equal(orders.pass_on, who == 0);
            assert_int_equal(supervisor.is_stopping, (stops || (signal == SIGHUP && who == 1)) && who != 2);
            assert_false(orders.suspend || orders.signal_all || orders.end);
            ended(0);
            assert_int_equal(happens(MW_EVENT_CLEARED).end, supervisor.is_stopping);
        }
    }
}

static void a_stop_while_it_waits_ends_it_with_the_last_status(void **state)
{
    (void)state;
    run(MW_SUPERVISOR_NEVER);
    ended(7);
    happens(MW_EVENT_CLEARED);
    assert_false(signalled(SIGUSR1, false).pass_on); /* to whom? */
    assert_true(signalled(SIGTERM, false).end);
    assert_int_equal(supervisor.exit_status, 7);
}

static void one_that_does_not_stop_in_time_is_killed_with_all_its_own(void **state)
{
    (void)state;
    run(5 * S);
    assert_int_equal(signalled(SIGUSR1, false).wake_ns, MW_SUPERVISOR_NEVER);
    uint64_t due_ns = now_ns + 5 * S;
    assert_int_equal(signalled(SIGTERM, false).wake_ns, due_ns);
    now_ns += S;
    assert_int_equal(signalled(SIGTERM, false).wake_ns, due_ns); /* asking again gives no more time */
    now_ns = due_ns - 1;
    assert_int_equal(happens(MW_EVENT_TIME).signal_all, 0);
    now_ns = due_ns;
    struct mw_supervisor_orders kills = happens(MW_EVENT_TIME);
    assert_int_equal(kills.signal_all, SIGKILL);
    assert_true(kills.is_overdue);
    ended(137);
    assert_int_equal(happens(MW_EVENT_NOT_CLEARED).signal_all, SIGTERM);
    assert_true(happens(MW_EVENT_CLEARED).end);
}

static void what_it_leaves_behind_is_asked_then_killed_then_given_up(void **state)
{
    static const uint64_t timeouts[][2] = {{MW_SUPERVISOR_NEVER, MW_SUPERVISOR_LEFTOVERS_NS}, {7 * S, 7 * S}, {0, 0}};
    (void)state;
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        run(timeouts[i][0]);
        ended(0);
        uint64_t start_ns = now_ns;
        struct mw_supervisor_orders asks = happens(MW_EVENT_NOT_CLEARED);
        assert_int_equal(asks.signal_all, SIGTERM);
        assert_int_equal(asks.wake_ns, now_ns + MW_SUPERVISOR_LOOK_AGAIN_NS);
        now_ns = start_ns + timeouts[i][1];
        assert_true(happens(MW_EVENT_TIME).clear);
        assert_int_equal(happens(MW_EVENT_NOT_CLEARED).signal_all, SIGKILL);
        now_ns += MW_SUPERVISOR_CLEARING_NS - 1;
        assert_false(happens(MW_EVENT_NOT_CLEARED).give_up);
        now_ns++;
        assert_true(happens(MW_EVENT_NOT_CLEARED).give_up);
        assert_int_equal(supervisor.phase, MW_SUPERVISOR_WAITING); /* and it goes on */
    }
}

/* The polite time of one run is not that of the next. */
static void time_is_counted_anew_in_each_run(void **state)
{
    (void)state;
    run(MW_SUPERVISOR_NEVER);
    ended(0);
    happens(MW_EVENT_NOT_CLEARED);
    now_ns = happens(MW_EVENT_CLEARED).wake_ns;
    happens(MW_EVENT_TIME);
    assert_int_equal(happens(MW_EVENT_STARTED).wake_ns, MW_SUPERVISOR_NEVER);
    now_ns += 100 * S;
    ended(0);
    assert_int_equal(happens(MW_EVENT_NOT_CLEARED).signal_all, SIGTERM);
}

/* Ctrl-Z: it suspends itself once the program has, in whatever order it learns of the two; never for one alone. */
static void it_is_suspended_along_with_the_program(void **state)
{
    static const int signals[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    (void)state;
    for (size_t i = 0; i < COUNT(signals); i++) {
        run(MW_SUPERVISOR_NEVER);
        assert_false(signalled(signals[i], true).suspend);
        assert_true(happens(MW_EVENT_SUSPENDED).suspend);
        assert_true(signalled(SIGCONT, false).pass_on);
        assert_false(happens(MW_EVENT_CONTINUED).suspend);
        assert_false(happens(MW_EVENT_SUSPENDED).suspend); /* somebody means the program alone */
        happens(MW_EVENT_CONTINUED);
        assert_false(happens(MW_EVENT_SUSPENDED).suspend);
        assert_true(signalled(signals[i], true).suspend); /* the other order */
    }
    run(MW_SUPERVISOR_NEVER);
    assert_false(signalled(SIGTSTP, true).suspend); /* the program heeds it not */
    signalled(SIGCONT, false);
    assert_false(happens(MW_EVENT_SUSPENDED).suspend);
    signalled(SIGTSTP, true);
    assert_false(ended(0).suspend); /* that was then */
    assert_false(happens(MW_EVENT_CLEARED).suspend);
    assert_true(signalled(SIGTSTP, true).suspend); /* there is no program to wait for */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life),
        cmocka_unit_test(what_cannot_be_started_is_the_end),
        cmocka_unit_test(signals_are_passed_on_and_some_mean_us_too),
        cmocka_unit_test(a_stop_while_it_waits_ends_it_with_the_last_status),
        cmocka_unit_test(one_that_does_not_stop_in_time_is_killed_with_all_its_own),
        cmocka_unit_test(what_it_leaves_behind_is_asked_then_killed_then_given_up),
        cmocka_unit_test(time_is_counted_anew_in_each_run),
        cmocka_unit_test(it_is_suspended_along_with_the_program),
    };
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
