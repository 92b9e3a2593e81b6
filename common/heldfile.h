/* SPDX-License-Identifier: MIT
 *
 * A small file read again and again, in a process that is not ours.
 *
 * The descriptor is kept, so that a tick opens nothing: an open at a random moment could take the number that the
 * program has just closed and means to get back. It is kept at a high number and closed on exec. The program may
 * close it or put something else at its number: each read first makes sure that it is still our file, and a
 * descriptor that is not ours is never read and never closed.
 *
 * One thread at a time. No allocation, no errno.
 */
#ifndef MW_HELDFILE_H
#define MW_HELDFILE_H

#include <stddef.h>
#include <sys/types.h>

struct mw_held_file {
    int fd; /* 0: none; a held descriptor is never one of the first three */
    dev_t device;
    ino_t inode;
};

/* Reads the file from its start, at most capacity_bytes - 1, and terminates it. Opens it where it is not held.
 * Returns the bytes read, or a negative errno value. */
long mw_held_file_read(struct mw_held_file *file, const char *path, char *buffer, size_t capacity_bytes);

/* Opens for appending, creating the file (mode 0600) where there is none. Returns 0 or a negative errno value. */
int mw_held_file_create(struct mw_held_file *file, const char *path);

/* Appends to a file opened with mw_held_file_create. One that was closed under us is opened again only where path
 * still names the same file: the program may have changed its root or its directory.
 * Returns the bytes written, or a negative errno value. */
long mw_held_file_append(struct mw_held_file *file, const char *path, const char *bytes, size_t count);

/* Takes over a descriptor that has just been opened: moves it to a high number. A negative one is the error to be
 * returned. It is closed in any case. Returns 0 or a negative errno value. */
int mw_held_file_take(struct mw_held_file *file, int descriptor);

/* Closes it if it is still ours. */
void mw_held_file_drop(struct mw_held_file *file);

#endif
