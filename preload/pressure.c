/* SPDX-License-Identifier: MIT */
#include "pressure.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base64.h"
#include "syscall.h"
#include "text.h"

#define PATH_BYTES (MW_CGROUP_PATH_BYTES + 64)

/* Memory was waited for during 150 ms within 2 s. Without privilege the window has to be a multiple of 2 s. */
static const char trigger[] = "some 150000 2000000";

/* ---- descriptors ---- */

/* Eventfds share one inode, and the program may watch the same file or FIFO as we do. So each of our open files carries
 * a mark: the signal that it would announce input with, had that been switched on (it never is). */
#define MARK_SIGNAL 59

static bool is_ours(const struct mw_held_file *file)
{
    struct stat st;
    return file->fd > 0 && mw_sys_fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode &&
           mw_sys_fcntl(file->fd, F_GETSIG, 0) == MARK_SIGNAL;
}

static void drop(struct mw_held_file *file)
{
    if (is_ours(file))
        mw_sys_close(file->fd);
    *file = (struct mw_held_file){0};
}

/* Moves a descriptor, if it is one, out of the way of the program, and marks it. */
static bool hold(struct mw_held_file *out, int low)
{
    if (mw_held_file_take(out, low))
        return false;
    if (mw_sys_fcntl(out->fd, F_SETSIG, MARK_SIGNAL) == 0)
        return true;
    mw_sys_close(out->fd);
    *out = (struct mw_held_file){0};
    return false;
}

static int open_there(const char *path, int flags)
{
    return mw_sys_open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
}

/* Also for what cannot be opened: negative. */
static bool has_type(int fd, mode_t type)
{
    struct stat st = {0};
    return fd >= 0 && mw_sys_fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == type;
}

/* ---- the sources ---- */

/* What is to be written into a source. */
struct message {
    size_t length;
    char bytes[MW_PRESSURE_WRITE_BYTES];
};

/* A PSI file, or a FIFO. */
static bool open_file(struct mw_pressure *pressure, const char *path, mode_t type, const void *message, size_t length)
{
    int low = open_there(path, O_RDWR);
    if (low == -EACCES && !length)
        low = open_there(path, O_RDONLY);
    bool is_due = has_type(low, type) && (!length || mw_sys_write(low, message, length) == (long)length);
    if (!is_due && low >= 0)
        mw_sys_close(low);
    return is_due && hold(&pressure->events, low);
}

static bool open_stalls(struct mw_pressure *pressure, const char *path)
{
    pressure->kind = MW_PRESSURE_STALLS;
    return open_file(pressure, path, S_IFREG, trigger, sizeof trigger); /* with its NUL */
}

static bool open_socket(struct mw_pressure *pressure, const char *path, const struct message *message)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path)
        return false;
    memcpy(address.sun_path, path, length);
    pressure->kind = MW_PRESSURE_SOCKET;
    if (!hold(&pressure->events, mw_sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)))
        return false;
    int fd = pressure->events.fd;
    return mw_sys_connect(fd, &address, sizeof address) == 0 &&
           (!message->length ||
            mw_sys_send(fd, message->bytes, message->length, MSG_NOSIGNAL) == (long)message->length);
}

static bool open_fifo(struct mw_pressure *pressure, const char *path, const struct message *message)
{
    pressure->kind = MW_PRESSURE_FIFO;
    pressure->echo_bytes = message->length;
    return open_file(pressure, path, S_IFIFO, message->bytes, message->length);
}

/* What the service manager says. Nothing but these three is even opened: for a device, that might mean something. */
static bool open_watch(struct mw_pressure *pressure, const struct mw_pressure_places *places)
{
    struct message message = {0};
    struct stat st;
    const char *path = places->watch;
    if (!path || *path != '/' || mw_sys_stat(path, &st))
        return false;
    long length = mw_base64_decode(places->write ? places->write : "", message.bytes, sizeof message.bytes);
    if (length < 0)
        return false;
    message.length = (size_t)length;
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        pressure->kind = MW_PRESSURE_STALLS;
        return open_file(pressure, path, S_IFREG, message.bytes, message.length);
    case S_IFIFO:
        return open_fifo(pressure, path, &message);
    case S_IFSOCK:
        return open_socket(pressure, path, &message);
    default:
        return false;
    }
}

/* dir/name into path; false: too long. */
static bool join(char path[PATH_BYTES], const char *dir, const char *name)
{
    struct mw_text text = mw_text_on(path, PATH_BYTES);
    mw_text_string(&text, dir);
    mw_text_char(&text, '/');
    mw_text_string(&text, name);
    return !text.truncated;
}

static bool open_group_stalls(struct mw_pressure *pressure, const struct mw_pressure_places *places)
{
    char path[PATH_BYTES];
    return places->cgroup && mw_cgroup_file_path(places->cgroup, MW_CGROUP_PRESSURE, path, sizeof path) == 0 &&
           open_stalls(pressure, path);
}

/* Asks the group to count up our eventfd: "EVENTFD FILE LEVEL". */
static bool ask_for_events(int event_control, const struct mw_pressure *pressure)
{
    char line[64];
    struct mw_text text = MW_TEXT(line);
    mw_text_u64(&text, (uint64_t)pressure->events.fd);
    mw_text_char(&text, ' ');
    mw_text_u64(&text, (uint64_t)pressure->control.fd);
    mw_text_string(&text, " medium");
    return mw_sys_write(event_control, text.start, text.length + 1) > 0;
}

static bool open_group_levels(struct mw_pressure *pressure, const struct mw_pressure_places *places)
{
    char path[PATH_BYTES];
    pressure->kind = MW_PRESSURE_EVENTS;
    if (!places->cgroup || mw_cgroup_file_path(places->cgroup, MW_CGROUP_PRESSURE_LEVEL, path, sizeof path) ||
        !hold(&pressure->control, open_there(path, O_RDONLY)) ||
        mw_cgroup_file_path(places->cgroup, MW_CGROUP_EVENT_CONTROL, path, sizeof path))
        return false;
    int event_control = open_there(path, O_WRONLY);
    if (event_control < 0)
        return false;
    bool is_asked = hold(&pressure->events, mw_sys_eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) &&
                    ask_for_events(event_control, pressure);
    mw_sys_close(event_control);
    return is_asked;
}

static bool open_machine_stalls(struct mw_pressure *pressure, const struct mw_pressure_places *places)
{
    char path[PATH_BYTES];
    return join(path, places->root, "proc/pressure/memory") && open_stalls(pressure, path);
}

/* By their rank. */
static bool (*const sources[])(struct mw_pressure *pressure, const struct mw_pressure_places *places) = {
    [MW_SEGMENT_PRESSURE_WATCH] = open_watch,
    [MW_SEGMENT_PRESSURE_GROUP_STALLS] = open_group_stalls,
    [MW_SEGMENT_PRESSURE_GROUP_LEVELS] = open_group_levels,
    [MW_SEGMENT_PRESSURE_MACHINE_STALLS] = open_machine_stalls,
};

/* ---- looking ---- */

/* What poll says at once. */
static int look(const struct mw_pressure *pressure)
{
    struct pollfd events = {.fd = pressure->events.fd,
                            .events = pressure->kind == MW_PRESSURE_STALLS ? POLLPRI : POLLIN};
    return mw_sys_poll(&events, 0) == 1 ? events.revents : 0;
}

/* A PSI file says so too where no trigger was written. */
static bool is_gone(int events)
{
    return events & (POLLERR | POLLNVAL);
}

void mw_pressure_open(struct mw_pressure *pressure, const struct mw_pressure_places *places)
{
    bool is_off = places->watch && strcmp(places->watch, "/dev/null") == 0;
    if (is_off || (pressure->source && is_ours(&pressure->events)))
        return;
    for (unsigned i = 1; i < sizeof sources / sizeof sources[0]; i++) {
        mw_pressure_close(pressure);
        if (sources[i](pressure, places) && !is_gone(look(pressure))) {
            pressure->source = (enum mw_segment_pressure_source)i;
            return;
        }
    }
    mw_pressure_close(pressure);
}

void mw_pressure_close(struct mw_pressure *pressure)
{
    drop(&pressure->events);
    drop(&pressure->control);
    *pressure = (struct mw_pressure){0};
}

/* Reads and discards what has come through a FIFO or a socket. */
static bool take_bytes(struct mw_pressure *pressure)
{
    char discarded[512];
    size_t total = 0;
    long n = 1;
    for (unsigned rounds = 0; rounds < 16 && n > 0; rounds++) { /* it might be written as fast as we read */
        n = mw_sys_read(pressure->events.fd, discarded, sizeof discarded);
        total += n > 0 ? (size_t)n : 0;
    }
    bool is_echo = total == pressure->echo_bytes;
    pressure->echo_bytes = 0;
    if (n == 0 && pressure->kind == MW_PRESSURE_SOCKET)
        mw_pressure_close(pressure); /* the other end has closed it */
    return total && !is_echo;
}

/* The events are counted up also when the group is removed. Its files tell that by the error that reading them gives:
 * this one cannot be read while it is there either. */
static bool take_events(struct mw_pressure *pressure)
{
    uint64_t count;
    char byte;
    if (mw_sys_read(pressure->events.fd, &count, sizeof count) != (long)sizeof count)
        return false;
    if (is_ours(&pressure->control) && mw_sys_pread(pressure->control.fd, &byte, 1, 0) != -ENODEV)
        return true;
    mw_pressure_close(pressure);
    return false;
}

bool mw_pressure_fired(struct mw_pressure *pressure)
{
    if (!pressure->source)
        return false;
    int events = is_ours(&pressure->events) ? look(pressure) : POLLERR;
    if (is_gone(events)) {
        mw_pressure_close(pressure);
        return false;
    }
    switch (pressure->kind) {
    case MW_PRESSURE_STALLS:
        return events & POLLPRI;
    case MW_PRESSURE_EVENTS:
        return events & POLLIN && take_events(pressure);
    default:
        return events & POLLIN && take_bytes(pressure);
    }
}
