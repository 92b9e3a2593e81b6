/* SPDX-License-Identifier: MIT
 *
 * Does the kernel, or the service manager, say that memory is short?
 *
 * Three can say so; the first that can be had is listened to:
 *   - the service manager, by systemd's protocol (https://systemd.io/PRESSURE): $MEMORY_PRESSURE_WATCH names a PSI
 * file, a FIFO or a UNIX socket, $MEMORY_PRESSURE_WRITE what to write there first. /dev/null: the user wants none of
 * this, and then nobody is listened to.
 *   - the process's own memory cgroup: v2 by its memory.pressure, v1 by its memory.pressure_level at "medium".
 *   - the machine: /proc/pressure/memory.
 * Where none can be had, there is never any pressure, and no error.
 *
 * PSI, pressure stall information (Documentation/accounting/psi.rst): the kernel measures how long tasks stood still
 * for want of memory. A trigger written to its file is a share of a window of time; past it, poll says POLLPRI, once a
 * window.
 *
 * The descriptors may stand in the program's table. They have high numbers and are closed on exec; before each use it
 * is made sure that they are still ours. One that the program has closed or put something else in place of is neither
 * read nor closed: the source is gone then. So it is when its cgroup is, or who stood at the other end.
 *
 * Raw system calls, no allocation, no errno, never blocks. A struct belongs to one thread at a time; that thread needs
 * 4 KiB of stack.
 */
#ifndef MW_PRESSURE_H
#define MW_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>

#include "cgroup.h"
#include "segment.h"

#define MW_PRESSURE_WRITE_BYTES 1024 /* more is not written, and what asks for it is no source */

/* Where to look. Read by mw_pressure_open alone. */
struct mw_pressure_places {
    const char *watch;              /* the value of $MEMORY_PRESSURE_WATCH, or NULL */
    const char *write;              /* of $MEMORY_PRESSURE_WRITE, or NULL */
    const char *root;               /* under which /proc stands: "" on a live system */
    const struct mw_cgroup *cgroup; /* the process's own, or NULL where it is not known */
};

enum mw_pressure_kind {
    MW_PRESSURE_STALLS, /* a PSI file with a trigger */
    MW_PRESSURE_FIFO,
    MW_PRESSURE_SOCKET,
    MW_PRESSURE_EVENTS, /* an eventfd that a v1 cgroup counts up */
};

/* {0}: nothing is open. */
struct mw_pressure {
    enum mw_segment_pressure_source source; /* NOBODY: nothing is open */
    enum mw_pressure_kind kind;
    struct mw_held_file events;  /* what is polled */
    struct mw_held_file control; /* for MW_PRESSURE_EVENTS: the file of the group that the events come from */
    size_t echo_bytes;           /* what we wrote into a FIFO and may get to read ourselves */
};

/* Opens the first source that can be had. Does nothing where one is open; where one was but is gone, it is looked for
 * anew. */
void mw_pressure_open(struct mw_pressure *pressure, const struct mw_pressure_places *places);

/* Has memory been short since the last look? */
bool mw_pressure_fired(struct mw_pressure *pressure);

/* Closes what is still ours. Also in the child of a fork, and where the process has changed its cgroup. */
void mw_pressure_close(struct mw_pressure *pressure);

#endif
