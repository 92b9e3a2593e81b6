/* SPDX-License-Identifier: MIT */
#include "privilege.h"

#include <endian.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *line_of(const char *status, const char *key)
{
    const char *line = strstr(status, key);
    return line ? line + strlen(key) : NULL;
}

/* The number at *at, which goes behind it. */
static bool take_number(const char **at, int base, uint64_t *out)
{
    char *end;
    if (!*at)
        return false;
    *out = strtoull(*at, &end, base);
    bool is_there = end != *at;
    *at = end;
    return is_there;
}

/* The first two of the four: real and effective. */
static bool take_ids(const char *status, const char *key, unsigned *real, unsigned *effective)
{
    uint64_t ids[2];
    const char *at = line_of(status, key);
    if (!take_number(&at, 10, &ids[0]) || !take_number(&at, 10, &ids[1]))
        return false;
    *real = (unsigned)ids[0];
    *effective = (unsigned)ids[1];
    return true;
}

static bool take_set(const char *status, const char *key, uint64_t *out)
{
    const char *at = line_of(status, key);
    return take_number(&at, 16, out);
}

bool mw_privilege_identity_parse(const char *status, struct mw_privilege_identity *out)
{
    uint64_t no_new = 0; /* not told before Linux 4.10 */
    *out = (struct mw_privilege_identity){0};
    (void)take_set(status, "\nNoNewPrivs:", &no_new);
    out->no_new_privileges = no_new;
    return take_ids(status, "\nUid:", &out->real_uid, &out->effective_uid) &&
           take_ids(status, "\nGid:", &out->real_gid, &out->effective_gid) &&
           take_set(status, "\nCapInh:", &out->inheritable) && take_set(status, "\nCapPrm:", &out->permitted) &&
           take_set(status, "\nCapBnd:", &out->bounding);
}

static uint32_t word(const struct mw_privilege_file *file, unsigned i)
{
    uint32_t value;
    memcpy(&value, file->capability + i * sizeof value, sizeof value);
    return le32toh(value);
}

/* The sets of a file that hold here. One of the third kind speaks of another user namespace: of ours the kernel shows
 * it as the second. */
static bool file_sets(const struct mw_privilege_file *file, uint64_t *permitted, uint64_t *inheritable, bool *effective)
{
    if (file->capability_bytes < XATTR_CAPS_SZ_1)
        return false;
    uint32_t head = word(file, 0);
    uint32_t revision = head & VFS_CAP_REVISION_MASK;
    bool is_wide = revision == VFS_CAP_REVISION_2 && file->capability_bytes == XATTR_CAPS_SZ_2;
    if (!is_wide && !(revision == VFS_CAP_REVISION_1 && file->capability_bytes == XATTR_CAPS_SZ_1))
        return false;
    *effective = head & VFS_CAP_FLAGS_EFFECTIVE;
    *permitted = word(file, 1) | (is_wide ? (uint64_t)word(file, 3) << 32 : 0);
    *inheritable = word(file, 2) | (is_wide ? (uint64_t)word(file, 4) << 32 : 0);
    return true;
}

static bool gives_capabilities(const struct mw_privilege_identity *who, const struct mw_privilege_file *file)
{
    uint64_t permitted;
    uint64_t inheritable;
    bool effective;
    if (who->real_uid == 0 || file->is_on_nosuid || !file_sets(file, &permitted, &inheritable, &effective))
        return false;
    uint64_t given = (permitted & who->bounding) | (inheritable & who->inheritable);
    if (who->no_new_privileges)
        given &= who->permitted;
    return effective || given;
}

bool mw_privilege_is_gained(const struct mw_privilege_identity *who, const struct mw_privilege_file *file)
{
    bool is_heeded = !who->no_new_privileges && !file->is_on_nosuid;
    uid_t uid = is_heeded && file->mode & S_ISUID ? file->uid : who->effective_uid;
    /* without the group's x the bit once meant mandatory locking */
    gid_t gid = is_heeded && file->mode & S_ISGID && file->mode & S_IXGRP ? file->gid : who->effective_gid;
    return uid != who->real_uid || gid != who->real_gid || gives_capabilities(who, file);
}
