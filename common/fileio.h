/* SPDX-License-Identifier: MIT
 *
 * Small files, whole, into a buffer of the caller's. No allocation, no errno. Any thread, async-signal-safe.
 */
#ifndef MW_FILEIO_H
#define MW_FILEIO_H

#include <stddef.h>

#include "syscall.h"

/* Reads fd from the start into buffer, terminated with a 0 byte. What exceeds capacity_bytes - 1 is left out.
 * Returns the bytes read, or a negative errno value. */
static inline long mw_fd_read_whole(int fd, char *buffer, size_t capacity_bytes)
{
    size_t length = 0;
    while (length < capacity_bytes - 1) {
        long n = mw_sys_pread(fd, buffer + length, capacity_bytes - 1 - length, length);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    buffer[length] = '\0';
    return (long)length;
}

/* The same by path. */
static inline long mw_file_read_whole(const char *path, char *buffer, size_t capacity_bytes)
{
    int fd = mw_sys_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long length = mw_fd_read_whole(fd, buffer, capacity_bytes);
    mw_sys_close(fd);
    return length;
}

#endif
