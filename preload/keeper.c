/* SPDX-License-Identifier: MIT */
#include "keeper.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arenas.h"
#include "headroom.h"
#include "memory_limit.h"
#include "pressure.h"
#include "pressure_level.h"
#include "store.h"
#include "syscall.h"
#include "trim.h"

#define UNSERVED_LOOK_NS UINT64_C(1000000000) /* while nobody has come by to trim */
#define GIVE_UP_NS       UINT64_C(2000000000) /* then the agent is told so */

static struct {
    const struct mw_keeper_hooks *hooks;
    struct mw_limiter limiter;
    struct mw_pressure pressure;
    struct mw_pressure_places places;
    struct mw_cgroup cgroup; /* of these */
    struct request {
        bool is_pending;
        bool is_agents; /* who waits for an answer */
        bool is_urgent;
        uint64_t since_ns;
        enum mw_limiter_reason reason; /* NONE: somebody else's than the limiter's */
        struct mw_limiter_readings before;
    } request;
} keeper;

/* From another thread. */
static struct {
    bool is_writing;
    bool is_full;
    struct mw_trim_event event;
} mailbox;

static struct mw_limiter_readings readings_now(void)
{
    return mw_memory_limit_now(keeper.hooks->stats, keeper.hooks->probe->rss_anon_bytes);
}

/* ---- pressure ---- */

/* What the environment says, kept: a program may write over it. */
static const char *copy_variable(const char *name, char *out, size_t capacity_bytes)
{
    const char *value = getenv(name);
    size_t length = value ? strlen(value) : capacity_bytes;
    return length < capacity_bytes ? memcpy(out, value, length + 1) : NULL;
}

static void read_places(void)
{
    static char watch[4096];
    static char write[MW_PRESSURE_WRITE_BYTES / 3 * 4 + 8];
    keeper.places = (struct mw_pressure_places){
        .watch = copy_variable("MEMORY_PRESSURE_WATCH", watch, sizeof watch),
        .write = copy_variable("MEMORY_PRESSURE_WRITE", write, sizeof write),
        .root = "",
    };
}

static void tell_source(void)
{
    __atomic_store_n(&mw_store.header->pressure_source, keeper.pressure.source, __ATOMIC_RELAXED);
}

void mw_keeper_listen(void)
{
    struct mw_cgroup now;
    bool is_found = mw_cgroup_find("", "self", &now) == 0;
    if (keeper.places.cgroup && is_found &&
        (now.version != keeper.cgroup.version || strcmp(now.dir, keeper.cgroup.dir) != 0))
        mw_pressure_close(&keeper.pressure);
    if (is_found)
        keeper.cgroup = now;
    keeper.places.cgroup = is_found ? &keeper.cgroup : NULL;
    mw_pressure_open(&keeper.pressure, &keeper.places);
    tell_source();
}

void mw_keeper_stop_listening(void)
{
    mw_pressure_close(&keeper.pressure);
    tell_source();
}

void mw_keeper_start(const struct mw_keeper_hooks *hooks)
{
    if (keeper.hooks)
        mw_pressure_close(&keeper.pressure); /* the parent's */
    else
        read_places();
    keeper.hooks = hooks;
    keeper.limiter = (struct mw_limiter){0};
    keeper.request.is_pending = false;
    mailbox.is_writing = mailbox.is_full = false;
}

/* ---- trims ---- */

/* Tells of a trim, the limiter too. */
static void trimmed(const struct request *request, const struct mw_trim_event *event)
{
    mw_readings_take(keeper.hooks->probe, keeper.hooks->stats); /* what it has come to */
    struct mw_limiter_readings after = readings_now();
    mw_limiter_trimmed(&keeper.limiter, request->reason, &request->before, &after, event->cpu_ns,
                       mw_clock_ns(CLOCK_MONOTONIC));
    keeper.hooks->print(event);
}

static void finish(const struct request *request, int error, const struct mw_trim_event *event)
{
    if (!error)
        trimmed(request, event);
    if (request->is_agents)
        keeper.hooks->answer(error ? error : (int64_t)event->returned_bytes, error ? 0 : event->pause_ns);
}

static enum mw_trim_reason reason_of(const struct request *request)
{
    _Static_assert((int)MW_TRIM_FORCED == (int)MW_LIMITER_NONE && (int)MW_TRIM_PERCENT == (int)MW_LIMITER_PERCENT &&
                       (int)MW_TRIM_QUIET == (int)MW_LIMITER_QUIET && (int)MW_TRIM_LIMIT == (int)MW_LIMITER_LIMIT &&
                       (int)MW_TRIM_PRESSURE == (int)MW_LIMITER_PRESSURE,
                   "whoever asks, it is the same list");
    return (enum mw_trim_reason)request->reason;
}

/* Trims, or, where the monitor may not do so itself, asks for it. */
static int ask(struct request request)
{
    struct mw_trim_event event;
    bool may_trim = keeper.hooks->may_trim;
    uint64_t limit_bytes = request.reason == MW_LIMITER_LIMIT ? request.before.limit_bytes : 0;
    int error = may_trim ? mw_trim(reason_of(&request), limit_bytes, &event)
                         : mw_trim_request(reason_of(&request), limit_bytes, request.is_urgent);
    if (error)
        return error;
    request.is_pending = !may_trim;
    keeper.request = request;
    if (may_trim)
        finish(&request, 0, &event);
    return 0;
}

uint64_t mw_keeper_look(uint64_t now_ns)
{
    struct mw_limiter_readings readings = readings_now();
    readings.is_under_pressure = mw_pressure_fired(&keeper.pressure);
    mw_arenas_see_limit(readings.limit_bytes);
    tell_source(); /* who is gone is not listened to any more */
    if (keeper.request.is_pending) {
        keeper.request.before = readings; /* nobody has come by yet */
        mw_headroom_set(UINT64_MAX);
        return now_ns + UNSERVED_LOOK_NS;
    }
    struct mw_limiter_decision decision = mw_limiter_step(&keeper.limiter, &readings, now_ns);
    mw_memory_limit_note_next(&readings, decision.next_trim_bytes);
    mw_headroom_set(decision.look_after_bytes);
    if (decision.reason != MW_LIMITER_NONE &&
        ask((struct request){
            .since_ns = now_ns, .is_urgent = decision.is_urgent, .reason = decision.reason, .before = readings}) ==
            -ENOTSUP)
        keeper.hooks->cannot();
    mw_pressure_level_note(&readings, decision.reason, now_ns); /* the allocator comes first */
    return now_ns + decision.next_look_ns;
}

bool mw_keeper_has_mail(void)
{
    return (keeper.request.is_pending && mw_trim_is_done()) || __atomic_load_n(&mailbox.is_full, __ATOMIC_ACQUIRE);
}

bool mw_keeper_fetch(void)
{
    struct mw_trim_event event;
    int error;
    bool has_trimmed = false;
    if (keeper.request.is_pending && mw_trim_fetch(&error, &event)) {
        has_trimmed = true;
        keeper.request.is_pending = false;
        finish(&keeper.request, error, &event);
    }
    if (__atomic_load_n(&mailbox.is_full, __ATOMIC_ACQUIRE)) {
        has_trimmed = true;
        event = mailbox.event;
        __atomic_store_n(&mailbox.is_full, false, __ATOMIC_RELEASE);
        trimmed(&(struct request){.before = readings_now()}, &event);
    }
    return has_trimmed;
}

void mw_keeper_tell(const struct mw_trim_event *event)
{
    if (__atomic_exchange_n(&mailbox.is_writing, true, __ATOMIC_ACQ_REL))
        return;
    if (!__atomic_load_n(&mailbox.is_full, __ATOMIC_ACQUIRE)) {
        mailbox.event = *event;
        __atomic_store_n(&mailbox.is_full, true, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&mailbox.is_writing, false, __ATOMIC_RELEASE);
}

/* ---- the agent ---- */

bool mw_keeper_owes_answer(void)
{
    return keeper.request.is_pending && keeper.request.is_agents;
}

int mw_keeper_ask(uint64_t now_ns)
{
    if (!keeper.request.is_pending)
        return ask((struct request){.since_ns = now_ns, .is_agents = true, .before = readings_now()});
    keeper.request.is_agents = true; /* the limiter has asked for one already */
    keeper.request.since_ns = now_ns;
    return 0;
}

void mw_keeper_see_time(uint64_t now_ns)
{
    if (!mw_keeper_owes_answer() || now_ns - keeper.request.since_ns <= GIVE_UP_NS)
        return;
    keeper.request.is_agents = false; /* it stands, and is served when somebody comes by */
    keeper.hooks->answer(-EAGAIN, 0);
}
