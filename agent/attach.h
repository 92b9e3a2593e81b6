/* SPDX-License-Identifier: MIT
 *
 * memwatch-run --attach: a limit for a process that runs already, and a verdict when it ends. It is not ours: nothing
 * is sent to it, and when memwatch-run is asked to stop, the process goes on as before.
 *
 * Waits for the process's end and for signals by itself, apart from what supervises a program that was started
 * (signals.h): there is nothing to pass on, to restart or to reap. One thread.
 */
#ifndef MW_ATTACH_H
#define MW_ATTACH_H

#include "run_options.h"

/* The whole of it, to the end: returns memwatch-run's exit status. */
int mw_attach_run(const struct mw_run_options *options);

#endif
