/* SPDX-License-Identifier: MIT
 *
 * How short memory is (memwatch.h, enum memwatch_pressure_level), and whom of the program to call when it gets so. The
 * level is pure arithmetic: readings and time in, a level out. All zeros is a state that has seen nothing yet.
 *
 * The monitor notes each look; the reclaimer's thread calls, for the program may do there what it likes.
 */
#ifndef MW_PRESSURE_LEVEL_H
#define MW_PRESSURE_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#include "limiter.h"
#include "memwatch.h"

#define MW_PRESSURE_LEVEL_HOLD_NS  UINT64_C(1000000000) /* LOW lasts so long after what brought it about, … */
#define MW_PRESSURE_LEVEL_AGAIN_NS UINT64_C(1000000000) /* a level that lasts is told this often, … */
#define MW_PRESSURE_LEVEL_APART_NS UINT64_C(50000000)   /* and a rise no sooner than this after the last call */

struct mw_pressure_level {
    enum memwatch_pressure_level level;
    bool is_due;     /* those whom it concerns are to be called now */
    bool has_helped; /* the limiter has done something about it since usage passed the limit */
    bool is_short;
    uint64_t short_ns; /* where is_short: when it last was */
    bool was_called;
    uint64_t called_ns;
    enum memwatch_pressure_level called_level; /* of the last call, or what it has fallen to since */
};

/* One look. reason: what the limiter has decided; has_hit_hard_limit: an allocation has failed for it since the last
 * look. */
void mw_pressure_level_step(struct mw_pressure_level *state, const struct mw_limiter_readings *readings,
                            enum mw_limiter_reason reason, bool has_hit_hard_limit, uint64_t now_ns);

/* The monitor's: steps, publishes the level and has the callbacks called if they are due. Calls nothing of libc's. */
void mw_pressure_level_note(const struct mw_limiter_readings *readings, enum mw_limiter_reason reason, uint64_t now_ns);

/* An allocation has failed for the hard limit. Any thread, async-signal-safe; so is the level. */
void mw_pressure_level_hit_hard_limit(void);
enum memwatch_pressure_level mw_pressure_level_now(void);

/* The callbacks. Any thread, not async-signal-safe. The first returns a handle above 0, -EINVAL or -ENOSPC; the second
 * 0 or -ENOENT, and waits while that callback runs, unless it is called from it. */
int mw_pressure_level_add(enum memwatch_pressure_level level, memwatch_pressure_callback *callback, void *context);
int mw_pressure_level_remove(int handle);
bool mw_pressure_level_has_callbacks(void);

/* The reclaimer's: is there somebody to be called, and calls them. True: somebody was. */
bool mw_pressure_level_is_due(void);
bool mw_pressure_level_call(void);

/* In the child of a fork: no memory is short yet; the callbacks stay. */
void mw_pressure_level_after_fork(void);

#endif
