/* SPDX-License-Identifier: MIT
 *
 * Keeps the limit: gathers what the limiter wants to know, has memory asked back when it says so, by whichever thread
 * may do that, and tells what came of it.
 *
 * The monitor's own, one thread at a time; but for mw_keeper_tell.
 */
#ifndef MW_KEEPER_H
#define MW_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "readings.h"

struct mw_keeper_hooks {
    bool may_trim; /* the monitor itself may call the allocator */
    struct mw_probe *probe;
    struct memwatch_stats *stats; /* as the probe has last read them */
    void (*print)(const struct mw_trim_event *event);
    void (*answer)(int64_t result, uint64_t pause_ns); /* bytes, or a negative errno value, to the agent */
    void (*cannot)(void);                              /* nobody knows how to ask this program's allocator */
};

/* At the start, and in the child of a fork. The hooks stay the caller's. */
void mw_keeper_start(const struct mw_keeper_hooks *hooks);

/* Hears who says that memory is short: at the start, by the thread that will look, before it gives up its privilege;
 * and now and then, for the process may have changed its cgroup. */
void mw_keeper_listen(void);
void mw_keeper_stop_listening(void);

/* After a reading: what is to be done is done, or asked for. Returns when the limiter wants to be asked again. */
uint64_t mw_keeper_look(uint64_t now_ns);

/* Is there an outcome, and what is it? True: something was trimmed, and the heap is another one now. */
bool mw_keeper_has_mail(void);
bool mw_keeper_fetch(void);

/* The agent wants a trim, after a reading. 0: it is answered when it is done, or nobody has come by to do it. */
int mw_keeper_ask(uint64_t now_ns);
bool mw_keeper_owes_answer(void);
void mw_keeper_see_time(uint64_t now_ns);

/* The program has trimmed by itself; of several at once only one is told. Any thread. */
void mw_keeper_tell(const struct mw_trim_event *event);

#endif
