/* SPDX-License-Identifier: MIT */
#include "cgroup_search.h"

#include <dirent.h>

#include "syscall.h"

#define PROCS "/cgroup.procs"

static int append(char *path, size_t capacity_bytes, struct mw_span more)
{
    size_t length = strlen(path);
    if (length + more.length >= capacity_bytes)
        return -ENAMETOOLONG;
    memcpy(path + length, more.start, more.length);
    path[length + more.length] = '\0';
    return 0;
}

/* Is the number one of the lines? The file may be of any length. */
static bool holds_line(int fd, uint64_t wanted)
{
    char buffer[1024] = ""; /* whoever analyses this does not see what the kernel writes */
    uint64_t number = 0;
    long n;
    while ((n = mw_sys_read(fd, buffer, sizeof buffer)) > 0) {
        for (long i = 0; i < n; i++) {
            if (buffer[i] == '\n' && number == wanted)
                return true;
            number = buffer[i] == '\n' ? 0 : number * 10 + (uint64_t)(buffer[i] - '0');
        }
    }
    return false;
}

static int holds_process(char *path, size_t capacity_bytes, struct mw_span below, uint64_t pid)
{
    size_t length = strlen(path);
    int error = append(path, capacity_bytes, below);
    size_t group_length = strlen(path);
    if (!error)
        error = append(path, capacity_bytes, mw_span_of(PROCS));
    int fd = error ? error : mw_sys_open(path, O_RDONLY | O_CLOEXEC, 0);
    bool is_there = fd >= 0 && holds_line(fd, pid);
    if (fd >= 0)
        mw_sys_close(fd);
    path[is_there ? group_length : length] = '\0';
    return is_there ? 0 : error ? error : -ENOENT;
}

static bool may_be_group(const struct mw_directory_entry *entry)
{
    return (entry->type == DT_DIR || entry->type == DT_UNKNOWN) && strcmp(entry->name, ".") != 0 &&
           strcmp(entry->name, "..") != 0;
}

// NOLINTNEXTLINE(misc-no-recursion): to MW_CGROUP_SEARCH_LEVELS
static int search(char *path, size_t capacity_bytes, unsigned levels, struct mw_span below, uint64_t pid)
{
    _Alignas(8) char buffer[1024] = ""; /* as above */
    size_t length = strlen(path);
    long n;
    if (levels == 0)
        return holds_process(path, capacity_bytes, below, pid);
    int fd = mw_sys_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    int result = -ENOENT;
    while (fd >= 0 && result && (n = mw_sys_getdents(fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n && result; at += ((struct mw_directory_entry *)(void *)(buffer + at))->entry_bytes) {
            const struct mw_directory_entry *entry = (const struct mw_directory_entry *)(const void *)(buffer + at);
            if (!may_be_group(entry))
                continue;
            result = append(path, capacity_bytes, (struct mw_span){"/", 1});
            if (!result)
                result = append(path, capacity_bytes, mw_span_of(entry->name));
            if (!result)
                result = search(path, capacity_bytes, levels - 1, below, pid);
            if (result)
                path[length] = '\0';
        }
    }
    if (fd >= 0)
        mw_sys_close(fd);
    return result;
}

int mw_cgroup_search(char *path, size_t capacity_bytes, unsigned levels, struct mw_span below, uint64_t pid)
{
    return levels > MW_CGROUP_SEARCH_LEVELS ? -ENOENT : search(path, capacity_bytes, levels, below, pid);
}
