/* SPDX-License-Identifier: MIT */
#include "segment_file.h"

#include <stdbool.h>
#include <string.h>

#include "fileio.h"
#include "segment.h"
#include "syscall.h"
#include "text.h"

#define MANY_FILES       64 /* more than these in the directory, and the dead among them are looked for … */
#define DEAD_KEPT        32 /* … and so many of them left */
#define TMPFS_NAME_BYTES 20 /* what a name adds to the size of a directory of tmpfs */

static uint64_t number_at(const char **text)
{
    uint64_t value = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        value = value * 10 + (uint64_t)(**text - '0');
    return value;
}

/* Field 22 of /proc/PID/stat. The name before it, in parentheses, may hold anything, so count from its end. */
static uint64_t start_ticks_of(const char *path)
{
    char text[1024];
    if (mw_file_read_whole(path, text, sizeof text) <= 0)
        return 0;
    const char *s = strrchr(text, ')');
    for (int field = 2; s && field < 22; field++)
        s = strchr(s + 1, ' ');
    if (!s)
        return 0;
    s++;
    return number_at(&s);
}

void mw_segment_file_identify(struct mw_segment_file *file)
{
    char link[64] = "";
    *file = (struct mw_segment_file){.pid = (uint32_t)mw_sys_getpid()};
    file->start_ticks = start_ticks_of("/proc/self/stat");
    mw_syscall6(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/ns/pid", (long)link, sizeof link - 1, 0, 0);
    const char *number = strchr(link, '['); /* "pid:[4026531836]" */
    if (number) {
        number++;
        file->pid_namespace = number_at(&number);
    }
}

void mw_segment_file_comm(char *comm, size_t capacity_bytes)
{
    long length = mw_file_read_whole("/proc/self/comm", comm, capacity_bytes);
    if (length > 0 && comm[length - 1] == '\n')
        comm[length - 1] = '\0';
}

/* ---- those left behind ---- */

struct found {
    uint64_t pid;
    uint64_t ticks;
    uint64_t pid_namespace;
};

static bool parse_name(const char *name, struct found *found)
{
    const char *s = name;
    found->pid = number_at(&s);
    if (*s++ != '-')
        return false;
    found->ticks = number_at(&s);
    if (*s++ != '-')
        return false;
    found->pid_namespace = number_at(&s);
    return strcmp(s, MW_SEGMENT_SUFFIX) == 0;
}

/* Only of our own namespace can it be known. */
static bool is_dead(const struct mw_segment_file *own, const struct found *found)
{
    char path[64];
    struct mw_text text = MW_TEXT(path);
    if (found->pid_namespace != own->pid_namespace || found->pid == own->pid || !own->start_ticks)
        return false;
    mw_text_string(&text, "/proc/");
    mw_text_u64(&text, found->pid);
    mw_text_string(&text, "/stat");
    return start_ticks_of(path) != found->ticks;
}

/* Calls `take` for each file of a dead process; it may unlink it. */
static void for_each_dead(const struct mw_segment_file *own, int directory,
                          void (*take)(int directory, const char *name, uint64_t ticks, void *context), void *context)
{
    _Alignas(8) char buffer[4096] = ""; /* whoever analyses this does not see what the kernel writes */
    long n;
    mw_syscall6(SYS_lseek, directory, 0, SEEK_SET, 0, 0, 0);
    while ((n = mw_sys_getdents(directory, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n; at += ((struct mw_directory_entry *)(void *)(buffer + at))->entry_bytes) {
            const struct mw_directory_entry *entry = (const struct mw_directory_entry *)(const void *)(buffer + at);
            struct found found;
            if (parse_name(entry->name, &found) && is_dead(own, &found))
                take(directory, entry->name, found.ticks, context);
        }
    }
}

/* The ticks of the youngest, in ascending order. */
struct youngest {
    unsigned count;
    uint64_t ticks[DEAD_KEPT];
};

static void note_young(int directory, const char *name, uint64_t ticks, void *context)
{
    struct youngest *youngest = context;
    unsigned at = 0;
    (void)directory, (void)name;
    while (at < youngest->count && youngest->ticks[at] < ticks)
        at++;
    if (youngest->count < DEAD_KEPT) {
        memmove(&youngest->ticks[at + 1], &youngest->ticks[at], (youngest->count - at) * sizeof ticks);
        youngest->ticks[at] = ticks;
        youngest->count++;
    } else if (at > 0) {
        memmove(&youngest->ticks[0], &youngest->ticks[1], (at - 1) * sizeof ticks);
        youngest->ticks[at - 1] = ticks;
    }
}

static void remove_old(int directory, const char *name, uint64_t ticks, void *context)
{
    const struct youngest *youngest = context;
    if (youngest->count == DEAD_KEPT && ticks < youngest->ticks[0])
        mw_syscall6(SYS_unlinkat, directory, (long)name, 0, 0, 0, 0);
}

static void sweep(const struct mw_segment_file *own, int directory)
{
    struct youngest youngest = {0};
    for_each_dead(own, directory, note_young, &youngest);
    for_each_dead(own, directory, remove_old, &youngest);
}

/* ---- the file ---- */

/* A descriptor of the user's own directory, made if need be. */
static int open_directory(const char *path, struct stat *st)
{
    uint32_t user = (uint32_t)mw_syscall6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = mw_sys_open(path, flags, 0);
    if (fd == -ENOENT) {
        long made = mw_syscall6(SYS_mkdirat, AT_FDCWD, (long)path, 0700, 0, 0, 0);
        if (made && made != -EEXIST)
            return (int)made;
        fd = mw_sys_open(path, flags, 0);
    }
    if (fd < 0)
        return fd;
    int error = mw_sys_fstat(fd, st);
    if (!error && (st->st_uid != user || (st->st_mode & 022)))
        error = -EPERM;
    if (!error)
        return fd;
    mw_sys_close(fd);
    return error;
}

int mw_segment_file_create(struct mw_segment_file *file, const char *directory)
{
    struct mw_text path = MW_TEXT(file->path);
    struct stat st = {0};
    mw_text_string(&path, directory);
    mw_text_string(&path, "/memwatch-");
    mw_text_u64(&path, (uint32_t)mw_syscall6(SYS_geteuid, 0, 0, 0, 0, 0, 0));
    int directory_fd = path.truncated ? -ENAMETOOLONG : open_directory(file->path, &st);
    if (directory_fd < 0) {
        file->path[0] = '\0';
        return directory_fd;
    }
    if (st.st_size > MANY_FILES * TMPFS_NAME_BYTES)
        sweep(file, directory_fd);
    size_t name_at = path.length + 1;
    mw_text_char(&path, '/');
    mw_text_u64(&path, file->pid);
    mw_text_char(&path, '-');
    mw_text_u64(&path, file->start_ticks);
    mw_text_char(&path, '-');
    mw_text_u64(&path, file->pid_namespace);
    mw_text_string(&path, MW_SEGMENT_SUFFIX);
    int fd = -ENAMETOOLONG;
    if (!path.truncated) {
        long name = (long)(file->path + name_at);
        mw_syscall6(SYS_unlinkat, directory_fd, name, 0, 0, 0, 0);
        fd = (int)mw_syscall6(SYS_openat, directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600,
                              0, 0);
    }
    mw_sys_close(directory_fd);
    if (fd < 0)
        file->path[0] = '\0';
    return fd;
}

void mw_segment_file_remove(struct mw_segment_file *file)
{
    if (file->path[0])
        mw_syscall6(SYS_unlinkat, AT_FDCWD, (long)file->path, 0, 0, 0, 0);
    file->path[0] = '\0';
}
