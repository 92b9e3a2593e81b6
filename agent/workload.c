/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <string.h>

#define HEX "0123456789abcdef"

/* The last run of so many digits, in whatever it is wrapped: /docker/ID, docker-ID.scope, cri-containerd-ID.scope,
 * /kubepods/burstable/podUID/ID. The last, for a container may run in another. */
static void find_container(const char *path, char id[MW_CONTAINER_ID_LENGTH + 1])
{
    id[0] = '\0';
    while (*path) {
        size_t length = strspn(path, HEX);
        if (length == MW_CONTAINER_ID_LENGTH) {
            memcpy(id, path, length);
            id[length] = '\0';
        }
        path += length ? length : 1;
    }
}

void mw_workload_parse(const char *cgroup_text, struct mw_workload *out)
{
    if (mw_cgroup_name(cgroup_text, out->cgroup, sizeof out->cgroup) < 0)
        out->cgroup[0] = '\0';
    find_container(out->cgroup, out->container_id);
}
