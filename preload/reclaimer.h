/* SPDX-License-Identifier: MIT
 *
 * The thread that trims in a program that has several threads anyway: none of the program's has to do it then, and it
 * is done also while they all sleep. It calls the program's pressure callbacks, too. It waits for requests (trim.h) and
 * for these (pressure_level.h), and costs nothing meanwhile.
 */
#ifndef MW_RECLAIMER_H
#define MW_RECLAIMER_H

#include <stdbool.h>
#include <stdint.h>

/* From now on mw_reclaimer_demand starts one; mw_reclaimer_start does so for trims: where the monitor has no thread of
 * libc's, and so cannot trim itself. Once, at the start, where there is a monitor. */
void mw_reclaimer_allow(bool for_trims);

/* The program has just started a thread. Any thread of libc's, as often as one likes. */
void mw_reclaimer_start(void);

/* One is needed, also if the program then has a second thread. Likewise. False: none can be had. */
bool mw_reclaimer_demand(void);

/* Is it this thread? */
bool mw_reclaimer_is_me(void);

/* Is there one? Any thread. */
bool mw_reclaimer_is_there(void);
uint64_t mw_reclaimer_stack_bytes(void);

/* Ends it, for a call that the kernel allows only to a process of one thread; true: it was there, and is to be started
 * again. Nobody else may call at the same time. */
bool mw_reclaimer_pause(void);

/* It is to end, for the program's last thread has, or nobody will ask any more. Any thread, does not wait. */
void mw_reclaimer_stop(void);

/* In the child of a fork: it is not there. */
void mw_reclaimer_after_fork(void);

#endif
