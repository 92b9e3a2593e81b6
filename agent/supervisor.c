/* SPDX-License-Identifier: MIT */
#include "supervisor.h"

#include <signal.h>

static uint64_t later(uint64_t now_ns, uint64_t ns)
{
    return ns < MW_SUPERVISOR_NEVER - now_ns ? now_ns + ns : MW_SUPERVISOR_NEVER;
}

static bool asks_to_stop(const struct mw_supervisor_event *event)
{
    return event->signal == SIGINT || event->signal == SIGTERM || event->signal == SIGQUIT ||
           (event->signal == SIGHUP && event->is_from_terminal);
}

static bool asks_to_suspend(const struct mw_supervisor_event *event)
{
    return event->signal == SIGTSTP || event->signal == SIGTTIN || event->signal == SIGTTOU;
}

static bool is_running(const struct mw_supervisor *supervisor)
{
    return supervisor->phase == MW_SUPERVISOR_RUNNING;
}

/* A program that heeds no SIGTSTP runs on, and we with it: so it takes both, the signal and its effect. */
static bool suspends_now(struct mw_supervisor *supervisor)
{
    if (!supervisor->wants_suspend || (is_running(supervisor) && !supervisor->is_suspended))
        return false;
    supervisor->wants_suspend = false;
    return true;
}

static void end(struct mw_supervisor *supervisor, struct mw_supervisor_orders *orders)
{
    supervisor->phase = MW_SUPERVISOR_DONE;
    orders->end = true;
}

static void take_signal(struct mw_supervisor *supervisor, const struct mw_supervisor_event *event,
                        struct mw_supervisor_orders *orders, uint64_t now_ns)
{
    orders->pass_on = is_running(supervisor) && !event->is_from_terminal && !event->is_from_program;
    if (asks_to_stop(event) && !event->is_from_program) {
        if (!supervisor->is_stopping && is_running(supervisor) && supervisor->stop_timeout_ns != MW_SUPERVISOR_NEVER)
            supervisor->kill_ns = later(now_ns, supervisor->stop_timeout_ns);
        supervisor->is_stopping = true;
        if (supervisor->phase == MW_SUPERVISOR_WAITING)
            end(supervisor, orders);
    }
    if (asks_to_suspend(event))
        supervisor->wants_suspend = true;
    if (event->signal == SIGCONT)
        supervisor->wants_suspend = supervisor->is_suspended = false;
}

static void take_end(struct mw_supervisor *supervisor, const struct mw_supervisor_event *event,
                     struct mw_supervisor_orders *orders)
{
    supervisor->phase = MW_SUPERVISOR_CLEARING;
    supervisor->exit_status = event->exit_status;
    supervisor->is_suspended = false;
    supervisor->wants_suspend = false; /* it has not heeded that one */
    supervisor->has_left_behind = false;
    supervisor->next = (struct mw_restart_decision){.what = MW_RESTART_END};
    if (!supervisor->is_stopping)
        supervisor->next = mw_restart_step(&supervisor->restart, event->ending);
    orders->clear = true;
}

static void go_on(struct mw_supervisor *supervisor, struct mw_supervisor_orders *orders, uint64_t now_ns)
{
    supervisor->kill_ns = 0;
    if (supervisor->next.what != MW_RESTART_AGAIN || supervisor->is_stopping) {
        end(supervisor, orders);
        return;
    }
    supervisor->phase = MW_SUPERVISOR_WAITING;
    supervisor->start_ns = later(now_ns, supervisor->next.delay_ns);
}

static void press_leftovers(struct mw_supervisor *supervisor, struct mw_supervisor_orders *orders, uint64_t now_ns)
{
    bool is_timed = supervisor->stop_timeout_ns != MW_SUPERVISOR_NEVER;
    if (!supervisor->kill_ns) {
        supervisor->kill_ns = later(now_ns, is_timed ? supervisor->stop_timeout_ns : MW_SUPERVISOR_LEFTOVERS_NS);
        orders->signal_all = SIGTERM;
    } else if (now_ns >= later(supervisor->kill_ns, MW_SUPERVISOR_CLEARING_NS)) {
        orders->give_up = true;
        go_on(supervisor, orders, now_ns);
    } else if (now_ns >= supervisor->kill_ns) {
        orders->signal_all = SIGKILL;
    } else if (!supervisor->has_left_behind) { /* asked to stop with the program: they may not know yet */
        orders->signal_all = SIGTERM;
    }
    supervisor->has_left_behind = true;
}

static void take_time(struct mw_supervisor *supervisor, struct mw_supervisor_orders *orders, uint64_t now_ns)
{
    switch (supervisor->phase) {
    case MW_SUPERVISOR_RUNNING:
        if (supervisor->kill_ns && now_ns >= supervisor->kill_ns) {
            orders->signal_all = SIGKILL;
            orders->is_overdue = true;
            supervisor->kill_ns = later(now_ns, MW_SUPERVISOR_LEFTOVERS_NS); /* once more: it may just have forked */
        }
        break;
    case MW_SUPERVISOR_CLEARING:
        orders->clear = true;
        break;
    case MW_SUPERVISOR_WAITING:
        orders->start = now_ns >= supervisor->start_ns;
        break;
    case MW_SUPERVISOR_STARTING:
    case MW_SUPERVISOR_DONE:
        break;
    }
    if (orders->start)
        supervisor->phase = MW_SUPERVISOR_STARTING;
}

static uint64_t wake_ns(const struct mw_supervisor *supervisor, uint64_t now_ns)
{
    switch (supervisor->phase) {
    case MW_SUPERVISOR_RUNNING:
        return supervisor->kill_ns ? supervisor->kill_ns : MW_SUPERVISOR_NEVER;
    case MW_SUPERVISOR_CLEARING:
        return later(now_ns, MW_SUPERVISOR_LOOK_AGAIN_NS);
    case MW_SUPERVISOR_WAITING:
        return supervisor->start_ns;
    case MW_SUPERVISOR_STARTING:
    case MW_SUPERVISOR_DONE:
        break;
    }
    return MW_SUPERVISOR_NEVER;
}

struct mw_supervisor_orders mw_supervisor_step(struct mw_supervisor *supervisor,
                                               const struct mw_supervisor_event *event, uint64_t now_ns)
{
    struct mw_supervisor_orders orders = {0};
    switch (event->kind) {
    case MW_EVENT_BEGIN:
        orders.start = true;
        break;
    case MW_EVENT_STARTED:
        supervisor->phase = MW_SUPERVISOR_RUNNING;
        break;
    case MW_EVENT_FAILED:
        supervisor->exit_status = event->exit_status;
        end(supervisor, &orders);
        break;
    case MW_EVENT_SIGNAL:
        take_signal(supervisor, event, &orders, now_ns);
        break;
    case MW_EVENT_SUSPENDED:
        supervisor->is_suspended = true;
        break;
    case MW_EVENT_CONTINUED:
        supervisor->is_suspended = false;
        break;
    case MW_EVENT_ENDED:
        take_end(supervisor, event, &orders);
        break;
    case MW_EVENT_CLEARED:
        go_on(supervisor, &orders, now_ns);
        break;
    case MW_EVENT_NOT_CLEARED:
        press_leftovers(supervisor, &orders, now_ns);
        break;
    case MW_EVENT_TIME:
        take_time(supervisor, &orders, now_ns);
        break;
    }
    orders.suspend = suspends_now(supervisor);
    orders.wake_ns = wake_ns(supervisor, now_ns);
    return orders;
}
