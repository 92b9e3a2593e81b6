/* SPDX-License-Identifier: MIT */
#include "output.h"

#include "syscall.h"

int mw_output_open(struct mw_output *output, struct mw_output_target target)
{
    struct stat st;
    *output = (struct mw_output){.target = target};
    if (target.kind == MW_OUTPUT_PATH)
        return mw_held_file_create(&output->file, target.path);
    if (target.kind == MW_OUTPUT_FD) {
        int error = mw_sys_fstat(target.fd, &st);
        if (error)
            return error;
        output->file = (struct mw_held_file){.fd = target.fd, .device = st.st_dev, .inode = st.st_ino};
    }
    return 0;
}

/* Is the descriptor still what it was, and ready? A write to a full pipe would stand still. */
static bool is_ready(const struct mw_output *output)
{
    struct stat st;
    struct pollfd fd = {.fd = output->target.fd, .events = POLLOUT};
    return mw_sys_fstat(fd.fd, &st) == 0 && st.st_dev == output->file.device && st.st_ino == output->file.inode &&
           mw_sys_poll(&fd, 0) == 1 && (fd.revents & POLLOUT);
}

static long write_some(struct mw_output *output, const char *bytes, size_t count)
{
    if (output->target.kind == MW_OUTPUT_PATH)
        return mw_held_file_append(&output->file, output->target.path, bytes, count);
    /* A pipe that is ready takes PIPE_BUF bytes at once; more it might stand still for. */
    size_t done = 0;
    long n = -EAGAIN;
    while (done < count && is_ready(output)) {
        size_t piece = count - done < 4096 ? count - done : 4096;
        n = mw_sys_write(output->target.fd, bytes + done, piece);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done ? (long)done : n;
}

bool mw_output_write(struct mw_output *output, const char *line, size_t count)
{
    if (output->target.kind == MW_OUTPUT_NONE)
        return true;
    if (output->in_line && write_some(output, "\n", 1) != 1)
        return false;
    output->in_line = false;
    long written = write_some(output, line, count);
    output->in_line = written > 0 && (size_t)written < count;
    return written > 0 && (size_t)written == count;
}
