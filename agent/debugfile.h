/* SPDX-License-Identifier: MIT
 *
 * Files with code and symbols, opened with care: their names come from a watched process, or from inside a container,
 * and may lead anywhere.
 *
 * Paths are looked up under a root directory (NULL or "": the machine's own), and links inside it lead nowhere out of
 * it. Only regular files are opened; nothing that may wait, and no device. Descriptors belong to the caller.
 * One thread at a time. Functions that open return a descriptor, or a negative errno value.
 */
#ifndef MW_DEBUGFILE_H
#define MW_DEBUGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int mw_debugfile_open(const char *root, const char *path);

/* What a file says of itself. */
struct mw_debugfile_facts {
    uint8_t build_id[64];
    unsigned build_id_bytes; /* 0: none */
    /* The first segment with code, in the file's own addresses. */
    uint64_t code_start;
    uint64_t code_end;
    uint64_t code_offset; /* in the file */
};

/* False: it is no program or shared library. */
bool mw_debugfile_inspect(int fd, struct mw_debugfile_facts *facts);

/* What to look for: the separate debug file of a program or library. */
struct mw_debugfile_wanted {
    const char *root;
    const char *path; /* of the file itself */
    const uint8_t *build_id;
    unsigned build_id_bytes;
    const char *link; /* its .gnu_debuglink, or NULL */
    uint32_t link_crc;
};

/* By build id, then by the link's name where it is customary; a file with another build id, or without one and with
 * another checksum, is passed over. Puts its path, as seen from the root, in path[capacity_bytes]. */
int mw_debugfile_find(const struct mw_debugfile_wanted *wanted, char *path, size_t capacity_bytes);

#endif
