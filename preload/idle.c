/* SPDX-License-Identifier: MIT */
#include "idle.h"

#include "monitor.h"
#include "reclaimer.h"
#include "syscall.h"
#include "trim.h"

/* The limiter calls a program quiet after 2 s; the monitor may see so a second later, and the trim may have to wait its
 * turn. */
#define SLICES 8

bool mw_idle_cuts(uint64_t wait_ns)
{
    return wait_ns > MW_IDLE_SLICE_NS && mw_monitor_asks() && !mw_reclaimer_is_there();
}

uint64_t mw_idle_left_ns(const struct mw_idle *idle)
{
    if (idle->deadline_ns == MW_IDLE_FOR_EVER)
        return MW_IDLE_FOR_EVER;
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    return idle->deadline_ns > now_ns ? idle->deadline_ns - now_ns : 0;
}

uint64_t mw_idle_next_ns(struct mw_idle *idle)
{
    if (idle->slices)
        mw_trim_serve();
    uint64_t left_ns = mw_idle_left_ns(idle);
    bool is_last = idle->slices++ >= SLICES || left_ns < MW_IDLE_SLICE_NS;
    return is_last ? left_ns : MW_IDLE_SLICE_NS;
}
