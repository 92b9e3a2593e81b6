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
    struct mw_held_file comm;
    struct mw_held_file leader; /* the status of the process's first thread */
    uint64_t seccomp;           /* the mode of the reading thread at the last reading; held probes only */
    uint64_t rss_anon_bytes;    /* at the last reading: what of RSS is neither file nor shared memory */
};

/* Fills *stats. Needs about 16 KiB of stack; no lock of the program's, no allocation; errno is left
 * alone. A probe belongs to one thread at a time; otherwise any thread, async-signal-safe. */
void mw_readings_take(struct mw_probe *probe, struct memwatch_stats *stats);

/* The seccomp mode of the calling thread. */
uint64_t mw_readings_seccomp(void);

/* Has the program's last thread ended, without ending the process? Of a held probe, after a reading. */
bool mw_readings_is_over(struct mw_probe *probe, const struct memwatch_stats *stats);

/* The kernel's name of the process; empty where it is not told. For a held probe. */
void mw_readings_comm(struct mw_probe *probe, char comm[MW_COMM_BYTES]);

/* Looks for the cgroup anew next time: the process may have been moved. */
void mw_probe_forget_cgroup(struct mw_probe *probe);

/* In the child of a fork: what was held is the parent's. */
void mw_probe_drop(struct mw_probe *probe);

/* Once, at the start: what StackSys rests on. */
void mw_readings_start(void);

#endif
