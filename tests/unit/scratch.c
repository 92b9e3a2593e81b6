/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

int scratch_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    char dir[512];
    snprintf(dir, sizeof dir, "%s/memwatch-test-XXXXXX", base && *base ? base : "/tmp");
    *state = mkdtemp(dir) ? strdup(dir) : NULL;
    return *state ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

int scratch_teardown(void **state)
{
    int result = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return result;
}

const char *scratch_path(const char *dir, const char *name)
{
    static char paths[8][8192];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

const char *scratch_write(const char *dir, const char *name, const char *content)
{
    const char *path = scratch_path(dir, name);
    char above[8192];
    snprintf(above, sizeof above, "%s", path);
    for (char *slash = strchr(above + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(above, 0755);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_return_code(fd, 0);
    size_t length = strlen(content);
    assert_int_equal(write(fd, content, length), length);
    close(fd);
    return path;
}

const char *scratch_read(const char *path)
{
    static char content[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_return_code(fd, 0);
    ssize_t length = read(fd, content, sizeof content - 1);
    assert_in_range(length, 0, sizeof content - 1);
    content[length] = '\0';
    close(fd);
    return content;
}

unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 3; /* ".", ".." and the directory itself */
}
