/* SPDX-License-Identifier: MIT */
#include "headroom.h"

#include "monitor.h"

int64_t mw_headroom_bytes = MW_HEADROOM_UNLIMITED;

/* Where it is being made unlimited at this moment, a portion is missing from that: it is still more than enough. */
void mw_headroom_take_portion(uint64_t bytes)
{
    int64_t portion = bytes < INT64_MAX / 4 ? (int64_t)bytes : INT64_MAX / 4;
    int64_t before = __atomic_fetch_sub(&mw_headroom_bytes, portion, __ATOMIC_RELAXED);
    if (before >= 0 && before < portion)
        mw_monitor_wake();
}

void mw_headroom_set(uint64_t bytes)
{
    int64_t limited = bytes < INT64_MAX / 2 ? (int64_t)bytes : INT64_MAX / 2;
    __atomic_store_n(&mw_headroom_bytes, bytes == UINT64_MAX ? MW_HEADROOM_UNLIMITED : limited, __ATOMIC_RELAXED);
}

bool mw_headroom_is_spent(void)
{
    return __atomic_load_n(&mw_headroom_bytes, __ATOMIC_RELAXED) < 0;
}
