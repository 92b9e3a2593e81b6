/* SPDX-License-Identifier: MIT
 *
 * Does exec give privileges, so that the loader is told to trust nothing of the environment (AT_SECURE)? The rules are
 * the kernel's (security/commoncap.c; capabilities(7)). Pure; any thread.
 */
#ifndef MW_PRIVILEGE_H
#define MW_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Who a process is, as far as exec heeds it. */
struct mw_privilege_identity {
    uid_t real_uid;
    uid_t effective_uid;
    gid_t real_gid;
    gid_t effective_gid;
    uint64_t inheritable;
    uint64_t permitted;
    uint64_t bounding;
    bool no_new_privileges;
};

/* From the text of /proc/PID/status. False: it does not say. */
bool mw_privilege_identity_parse(const char *status, struct mw_privilege_identity *out);

/* What of a file gives privileges. */
struct mw_privilege_file {
    mode_t mode;
    uid_t uid;
    gid_t gid;
    bool is_on_nosuid;      /* its file system is mounted so */
    uint8_t capability[64]; /* the attribute security.capability */
    size_t capability_bytes;
};

bool mw_privilege_is_gained(const struct mw_privilege_identity *who, const struct mw_privilege_file *file);

#endif
