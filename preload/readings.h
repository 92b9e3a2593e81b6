/* SPDX-License-Identifier: MIT
 *
 * All statistics of this process at one moment: the counters' sums and what the kernel tells.
 */
#ifndef MW_READINGS_H
#define MW_READINGS_H

#include <stdbool.h>

#include "cgroup.h"
#include "memory_limit.h"
#include "memwatch.h"
#include "procfs.h"

/* How the kernel's files are reached. A one-time reader begins with {0}; a repeated one sets `held`. */
struct mw_probe {
    bool held; /* keep descriptors from reading to reading */
    bool cgroup_looked_for;
    bool cgroup_found;
    struct mw_cgroup cgroup;
    struct mw_cgroup_handles handles;
    struct mw_held_file status;
};

/* Fills *stats; comm may be NULL. Needs about 16 KiB of stack; no lock of the program's, no allocation; errno is left
 * alone. A probe belongs to one thread at a time; otherwise any thread, async-signal-safe. */
void mw_readings_take(struct mw_probe *probe, struct memwatch_stats *stats, char comm[MW_COMM_BYTES]);

/* Looks for the cgroup anew next time: the process may have been moved. */
void mw_probe_forget_cgroup(struct mw_probe *probe);

/* In the child of a fork: what was held is the parent's. */
void mw_probe_drop(struct mw_probe *probe);

/* Once, at the start: what StackSys rests on. */
void mw_readings_start(void);

#endif
