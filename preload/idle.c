/* SPDX-License-Identifier: MIT */
#include "idle.h"

#include <string.h>

#include "monitor.h"
#include "reclaimer.h"
#include "syscall.h"
#include "trim.h"
#include "unwind.h"
#include "unwind_rules.h"

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

/* Where a signal handler returns to: the call of rt_sigreturn, by which debuggers know it too. x86_64, as the monitor
 * that asks (rawthread.c). */
static const unsigned char trampoline[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};

static bool is_trampoline(uintptr_t pc)
{
    struct mw_unwind_module module;
    return mw_unwind_module_of(pc, &module) && module.end - pc >= sizeof trampoline &&
           memcmp((const void *)pc, trampoline, sizeof trampoline) == 0; // NOLINT(performance-no-int-to-ptr)
}

/* It may have interrupted the allocator, which takes no lock in a program of one thread. */
static bool is_in_signal_handler(void)
{
    uint64_t frames[MW_UNWIND_DEPTH];
    bool truncated;
    unsigned count = mw_unwind(frames, MW_UNWIND_DEPTH, &truncated);
    for (unsigned i = 0; i < count; i++)
        if (is_trampoline((uintptr_t)frames[i]))
            return true;
    return false;
}

static bool is_asked(void)
{
    return __atomic_load_n(&mw_trim_request_state, __ATOMIC_RELAXED) != MW_TRIM_IDLE;
}

uint64_t mw_idle_next_ns(struct mw_idle *idle)
{
    if (idle->slices && is_asked() && !is_in_signal_handler())
        mw_trim_serve();
    uint64_t left_ns = mw_idle_left_ns(idle);
    bool is_last = idle->slices++ >= SLICES || left_ns < MW_IDLE_SLICE_NS;
    return is_last ? left_ns : MW_IDLE_SLICE_NS;
}
