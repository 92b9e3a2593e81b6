/* SPDX-License-Identifier: MIT */
#include "arenas.h"

#include <limits.h>
#include <linux/futex.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"
#include "syscall.h"

#define LONGEST_WAIT_NS 200000000 /* mostly nothing; with a small quota all threads may stand still for 100 ms */
#define HARMLESS_BIRTHS 7         /* with the main arena they make eight, and no quota asks for fewer */

enum { NEVER, UNKNOWN, KNOWN };

static uint32_t state = NEVER; /* a futex */
static const struct mw_allocator *allocator;
static unsigned wanted; /* once the state is KNOWN */
static unsigned births;

static bool has_user_chosen(void)
{
    const char *tunables = getenv("GLIBC_TUNABLES");
    return getenv("MALLOC_ARENA_MAX") || getenv("MALLOC_ARENA_TEST") ||
           (tunables && strstr(tunables, "glibc.malloc.arena_"));
}

void mw_arenas_start(const struct mw_allocator *beneath)
{
    bool may = beneath->kind && beneath->kind->cap_arenas && !has_user_chosen();
    allocator = beneath;
    births = 0;
    __atomic_store_n(&state, may ? UNKNOWN : NEVER, __ATOMIC_RELEASE);
}

static unsigned count_cpus(void)
{
    unsigned long mask[128] = {0};
    unsigned cpus = 0;
    mw_syscall6(SYS_sched_getaffinity, 0, sizeof mask, (long)mask, 0, 0, 0);
    for (size_t i = 0; i < sizeof mask / sizeof mask[0]; i++)
        cpus += (unsigned)__builtin_popcountl(mask[i]);
    return cpus;
}

unsigned mw_arenas_wanted(uint64_t limit_bytes, struct mw_cpu_quota quota, unsigned cpus)
{
    unsigned arenas = mw_allocator_arenas_for(quota.quota_us, quota.period_us, cpus);
    return limit_bytes && arenas < mw_allocator_arenas_for(0, 0, cpus) ? arenas : 0;
}

bool mw_arenas_is_possible(void)
{
    return __atomic_load_n(&state, __ATOMIC_ACQUIRE) != NEVER;
}

void mw_arenas_settle(unsigned arenas)
{
    uint32_t unknown = UNKNOWN;
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != UNKNOWN)
        return;
    __atomic_store_n(&wanted, arenas, __ATOMIC_RELAXED);
    if (__atomic_compare_exchange_n(&state, &unknown, arenas ? KNOWN : NEVER, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED))
        mw_syscall6(SYS_futex, (long)&state, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
}

void mw_arenas_see_limit(uint64_t limit_bytes)
{
    struct mw_cgroup group;
    struct mw_cpu_quota quota = {0};
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) != UNKNOWN)
        return;
    if (limit_bytes && mw_cgroup_find_cpu("", "self", &group) == 0)
        mw_cgroup_read_cpu_quota(&group, &quota);
    mw_arenas_settle(quota.quota_us ? mw_arenas_wanted(limit_bytes, quota, count_cpus()) : 0);
}

void mw_arenas_see_mallopt(int parameter)
{
    if (parameter == M_ARENA_MAX || parameter == M_ARENA_TEST)
        __atomic_store_n(&state, NEVER, __ATOMIC_RELEASE);
}

static void wait_until_known(void)
{
    const struct timespec a_moment = {.tv_nsec = LONGEST_WAIT_NS};
    mw_syscall6(SYS_futex, (long)&state, FUTEX_WAIT_PRIVATE, UNKNOWN, (long)&a_moment, 0, 0);
}

void mw_arenas_before_thread(void)
{
    if (__atomic_load_n(&state, __ATOMIC_RELAXED) == NEVER)
        return;
    unsigned before = __atomic_fetch_add(&births, 1, __ATOMIC_RELAXED);
    if (before < HARMLESS_BIRTHS)
        return;
    if (before == HARMLESS_BIRTHS && __atomic_load_n(&state, __ATOMIC_RELAXED) == UNKNOWN)
        wait_until_known();
    uint32_t known = KNOWN;
    if (__atomic_compare_exchange_n(&state, &known, NEVER, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED) &&
        mw_allocator_cap_arenas(allocator, wanted) == 0)
        __atomic_store_n(&mw_store.header->arenas_cap, wanted, __ATOMIC_RELAXED);
}
