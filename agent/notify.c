/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "log.h"

enum {
    MESSAGE_BYTES = 4096 + 1, /* systemd takes no longer one */
    MOST_DESCRIPTORS = 253,   /* the kernel passes no more at once (SCM_MAX_FD) */
    MOST_AT_ONCE = 64,        /* a program that never stops talking is not to keep us from signals */
};

/* ---- the sockets ---- */

/* A path, or "@" and a name in the abstract space. Others, such as vsock, are for a program of its own to reach. */
static bool parse_address(const char *text, struct mw_notify *notify)
{
    size_t length = strlen(text);
    if ((*text != '/' && *text != '@') || length < 2 || length >= sizeof notify->manager.sun_path)
        return false;
    notify->manager = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->manager.sun_path, text, length);
    notify->manager_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*text == '/'));
    if (*text == '@')
        notify->manager.sun_path[0] = '\0';
    return true;
}

/* At a name in the abstract space that the kernel chooses. */
static bool bind_own(int fd, char name[sizeof(struct sockaddr_un)])
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    socklen_t length = sizeof own;
    const int yes = 1;
    const struct timeval patience = {.tv_sec = 1};
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
        bind(fd, (const struct sockaddr *)&own, sizeof own.sun_family) ||
        getsockname(fd, (struct sockaddr *)&own, &length))
        return false;
    size_t name_length = length - offsetof(struct sockaddr_un, sun_path);
    memcpy(name, own.sun_path, name_length);
    name[0] = '@';
    name[name_length] = '\0';
    return true;
}

void mw_notify_open(struct mw_notify *notify)
{
    char name[sizeof(struct sockaddr_un)];
    const char *address = getenv("NOTIFY_SOCKET");
    *notify = (struct mw_notify){.fd = -1};
    if (!address || !parse_address(address, notify))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind_own(fd, name) && setenv("NOTIFY_SOCKET", name, 1) == 0) {
        notify->fd = fd;
        return;
    }
    mw_warn("the program has to tell the service manager by itself that it is ready: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* ---- who speaks ---- */

static bool is_in_group(pid_t pid, const struct mw_cgroup *group)
{
    char number[16];
    struct mw_cgroup its;
    size_t length = strlen(group->dir);
    snprintf(number, sizeof number, "%d", (int)pid);
    return mw_cgroup_find("", number, &its) == 0 && strncmp(its.dir, group->dir, length) == 0 &&
           (its.dir[length] == '\0' || its.dir[length] == '/');
}

/* The socket's name is no secret. */
static bool may_speak(const struct ucred *sender, const struct mw_notify_speakers *speakers)
{
    return sender->pid > 0 && (sender->pid == speakers->pid || sender->uid == geteuid() ||
                               (speakers->group && is_in_group(sender->pid, speakers->group)));
}

/* ---- messages ---- */

static bool is_for_manager(const char *line, size_t length, bool is_stopping)
{
    static const char main_process[] = "MAINPID";
    static const char stopping[] = "STOPPING=1";
    if (strncmp(line, main_process, sizeof main_process - 1) == 0) /* MAINPIDFDID and MAINPIDFD too */
        return false;
    return is_stopping || length != sizeof stopping - 1 || strncmp(line, stopping, length) != 0;
}

void mw_notify_filter(char *message, bool is_stopping)
{
    char *kept = message;
    for (const char *line = message; *line;) {
        size_t length = strcspn(line, "\n");
        size_t whole = length + (line[length] == '\n');
        if (is_for_manager(line, length, is_stopping)) {
            memmove(kept, line, whole);
            kept += whole;
        }
        line += whole;
    }
    *kept = '\0';
}

/* One message, as it came. */
struct message {
    char text[MESSAGE_BYTES];
    struct ucred sender;
    int descriptors[MOST_DESCRIPTORS];
    size_t descriptor_count;
};

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
};

static void take_control(struct msghdr *header, struct message *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        size_t bytes = part->cmsg_len - CMSG_LEN(0);
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_CREDENTIALS && bytes == sizeof message->sender)
            memcpy(&message->sender, CMSG_DATA(part), bytes);
        if (part->cmsg_type == SCM_RIGHTS && bytes <= sizeof message->descriptors) {
            memcpy(message->descriptors, CMSG_DATA(part), bytes);
            message->descriptor_count = bytes / sizeof(int);
        }
    }
}

/* 1: one has come; 0: it was cut off, and is none; -1: there is none. */
static int receive(int fd, struct message *message)
{
    union control control;
    struct iovec text = {.iov_base = message->text, .iov_len = sizeof message->text - 1};
    struct msghdr header = {
        .msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    message->descriptor_count = 0;
    message->sender = (struct ucred){0};
    ssize_t length = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0)
        return -1;
    message->text[length] = '\0';
    take_control(&header, message);
    return !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
}

static bool send_on(const struct mw_notify *notify, struct message *message)
{
    union control control;
    size_t bytes = message->descriptor_count * sizeof(int);
    struct iovec text = {.iov_base = message->text, .iov_len = strlen(message->text)};
    struct msghdr header = {
        .msg_name = (void *)&notify->manager, .msg_namelen = notify->manager_length, .msg_iov = &text, .msg_iovlen = 1};
    if (bytes) {
        control.header =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(bytes)};
        memcpy(CMSG_DATA(&control.header), message->descriptors, bytes);
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(bytes);
    }
    return sendmsg(notify->fd, &header, MSG_NOSIGNAL) >= 0;
}

void mw_notify_pass_on(const struct mw_notify *notify, const struct mw_notify_speakers *speakers, bool is_stopping)
{
    struct message message;
    for (unsigned i = 0; i < MOST_AT_ONCE && notify->fd >= 0; i++) {
        int came = receive(notify->fd, &message);
        if (came < 0)
            return;
        mw_notify_filter(message.text, is_stopping);
        if (came && *message.text && may_speak(&message.sender, speakers) && !send_on(notify, &message))
            mw_warn("the service manager is not told \"%.*s\": %s", (int)strcspn(message.text, "\n"), message.text,
                    strerror(errno));
        for (size_t d = 0; d < message.descriptor_count; d++)
            close(message.descriptors[d]);
    }
}
