/* SPDX-License-Identifier: MIT
 *
 * What waits for descriptors: a source is a descriptor and who is called when it is ready.
 *
 * One event a wait, so that whoever is called may remove any source. One thread. The descriptors stay their owners',
 * who remove a source before they close what it is of.
 */
#ifndef MW_LOOP_H
#define MW_LOOP_H

#include <stdint.h>

typedef void mw_loop_ready(void *context);

struct mw_loop_source {
    mw_loop_ready *ready;
    void *context;
    int fd; /* -1: is in no loop */
};

/* The loop's descriptor, or a negative errno value. close() ends it. */
int mw_loop_new(void);

/* events: EPOLLIN, EPOLLRDHUP. The struct is the caller's and stays where it is. 0, or a negative errno value. */
int mw_loop_add(int loop, struct mw_loop_source *source, int fd, uint32_t events, mw_loop_ready *ready, void *context);
void mw_loop_remove(int loop, struct mw_loop_source *source);

/* Waits for one source, at most so long, and calls it. */
void mw_loop_wait(int loop, uint64_t timeout_ns);

#endif
