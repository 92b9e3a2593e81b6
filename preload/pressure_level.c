/* SPDX-License-Identifier: MIT */
#include "pressure_level.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>

#include "syscall.h"
#include "trim.h"

/* ---- the level ---- */

/* Past half of what lies between the limit and where the kernel kills. */
static bool is_near_ceiling(const struct mw_limiter_readings *readings)
{
    return readings->ceiling_bytes > readings->limit_bytes &&
           readings->usage_bytes - readings->limit_bytes > (readings->ceiling_bytes - readings->limit_bytes) / 2;
}

static bool is_past_limit(const struct mw_limiter_readings *readings)
{
    return readings->limit_bytes && readings->usage_bytes > readings->limit_bytes;
}

static bool is_worth_a_call(const struct mw_pressure_level *state, uint64_t now_ns)
{
    if (state->level == MEMWATCH_PRESSURE_NONE)
        return false;
    if (!state->was_called)
        return true;
    uint64_t least_ns = state->level > state->called_level ? MW_PRESSURE_LEVEL_APART_NS : MW_PRESSURE_LEVEL_AGAIN_NS;
    return now_ns - state->called_ns >= least_ns;
}

void mw_pressure_level_step(struct mw_pressure_level *state, const struct mw_limiter_readings *readings,
                            enum mw_limiter_reason reason, bool has_hit_hard_limit, uint64_t now_ns)
{
    bool is_past = is_past_limit(readings);
    bool is_helping = reason == MW_LIMITER_LIMIT || reason == MW_LIMITER_PRESSURE;
    if (is_past || is_helping || readings->is_under_pressure || has_hit_hard_limit) {
        state->is_short = true;
        state->short_ns = now_ns;
    } else if (state->is_short && now_ns - state->short_ns >= MW_PRESSURE_LEVEL_HOLD_NS) {
        state->is_short = false;
    }

    if (has_hit_hard_limit || (is_past && is_near_ceiling(readings)))
        state->level = MEMWATCH_PRESSURE_CRITICAL;
    else if (is_past && (state->has_helped || !is_helping)) /* it was of no avail, or would be of none */
        state->level = MEMWATCH_PRESSURE_MEDIUM;
    else
        state->level = state->is_short ? MEMWATCH_PRESSURE_LOW : MEMWATCH_PRESSURE_NONE;
    state->has_helped = is_past && (state->has_helped || is_helping);

    if (state->called_level > state->level)
        state->called_level = state->level;
    state->is_due = is_worth_a_call(state, now_ns);
    if (state->is_due) {
        state->was_called = true;
        state->called_ns = now_ns;
        state->called_level = state->level;
    }
}

static struct mw_pressure_level noted; /* the monitor's */
static enum memwatch_pressure_level published;
static bool has_hit;
static enum memwatch_pressure_level due; /* of the call that is to be made; NONE: of none */

void mw_pressure_level_note(const struct mw_limiter_readings *readings, enum mw_limiter_reason reason, uint64_t now_ns)
{
    bool hit = __atomic_exchange_n(&has_hit, false, __ATOMIC_RELAXED);
    mw_pressure_level_step(&noted, readings, reason, hit, now_ns);
    __atomic_store_n(&published, noted.level, __ATOMIC_RELAXED);
    if (noted.is_due && mw_pressure_level_has_callbacks()) {
        __atomic_store_n(&due, noted.level, __ATOMIC_RELEASE);
        mw_trim_wake();
    }
}

void mw_pressure_level_hit_hard_limit(void)
{
    __atomic_store_n(&has_hit, true, __ATOMIC_RELAXED);
    __atomic_store_n(&published, MEMWATCH_PRESSURE_CRITICAL, __ATOMIC_RELAXED);
}

enum memwatch_pressure_level mw_pressure_level_now(void)
{
    return __atomic_load_n(&published, __ATOMIC_RELAXED);
}

/* ---- the callbacks ---- */

/* A handle is the entry's number and, above it, how often the entry has been used: an old one is not taken for a new.
 */
#define NUMBER_BITS 4
#define CAPACITY    (1 << NUMBER_BITS)
#define LAST_USE    (INT_MAX >> NUMBER_BITS)

_Static_assert(MEMWATCH_PRESSURE_CALLBACKS == CAPACITY, "as the manual says");

enum entry_state {
    FREE,
    CHANGING, /* by whoever has made it so */
    SET,
    RUNNING,
    REMOVED /* while it runs */
};

static struct entry {
    int state;
    int uses;
    enum memwatch_pressure_level level;
    memwatch_pressure_callback *callback;
    void *context;
} entries[CAPACITY];

static unsigned count; /* of entries that are not free */
static const struct entry *running;
static long running_thread;

static long this_thread(void)
{
    return mw_syscall6(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static bool move_on(struct entry *entry, int from, int to)
{
    return __atomic_compare_exchange_n(&entry->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static void set_free(struct entry *entry)
{
    __atomic_fetch_sub(&count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->state, FREE, __ATOMIC_RELEASE);
}

int mw_pressure_level_add(enum memwatch_pressure_level level, memwatch_pressure_callback *callback, void *context)
{
    if (!callback || level < MEMWATCH_PRESSURE_LOW || level > MEMWATCH_PRESSURE_CRITICAL)
        return -EINVAL;
    for (int i = 0; i < CAPACITY; i++) {
        struct entry *entry = &entries[i];
        if (!move_on(entry, FREE, CHANGING))
            continue;
        entry->uses = entry->uses < LAST_USE ? entry->uses + 1 : 1;
        entry->level = level;
        entry->callback = callback;
        entry->context = context;
        int handle = entry->uses << NUMBER_BITS | i;
        __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&entry->state, SET, __ATOMIC_RELEASE);
        return handle;
    }
    return -ENOSPC;
}

/* Until the callback has returned. */
static void wait_for(struct entry *entry)
{
    int state;
    while ((state = __atomic_load_n(&entry->state, __ATOMIC_ACQUIRE)) == RUNNING)
        mw_syscall6(SYS_futex, (long)&entry->state, FUTEX_WAIT_PRIVATE, state, 0, 0, 0);
}

int mw_pressure_level_remove(int handle)
{
    struct entry *entry = &entries[handle & (CAPACITY - 1)];
    if (handle <= 0)
        return -ENOENT;
    for (;;) {
        int state = __atomic_load_n(&entry->state, __ATOMIC_ACQUIRE);
        if ((state != SET && state != RUNNING) || entry->uses != handle >> NUMBER_BITS)
            return -ENOENT;
        if (state == SET && move_on(entry, SET, CHANGING)) {
            bool is_it = entry->uses == handle >> NUMBER_BITS; /* nor has it become another in between */
            if (is_it)
                set_free(entry);
            else
                __atomic_store_n(&entry->state, SET, __ATOMIC_RELEASE);
            return is_it ? 0 : -ENOENT;
        }
        if (state == RUNNING && __atomic_load_n(&running, __ATOMIC_RELAXED) == entry &&
            __atomic_load_n(&running_thread, __ATOMIC_RELAXED) == this_thread())
            return move_on(entry, RUNNING, REMOVED) ? 0 : -ENOENT;
        wait_for(entry);
    }
}

bool mw_pressure_level_has_callbacks(void)
{
    return __atomic_load_n(&count, __ATOMIC_RELAXED) > 0;
}

bool mw_pressure_level_is_due(void)
{
    return __atomic_load_n(&due, __ATOMIC_ACQUIRE) != MEMWATCH_PRESSURE_NONE;
}

/* Its level may be read only once it is known not to change. */
static bool call(struct entry *entry, enum memwatch_pressure_level level)
{
    if (!move_on(entry, SET, RUNNING))
        return false;
    bool is_concerned = level >= entry->level;
    __atomic_store_n(&running_thread, this_thread(), __ATOMIC_RELAXED);
    __atomic_store_n(&running, entry, __ATOMIC_RELAXED);
    if (is_concerned)
        entry->callback(level, entry->context);
    __atomic_store_n(&running, NULL, __ATOMIC_RELAXED);
    if (!move_on(entry, RUNNING, SET))
        set_free(entry);
    mw_syscall6(SYS_futex, (long)&entry->state, FUTEX_WAKE_PRIVATE, INT_MAX, 0, 0, 0);
    return is_concerned;
}

bool mw_pressure_level_call(void)
{
    enum memwatch_pressure_level level = __atomic_exchange_n(&due, MEMWATCH_PRESSURE_NONE, __ATOMIC_ACQ_REL);
    bool was_called = false;
    for (int i = 0; i < CAPACITY && level != MEMWATCH_PRESSURE_NONE; i++)
        was_called |= call(&entries[i], level);
    return was_called;
}

/* Who was at it is not here. */
void mw_pressure_level_after_fork(void)
{
    noted = (struct mw_pressure_level){0};
    published = due = MEMWATCH_PRESSURE_NONE;
    has_hit = false;
    running = NULL;
    count = 0;
    for (int i = 0; i < CAPACITY; i++) {
        struct entry *entry = &entries[i];
        if (entry->state == CHANGING || entry->state == REMOVED)
            entry->state = FREE;
        else if (entry->state == RUNNING)
            entry->state = SET;
        count += entry->state == SET;
    }
}
