/* SPDX-License-Identifier: MIT
 *
 * The thread that prints a line once an interval and has memory asked back. It blocks every signal, is named
 * `memwatch`, keeps no lock that the program could wait for, and ends with the process.
 */
#ifndef MW_MONITOR_H
#define MW_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "format.h"
#include "options.h"

/* Starts it, as the options say. They stay the caller's. store_error: why the segment has no file, or 0. Where no
 * thread can be had the program runs on without: a negative errno value. */
int mw_monitor_start(const struct mw_options *options, int store_error);

/* In the child of a fork, which has no monitor yet. */
void mw_monitor_start_in_child(void);

/* Stops the monitor where that is a thread that libc does not know of, for a call that the kernel allows only to a
 * process of one thread; and starts it again. Nobody else may call at the same time. */
bool mw_monitor_pause(void);
void mw_monitor_resume(bool paused);

/* Is there one? Any thread, async-signal-safe. */
bool mw_monitor_is_there(void);

/* Is there one that may ask the program's threads to trim, because it must not call the allocator? Any thread,
 * async-signal-safe. */
bool mw_monitor_asks(void);

/* It is to look up: a trim that it has asked for is done, or a limit is set. Any thread. */
void mw_monitor_wake(void);

/* The program has trimmed by itself: it is to print that. Where several do at once, only of one. Any thread. */
void mw_monitor_tell(const struct mw_trim_event *event);

/* How many of the process's threads are ours. Any thread. */
unsigned mw_monitor_threads(void);
uint64_t mw_monitor_stack_bytes(void);

/* Lines that could not be written. Any thread. */
uint64_t mw_monitor_drops(void);

#endif
