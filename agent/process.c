/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fileio.h"
#include "procfs.h"

#define NS_PER_S       UINT64_C(1000000000)
#define REAPED_WAIT_MS 1000
#define STAT_BYTES     2048

/* ---- /proc/PID/stat ---- */

/* Its fields by their numbers in proc(5): "1234 (any) name) S 1 …". */
enum { FIELD_PARENT = 4, FIELD_SESSION = 6, FIELD_FLAGS = 9, FIELD_START = 22, FIELD_STACK = 28, FIELD_STATUS = 52 };

#define FLAG_FORK_NO_EXEC  0x00000040 /* PF_FORKNOEXEC */
#define FLAG_KERNEL_THREAD 0x00200000 /* PF_KTHREAD */

static void take_name(const char *from, const char *end, char out[MW_PROCESS_NAME_BYTES])
{
    size_t length = 0;
    for (; from < end && length < MW_PROCESS_NAME_BYTES - 1; from++)
        out[length++] = (char)(*from >= ' ' && *from <= '~' ? *from : '?');
    out[length] = '\0';
}

bool mw_process_stat_parse(const char *text, struct mw_process_stat *out)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    *out = (struct mw_process_stat){0};
    if (!open || !close || close < open || close[1] != ' ' || !close[2] || close[3] != ' ')
        return false;
    take_name(open + 1, close, out->name);
    out->state = close[2];
    const char *field = close + 3;
    bool has_parent = false;
    bool has_start = false;
    for (unsigned number = FIELD_PARENT; field; number++, field = strchr(field + 1, ' ')) {
        uint64_t value = strtoull(field, NULL, 10);
        switch (number) {
        case FIELD_PARENT:
            out->parent = (int)value;
            has_parent = field[1] >= '0' && field[1] <= '9';
            break;
        case FIELD_SESSION:
            out->session = (int)value;
            break;
        case FIELD_FLAGS:
            out->flags = value;
            break;
        case FIELD_START:
            out->start_ticks = value;
            has_start = true;
            break;
        case FIELD_STACK:
            out->stack_start = value;
            break;
        case FIELD_STATUS:
            out->wait_status = (int)value;
            break;
        default:
            break;
        }
    }
    return has_parent && has_start;
}

bool mw_process_is_kernels(const struct mw_process_stat *stat)
{
    return stat->flags & FLAG_KERNEL_THREAD;
}

bool mw_process_is_before_exec(const struct mw_process_stat *stat)
{
    return stat->flags & FLAG_FORK_NO_EXEC;
}

bool mw_process_read_stat(int pid, struct mw_process_stat *out)
{
    char path[64];
    char text[STAT_BYTES];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return mw_file_read_whole(path, text, sizeof text) > 0 && mw_process_stat_parse(text, out);
}

/* ---- /proc/PID/status ---- */

static bool read_status(int pid, char *text, size_t capacity_bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    return mw_file_read_whole(path, text, capacity_bytes) > 0;
}

bool mw_process_resident(int pid, uint64_t *bytes)
{
    char text[4096];
    struct mw_proc_status status;
    if (!read_status(pid, text, sizeof text))
        return false;
    mw_proc_status_parse(text, &status);
    *bytes = status.vm_rss_bytes;
    return true;
}

/* ---- which one it is ---- */

/* The kernel knows no process by that number, or only a thread of one. */
static bool refuse_number(int pid, int errno_value, struct mw_error *error)
{
    char status[4096];
    uint64_t process;
    if (errno_value == ENOSYS)
        return mw_error_set(error, 0, "--attach needs Linux 5.3: this kernel has no descriptors of processes");
    if (errno_value != ESRCH && read_status(pid, status, sizeof status) && mw_key_value(status, "Tgid:", &process) &&
        process != (uint64_t)pid)
        return mw_error_set(error, 0, "%d is a thread of the process %llu, not a process", pid,
                            (unsigned long long)process);
    return errno_value == ESRCH || errno_value == EINVAL || errno_value == ENOENT
               ? mw_error_set(error, 0, "there is no process %d", pid)
               : mw_error_set(error, errno_value, "cannot open the process %d", pid);
}

/* The first of the numbers behind "Uid:" is the real user's. */
static bool is_anothers(int pid, uint64_t *user)
{
    char status[4096];
    const char *line = read_status(pid, status, sizeof status) ? strstr(status, "\nUid:\t") : NULL;
    if (geteuid() == 0 || !line)
        return false;
    *user = strtoull(line + 6, NULL, 10);
    return *user != geteuid();
}

static bool is_sound(const struct mw_process *process, const struct mw_process_stat *stat, struct mw_error *error)
{
    uint64_t user;
    int pid = process->pid;
    if (mw_process_is_kernels(stat))
        return mw_error_set(error, 0,
                            "process %d (%s) is a thread of the kernel's: it has no memory of its own to limit", pid,
                            stat->name);
    if (stat->state == 'Z' || stat->state == 'X' || mw_process_has_ended(process))
        return mw_error_set(error, 0, "process %d (%s) has ended already", pid, stat->name);
    if (is_anothers(pid, &user))
        return mw_error_set(error, 0, "process %d (%s) is of another user (%llu): that takes root", pid, stat->name,
                            (unsigned long long)user);
    return true;
}

bool mw_process_open(struct mw_process *process, int pid, struct mw_error *error)
{
    char path[64];
    char text[STAT_BYTES];
    struct mw_process_stat stat;
    *process = (struct mw_process){.pid = pid, .fd = -1, .stat_fd = -1};
    if (pid == getpid())
        return mw_error_set(error, 0, "process %d is memwatch-run itself", pid);
    process->fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process->fd < 0)
        return refuse_number(pid, errno, error);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    process->stat_fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = process->stat_fd >= 0 && mw_fd_read_whole(process->stat_fd, text, sizeof text) > 0 &&
                   mw_process_stat_parse(text, &stat);
    if (!is_read && mw_process_has_ended(process))
        mw_error_set(error, 0, "there is no process %d any more", pid);
    else if (!is_read)
        mw_error_set(error, 0, "%s of another process cannot be read here", path);
    if (!is_read || !is_sound(process, &stat, error)) {
        mw_process_close(process);
        return false;
    }
    memcpy(process->name, stat.name, sizeof process->name);
    process->start_ticks = stat.start_ticks;
    process->tells_status = stat.stack_start != 0;
    return true;
}

void mw_process_close(struct mw_process *process)
{
    if (process->fd >= 0)
        close(process->fd);
    if (process->stat_fd >= 0)
        close(process->stat_fd);
    process->fd = process->stat_fd = -1;
}

uint64_t mw_process_age_ns(const struct mw_process *process)
{
    uint64_t ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t start_ns =
        process->start_ticks / ticks_per_s * NS_PER_S + process->start_ticks % ticks_per_s * NS_PER_S / ticks_per_s;
    uint64_t now_ns = mw_clock_ns(CLOCK_BOOTTIME);
    return now_ns > start_ns ? now_ns - start_ns : 0;
}

/* ---- its end ---- */

bool mw_process_has_ended(const struct mw_process *process)
{
    struct pollfd ended = {.fd = process->fd, .events = POLLIN};
    return poll(&ended, 1, 0) > 0 && (ended.revents & (POLLIN | POLLHUP));
}

/* Linux's struct pidfd_info as it was when it came to tell of exits; <linux/pidfd.h> may be older. */
struct exit_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t wait_status;
};
_Static_assert(sizeof(struct exit_info) == 64, "PIDFD_INFO_SIZE_VER0");

#define PIDFD_ASK_INFO  _IOWR(0xff, 11, struct exit_info)
#define PIDFD_TELL_EXIT (UINT64_C(1) << 3)

/* 0: nothing is told yet. -1: this kernel does not. */
static int ask_descriptor(const struct mw_process *process, int *wait_status)
{
    struct exit_info info = {.mask = PIDFD_TELL_EXIT};
    if (ioctl(process->fd, PIDFD_ASK_INFO, &info))
        return errno == ESRCH ? 0 : -1;
    *wait_status = info.wait_status;
    return (info.mask & PIDFD_TELL_EXIT) != 0;
}

bool mw_process_wait_status(const struct mw_process *process, int *wait_status)
{
    char text[STAT_BYTES];
    struct mw_process_stat stat;
    if (process->tells_status && mw_fd_read_whole(process->stat_fd, text, sizeof text) > 0 &&
        mw_process_stat_parse(text, &stat) && (stat.state == 'Z' || stat.state == 'X')) {
        *wait_status = stat.wait_status;
        return true;
    }
    int told = ask_descriptor(process, wait_status);
    if (told == 0) { /* not before its parent has taken notice, which POLLHUP says */
        struct pollfd reaped = {.fd = process->fd};
        poll(&reaped, 1, REAPED_WAIT_MS);
        told = ask_descriptor(process, wait_status);
    }
    return told > 0;
}
