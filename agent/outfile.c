/* SPDX-License-Identifier: MIT */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"

static bool write_all(int fd, const char *bytes, size_t count)
{
    while (count) {
        ssize_t done = write(fd, bytes, count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        bytes += done;
        count -= (size_t)done;
    }
    return true;
}

static bool write_into(const char *path, const void *bytes, size_t count, struct mw_error *error)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || !write_all(fd, bytes, count)) {
        int cause = errno;
        if (fd >= 0)
            close(fd);
        return mw_error_set(error, cause, "cannot write %s", path);
    }
    close(fd);
    return true;
}

bool mw_outfile_write(const char *path, const void *bytes, size_t count, struct mw_error *error)
{
    struct stat status;
    if (strcmp(path, "-") == 0)
        return write_all(STDOUT_FILENO, bytes, count) || mw_error_set(error, errno, "cannot write standard output");
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return write_into(path, bytes, count, error);
    size_t name_bytes = strlen(path) + sizeof ".XXXXXX";
    char *name = mw_memory_new(name_bytes, 1);
    snprintf(name, name_bytes, "%s.XXXXXX", path);
    int fd = mkostemp(name, O_CLOEXEC);
    int cause = fd < 0 ? errno : 0;
    if (fd >= 0) {
        mode_t mask = umask(0);
        umask(mask);
        if (!write_all(fd, bytes, count) || fchmod(fd, 0666 & ~mask) || rename(name, path))
            cause = errno;
        close(fd);
        if (cause)
            unlink(name);
    }
    free(name);
    return !cause || mw_error_set(error, cause, "cannot write %s", path);
}
