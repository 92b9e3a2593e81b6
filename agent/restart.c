/* SPDX-License-Identifier: MIT */
#include "restart.h"

static bool is_wanted(enum mw_restart_policy policy, struct mw_restart_ending ending)
{
    switch (policy) {
    case MW_RESTART_ON_OOM:
        return ending.oom_killed;
    case MW_RESTART_ON_FAILURE:
        return ending.failed;
    case MW_RESTART_ALWAYS:
        return true;
    case MW_RESTART_NO:
        break;
    }
    return false;
}

static uint64_t delay(const struct mw_restart *restart)
{
    uint64_t ns = restart->first_delay_ns;
    for (unsigned i = 0; i < restart->count && ns < MW_RESTART_LONGEST_DELAY_NS; i++)
        ns *= 2;
    /* One that was asked to be longer stays so. */
    uint64_t most =
        restart->first_delay_ns > MW_RESTART_LONGEST_DELAY_NS ? restart->first_delay_ns : MW_RESTART_LONGEST_DELAY_NS;
    return ns < most ? ns : most;
}

struct mw_restart_decision mw_restart_step(struct mw_restart *restart, struct mw_restart_ending ending)
{
    if (!is_wanted(restart->policy, ending))
        return (struct mw_restart_decision){.what = MW_RESTART_END};
    if (ending.ran_ns >= MW_RESTART_GOOD_RUN_NS)
        restart->count = 0;
    if (restart->count >= restart->limit)
        return (struct mw_restart_decision){.what = MW_RESTART_GIVE_UP};
    struct mw_restart_decision again = {.what = MW_RESTART_AGAIN, .delay_ns = delay(restart)};
    restart->count++;
    return again;
}
