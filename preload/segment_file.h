/* SPDX-License-Identifier: MIT
 *
 * The file that a segment is: DIRECTORY/memwatch-UID/PID-STARTTICKS-PIDNAMESPACE.mw.
 *
 * The directory is one that only the user can write, or it is not used. A file of the same name is of this very
 * process, before an exec, and is replaced. What killed processes leave behind stays for whoever wants to know what
 * they held; when there are many, the oldest go.
 *
 * System calls only; errno is left alone. One thread at a time.
 */
#ifndef MW_SEGMENT_FILE_H
#define MW_SEGMENT_FILE_H

#include <stddef.h>
#include <stdint.h>

#define MW_SEGMENT_FILE_PATH_BYTES 256

struct mw_segment_file {
    uint32_t pid;
    uint64_t pid_namespace;
    uint64_t start_ticks;
    char path[MW_SEGMENT_FILE_PATH_BYTES]; /* empty: there is none */
};

/* Fills in which process this is; what cannot be read is 0. */
void mw_segment_file_identify(struct mw_segment_file *file);

/* Makes the file, empty, mode 0600. Returns a descriptor or a negative errno value: -EPERM where the directory is not
 * the user's own. */
int mw_segment_file_create(struct mw_segment_file *file, const char *directory);

void mw_segment_file_remove(struct mw_segment_file *file);

/* The kernel's name of the process. */
void mw_segment_file_comm(char *comm, size_t capacity_bytes);

#endif
