/* SPDX-License-Identifier: MIT
 *
 * Asking the allocator to return memory to the kernel, and the account of what that brought.
 */
#ifndef MW_TRIM_H
#define MW_TRIM_H

#include <stdbool.h>
#include <stdint.h>

#include "allocators.h"
#include "format.h"
#include "memwatch.h"

/* Finds out which allocators there are. Once, at the start, and before the profile's: a search in vain allocates, as if
 * the program did. Takes the loader's lock. */
void mw_trim_start(void);

/* Trims, on the calling thread, and tells of it (the segment's events); takes the allocator's locks. Where no
 * allocation passes through us, it is the allocator beside us that is asked. limit_bytes: for which, or 0. Returns 0
 * and fills *event, or -ENOTSUP: the allocator is not one that we know how to ask. Any thread of libc's; errno is left
 * alone. */
int mw_trim(enum mw_trim_reason reason, uint64_t limit_bytes, struct mw_trim_event *event);

/* RSS, read now. Any thread, async-signal-safe. */
uint64_t mw_trim_rss_bytes(void);

/* The allocator that the program's calls go to; its kind is NULL where it is not one that we know. */
const struct mw_allocator *mw_trim_beneath(void);

/* A trim by request: the monitor may not call the allocator, so it asks. The reclaimer's thread serves, or, in a
 * program of one thread, that one when it comes by the slow path of malloc or free, or sleeps (idle.h). Then the
 * monitor fetches the result. */

#pragma GCC visibility push(hidden) /* or the compiler would look for it in the global offset table */
extern int mw_trim_request_state;
#pragma GCC visibility pop
enum {
    MW_TRIM_IDLE,
    MW_TRIM_REQUESTED, /* of whoever comes by */
    MW_TRIM_ASSIGNED,  /* to the reclaimer */
    MW_TRIM_RUNNING,
    MW_TRIM_DONE
};

/* -ENOTSUP as above; 0 also where a request stands already. is_urgent: what the program allocates meanwhile has to
 * wait until it is served. Calls nothing of libc's. */
int mw_trim_request(enum mw_trim_reason reason, uint64_t limit_bytes, bool is_urgent);

/* True once a request is served: 0 or the error that mw_trim has returned, and its event. */
bool mw_trim_is_done(void);
bool mw_trim_fetch(int *error, struct mw_trim_event *event);

/* In the child of a fork: forgets the request. */
void mw_trim_after_fork(void);

/* The program's threads are not to serve what is asked of them now, or ever again: a system call that they did not make
 * by themselves could kill them. Makes none. */
void mw_trim_withdraw(bool for_ever);

/* Serves a request, if there is one that anybody may serve; waits for an urgent one that is the reclaimer's, for a
 * moment at most. The reclaimer serves both, wherever it is, and waits for them. */
void mw_trim_meet_request(void);
bool mw_trim_serve_assigned(void);
void mw_trim_wait(bool (*is_called)(void)); /* for something else: mw_trim_wake lets it ask */
void mw_trim_wake(void);

/* On a slow path, holding nothing. errno is left alone. */
static inline void mw_trim_serve(void)
{
    if (__builtin_expect(__atomic_load_n(&mw_trim_request_state, __ATOMIC_RELAXED) != MW_TRIM_IDLE, 0))
        mw_trim_meet_request();
}

/* Fills in NumTrim, the same by reason, LastTrim, PauseTotalNs, PauseNs, TrimReleased, TrimCPUFraction, and what the
 * allocators said after the last trim: while one is under way, figures of two may stand side by side. Any thread,
 * async-signal-safe. */
void mw_trim_read(struct memwatch_stats *stats);

#endif
