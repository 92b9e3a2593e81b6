/* SPDX-License-Identifier: MIT
 *
 * A program of one thread that goes to sleep can be asked for nothing: the monitor may not call the allocator, and the
 * thread does not come by. So its long waits are cut into slices at first, each by the very call that the program
 * makes, and between two of them it serves what the monitor has asked for; but not in a signal handler, which may have
 * interrupted the allocator. After some seconds, by when what can be returned is returned, it sleeps on undisturbed.
 *
 * A signal that comes between two slices does not interrupt the wait. That is no new danger: whoever relies on a signal
 * to end such a wait relies on its not coming just before. (Those who must not, use ppoll and the like with a mask, and
 * block the signal otherwise; these stay as they are.)
 */
#ifndef MW_IDLE_H
#define MW_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#define MW_IDLE_SLICE_NS UINT64_C(1000000000)
#define MW_IDLE_FOR_EVER UINT64_MAX

struct mw_idle {
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; MW_IDLE_FOR_EVER: none */
    unsigned slices;
};

/* Is a wait of that length to be cut? Any thread, async-signal-safe. */
bool mw_idle_cuts(uint64_t wait_ns);

/* The length of the next slice; 0: the time is up. Before the first, *idle is {deadline}. */
uint64_t mw_idle_next_ns(struct mw_idle *idle);

/* What is left; MW_IDLE_FOR_EVER as above. */
uint64_t mw_idle_left_ns(const struct mw_idle *idle);

#endif
