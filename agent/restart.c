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
    uint64_t most = ns > restart->longest_delay_ns ? ns : restart->longest_delay_ns;
    unsigned times = restart->growth > 1 && ns ? restart->count : 0;
    for (; times && ns < most; times--)
        if (__builtin_mul_overflow(ns, (uint64_t)restart->growth, &ns))
            return most;
    return ns < most ? ns : most;
}

/* From percent less to percent more. */
static uint64_t vary(uint64_t ns, unsigned percent, uint32_t random)
{
    double share = (double)percent / 100 * ((double)random / UINT32_MAX * 2 - 1);
    double varied = (double)ns * (1 + share);
    return !percent ? ns : varied < 0x1p63 ? (uint64_t)varied : UINT64_C(1) << 63;
}

struct mw_restart_decision mw_restart_step(struct mw_restart *restart, struct mw_restart_ending ending)
{
    if (!is_wanted(restart->policy, ending))
        return (struct mw_restart_decision){.what = MW_RESTART_END};
    if (ending.ran_ns >= restart->good_run_ns)
        restart->count = 0;
    if (restart->count >= restart->limit)
        return (struct mw_restart_decision){.what = MW_RESTART_GIVE_UP};
    struct mw_restart_decision again = {.what = MW_RESTART_AGAIN,
                                        .delay_ns = vary(delay(restart), restart->jitter_percent, ending.random)};
    restart->count++;
    return again;
}
