/* SPDX-License-Identifier: MIT
 *
 * Whose a process is, by its cgroup: the group's name, and the container's number where the name holds one. Pure.
 */
#ifndef MW_WORKLOAD_H
#define MW_WORKLOAD_H

#include <stdbool.h>

#include "cgroup.h"

/* What Docker, containerd, CRI-O and podman call a container: a SHA-256 in hexadecimal digits. */
#define MW_CONTAINER_ID_LENGTH 64

struct mw_workload {
    char cgroup[MW_CGROUP_PATH_BYTES];             /* "/" is the top; "": not known */
    char container_id[MW_CONTAINER_ID_LENGTH + 1]; /* "": in none */
};

/* From the text of /proc/PID/cgroup. */
void mw_workload_parse(const char *cgroup_text, struct mw_workload *out);

#endif
