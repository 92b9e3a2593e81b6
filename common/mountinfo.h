/* SPDX-License-Identifier: MIT
 *
 * Lines of /proc/PID/mountinfo (proc(5)), and which of these mounts a path leads to: one can be mounted upon another,
 * as a container's own cgroup tree is where the user has asked for that of the machine. Pure; any thread,
 * async-signal-safe.
 */
#ifndef MW_MOUNTINFO_H
#define MW_MOUNTINFO_H

#include "span.h"

/* Pieces of the text; root and point are escaped. */
struct mw_mount {
    struct mw_span id;
    struct mw_span parent; /* the id of the mount that this one stands on */
    struct mw_span root;   /* what of the file system is mounted */
    struct mw_span point;  /* where */
    struct mw_span type;
    struct mw_span super_options; /* may hold spaces */
};

/* One line. False: it is none of that shape. */
bool mw_mount_parse(struct mw_span line, struct mw_mount *out);

/* Does its path lead to something else, which was mounted later upon it or upon what it stands on? */
bool mw_mount_is_hidden(const char *mountinfo_text, const struct mw_mount *mount);

/* Undoes the kernel's \040 escapes. 0 or -ENAMETOOLONG. */
int mw_mount_unescape(struct mw_span escaped, char *out, size_t capacity_bytes);

#endif
