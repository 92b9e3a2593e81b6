/* SPDX-License-Identifier: MIT */
#include "heldfile.h"

#include <stdbool.h>

#include "fileio.h"
#include "syscall.h"

/* Out of the way of programs, within the soft limit of 1,024, and small enough not to grow the kernel's table. */
#define LOWEST_FD 200

static bool is_ours(const struct mw_held_file *file)
{
    struct stat st;
    return file->fd > 0 && mw_sys_fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode;
}

int mw_held_file_take(struct mw_held_file *out, int low)
{
    struct stat st;
    if (low < 0)
        return low;
    int high = mw_sys_fcntl(low, F_DUPFD_CLOEXEC, LOWEST_FD);
    if (high < 0)
        high = mw_sys_fcntl(low, F_DUPFD_CLOEXEC, 3); /* a low RLIMIT_NOFILE */
    mw_sys_close(low);
    if (high < 0)
        return high;
    int error = mw_sys_fstat(high, &st);
    if (error) {
        mw_sys_close(high);
        return error;
    }
    *out = (struct mw_held_file){.fd = high, .device = st.st_dev, .inode = st.st_ino};
    return 0;
}

/* Opens path at a high number. */
static int open_high(const char *path, int flags, struct mw_held_file *out)
{
    return mw_held_file_take(out, mw_sys_open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
}

long mw_held_file_read(struct mw_held_file *file, const char *path, char *buffer, size_t capacity_bytes)
{
    if (!is_ours(file)) {
        *file = (struct mw_held_file){0};
        int error = open_high(path, O_RDONLY, file);
        if (error)
            return error;
    }
    return mw_fd_read_whole(file->fd, buffer, capacity_bytes);
}

int mw_held_file_create(struct mw_held_file *file, const char *path)
{
    return open_high(path, O_WRONLY | O_APPEND | O_CREAT, file);
}

static int reopen_same(struct mw_held_file *file, const char *path)
{
    struct mw_held_file again = {0};
    int error = open_high(path, O_WRONLY | O_APPEND, &again);
    if (error)
        return error;
    if (again.device != file->device || again.inode != file->inode) {
        mw_sys_close(again.fd);
        return -ESTALE;
    }
    *file = again;
    return 0;
}

long mw_held_file_append(struct mw_held_file *file, const char *path, const char *bytes, size_t count)
{
    int error = is_ours(file) ? 0 : reopen_same(file, path);
    if (error)
        return error;
    long n;
    do
        n = mw_sys_write(file->fd, bytes, count);
    while (n == -EINTR);
    return n;
}

void mw_held_file_drop(struct mw_held_file *file)
{
    if (is_ours(file))
        mw_sys_close(file->fd);
    *file = (struct mw_held_file){0};
}
