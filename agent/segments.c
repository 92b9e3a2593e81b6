/* SPDX-License-Identifier: MIT */
#include "segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"

#define DIRECTORY_PREFIX "memwatch-"
#define COUNT(array)     (sizeof(array) / sizeof(array)[0])

struct mw_segments_places mw_segments_places(void)
{
    const char *given = getenv("MEMWATCH_DIR");
    return (struct mw_segments_places){.proc = "/proc", .directory = given && *given ? given : MW_SEGMENT_DIRECTORY};
}

/* ---- names ---- */

/* Digits at the cursor, which is moved behind them. */
static bool take_number(const char **cursor, uint64_t most, uint64_t *out)
{
    const char *s = *cursor;
    uint64_t value = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return false;
    if (s == *cursor || value > most)
        return false;
    *cursor = s;
    *out = value;
    return true;
}

static bool take_text(const char **cursor, const char *text)
{
    size_t length = strlen(text);
    if (strncmp(*cursor, text, length) != 0)
        return false;
    *cursor += length;
    return true;
}

bool mw_segment_name_parse(const char *path, struct mw_segment_name *name)
{
    const char *slash = strrchr(path, '/');
    const char *s = slash ? slash + 1 : path;
    uint64_t pid;
    if (!take_number(&s, INT_MAX, &pid) || pid == 0 || !take_text(&s, "-") ||
        !take_number(&s, UINT64_MAX, &name->start_ticks) || !take_text(&s, "-") ||
        !take_number(&s, UINT64_MAX, &name->pid_namespace) || !take_text(&s, MW_SEGMENT_SUFFIX) || *s)
        return false;
    name->pid = (int)pid;
    return true;
}

/* Is it a directory's name, memwatch-UID? */
static bool parse_directory_name(const char *s, uid_t *uid)
{
    uint64_t number;
    if (!take_text(&s, DIRECTORY_PREFIX) || !take_number(&s, UINT32_MAX, &number) || *s)
        return false;
    *uid = (uid_t)number;
    return true;
}

/* ---- /proc ---- */

/* False: the path would be too long, which it never is. */
__attribute__((format(printf, 2, 3))) static bool put_path(char path[MW_SEGMENTS_PATH_BYTES], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(path, MW_SEGMENTS_PATH_BYTES, format, arguments);
    va_end(arguments);
    return length >= 0 && length < MW_SEGMENTS_PATH_BYTES;
}

/* Is there a process of that pid, and when did it begin? One that has ended and waits for its parent is none. From
 * proc/PID/stat: "1234 (any) name) S 1 …", of which field 3 is the state, 20 the threads, 22 the start. */
static bool find_running(const struct mw_segments_places *places, int pid, uint64_t *start_ticks)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    char text[1024];
    if (!put_path(path, "%s/%d/stat", places->proc, pid) || mw_file_read_whole(path, text, sizeof text) < 0)
        return false;
    const char *fields[23] = {NULL, NULL, strrchr(text, ')')};
    for (unsigned i = 3; i < COUNT(fields); i++) {
        const char *blank = fields[i - 1] ? strchr(fields[i - 1], ' ') : NULL;
        fields[i] = blank ? blank + 1 : NULL;
    }
    uint64_t threads;
    if (!fields[22] || !take_number(&fields[20], UINT64_MAX, &threads) ||
        !take_number(&fields[22], UINT64_MAX, start_ticks))
        return false;
    return *fields[3] != 'Z' || threads > 1; /* the first thread may have ended before the others */
}

/* The pid that the process has in its own namespace: the last in "NSpid:\t1234\t7\n" of proc/PID/status. */
static int own_pid(const struct mw_segments_places *places, int pid)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    char text[4096];
    uint64_t own;
    if (!put_path(path, "%s/%d/status", places->proc, pid) || mw_file_read_whole(path, text, sizeof text) < 0)
        return pid;
    char *line = strstr(text, "\nNSpid:\t");
    if (!line)
        return pid; /* kernels before 4.1 do not tell */
    line[1 + strcspn(line + 1, "\n")] = '\0';
    const char *last = strrchr(line, '\t') + 1;
    return take_number(&last, INT_MAX, &own) ? (int)own : pid;
}

bool mw_segments_is_ours(const struct mw_segments_places *places, uint64_t pid_namespace)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    char link[64];
    uint64_t ours;
    if (!put_path(path, "%s/self/ns/pid", places->proc))
        return false;
    ssize_t length = readlink(path, link, sizeof link - 1);
    if (length < 0)
        return false;
    link[length] = '\0'; /* pid:[4026531836] */
    const char *s = link;
    return take_text(&s, "pid:[") && take_number(&s, UINT64_MAX, &ours) && ours == pid_namespace;
}

bool mw_segments_is_alive(const struct mw_segments_places *places, const struct mw_segment_name *name)
{
    uint64_t ticks;
    return mw_segments_is_ours(places, name->pid_namespace) && find_running(places, name->pid, &ticks) &&
           ticks == name->start_ticks;
}

/* ---- opening ---- */

/* Opens what is mapped at `path` in a process's root, and nothing outside of it. */
static int open_in_root(int root, const char *path)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)mw_syscall6(SYS_openat2, root, (long)path, (long)&how, sizeof how, 0, 0);
}

/* Keeps a descriptor only if it is a file that this user may believe to be a segment. */
static int keep_if_sound(int fd, const char *path, struct mw_error *error)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_uid == geteuid() || geteuid() == 0))
        return fd;
    mw_error_set(error, 0, "%s is not a memwatch segment of this user's", path);
    close(fd);
    return -1;
}

int mw_segments_open_file(const char *path, struct mw_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        mw_error_set(error, errno, errno == ELOOP ? "%s is a link" : "cannot open %s", path);
        return -1;
    }
    return keep_if_sound(fd, path, error);
}

/* A line of /proc/PID/maps (proc(5)):
 * 7f5c2a000000-7f5c2a421000 rw-s 00000000 00:1a 23 /dev/shm/memwatch-0/1234-5678-4026531836.mw (deleted) */
struct mapping {
    char range[40];
    char path[MW_SEGMENTS_PATH_BYTES];
};

/* False: it is not the mapping of a segment. */
static bool parse_mapping(char *line, struct mapping *mapping, struct mw_segment_name *name)
{
    static const char deleted[] = " (deleted)";
    char *path = strchr(line, '/');
    if (!path)
        return false;
    path[strcspn(path, "\n")] = '\0';
    size_t length = strlen(path);
    if (length > sizeof deleted - 1 && strcmp(path + length - (sizeof deleted - 1), deleted) == 0)
        path[length - (sizeof deleted - 1)] = '\0';
    char *file = strrchr(path, '/');
    if (!mw_segment_name_parse(path, name) || strlen(path) >= sizeof mapping->path)
        return false;
    *file = '\0';
    char *directory = strrchr(path, '/');
    uid_t uid;
    bool known = directory && parse_directory_name(directory + 1, &uid);
    *file = '/';
    snprintf(mapping->range, sizeof mapping->range, "%.*s", (int)strcspn(line, " "), line);
    strcpy(mapping->path, path); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
    return known;
}

/* A sentence that says it all, and an errno for the caller alone. */
static bool set_cause(struct mw_error *error, int errno_value, const char *format, int pid)
{
    mw_error_set(error, 0, format, pid); // NOLINT(clang-diagnostic-format-nonliteral)
    error->errno_value = errno_value;
    return false;
}

/* The mapping of a process's own segment. One of another process's may stand in its maps besides: after a fork, until
 * the child has made its own, and after a vfork. False: it has none, *error says why. */
static bool find_mapping(const struct mw_segments_places *places, int pid, struct mapping *mapping,
                         struct mw_error *error)
{
    char path[MW_SEGMENTS_PATH_BYTES];
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    if (!put_path(path, "%s/%d/maps", places->proc, pid))
        return mw_error_set(error, ENAMETOOLONG, "%s", places->proc);
    FILE *maps = fopen(path, "re");
    if (!maps && errno == ENOENT)
        return set_cause(error, ENOENT, "there is no process %d", pid);
    if (!maps)
        return mw_error_set(error, errno, "cannot look into process %d", pid);
    int own = own_pid(places, pid);
    struct mw_segment_name name;
    errno = 0;
    while (!found && getline(&line, &capacity, maps) > 0)
        found = parse_mapping(line, mapping, &name) && name.pid == own;
    int errno_value = errno;
    free(line);
    fclose(maps);
    if (!found && errno_value) /* the kernel lets anybody open it, and refuses to be read */
        return mw_error_set(error, errno_value, "cannot look into process %d", pid);
    uint64_t ticks;
    if (!found && !find_running(places, pid, &ticks))
        return set_cause(error, ENOENT, "process %d has ended", pid);
    return found ? true : set_cause(error, ENODATA, "process %d is not watched: libmemwatch.so is not in it", pid);
}

int mw_segments_open_process(const struct mw_segments_places *places, int pid, char path[MW_SEGMENTS_PATH_BYTES],
                             struct mw_error *error)
{
    struct mapping mapping;
    char in_proc[MW_SEGMENTS_PATH_BYTES];
    if (!find_mapping(places, pid, &mapping, error))
        return -1;
    int fd = -ENAMETOOLONG;
    int root =
        put_path(in_proc, "%s/%d/root", places->proc, pid) ? open(in_proc, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (root >= 0) {
        fd = open_in_root(root, mapping.path);
        close(root);
    }
    if (fd >= 0 && put_path(path, "%s%s", in_proc, mapping.path))
        return keep_if_sound(fd, path, error);
    /* Deleted, or in a directory that is not there any more. The kernel shows it to root only. */
    if (fd < 0 && put_path(path, "%s/%d/map_files/%s", places->proc, pid, mapping.range))
        fd = mw_sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd >= 0)
        return keep_if_sound(fd, path, error);
    mw_error_set(error, -fd, "cannot open the segment of process %d, %s", pid, mapping.path);
    return -1;
}

/* ---- lists ---- */

static int compare_pids(const void *left, const void *right)
{
    int a = *(const int *)left;
    int b = *(const int *)right;
    return (a > b) - (a < b);
}

static int compare_paths(const void *left, const void *right)
{
    return strcmp(((const struct mw_segments_dead *)left)->path, ((const struct mw_segments_dead *)right)->path);
}

/* An array with room for one more; NULL: there is not enough memory. It doubles where the count is a power of two. */
static void *grown(void *items, size_t count, size_t item_bytes)
{
    return count & (count - 1) ? items : reallocarray(items, count ? 2 * count : 1, item_bytes);
}

bool mw_segments_find_watched(const struct mw_segments_places *places, struct mw_segments_list *list,
                              struct mw_error *error)
{
    DIR *proc = opendir(places->proc);
    bool done = true;
    if (!proc)
        return mw_error_set(error, errno, "cannot open %s", places->proc);
    for (struct dirent *entry; done && (entry = readdir(proc));) {
        struct mapping mapping;
        struct mw_error none;
        uint64_t pid;
        const char *s = entry->d_name;
        if (!take_number(&s, INT_MAX, &pid) || *s || !find_mapping(places, (int)pid, &mapping, &none))
            continue;
        int *pids = grown(list->pids, list->pid_count, sizeof *pids);
        done = pids;
        if (pids) {
            list->pids = pids;
            pids[list->pid_count++] = (int)pid;
        }
    }
    closedir(proc);
    if (list->pids)
        qsort(list->pids, list->pid_count, sizeof *list->pids, compare_pids);
    return done ? true : mw_error_set(error, ENOMEM, "cannot list the processes");
}

static bool add_dead(struct mw_segments_list *list, const char *path, struct mw_segment_name name)
{
    struct mw_segments_dead *dead = grown(list->dead, list->dead_count, sizeof *dead);
    char *copy = strdup(path);
    if (dead)
        list->dead = dead;
    if (!dead || !copy) {
        free(copy);
        return false;
    }
    dead[list->dead_count++] = (struct mw_segments_dead){.path = copy, .name = name};
    return true;
}

/* Those in one directory memwatch-UID, which must be that user's own: anyone can make one by another's name. */
static bool find_dead_of(const struct mw_segments_places *places, const char *directory, uid_t uid,
                         struct mw_segments_list *list)
{
    struct stat st;
    bool done = true;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *files = fd < 0 ? NULL : fdopendir(fd);
    if (!files) {
        if (fd >= 0)
            close(fd);
        return true; /* gone meanwhile, or not ours to read */
    }
    bool is_owners = fstat(fd, &st) == 0 && st.st_uid == uid;
    for (struct dirent *entry; is_owners && done && (entry = readdir(files));) {
        struct mw_segment_name name;
        char path[MW_SEGMENTS_PATH_BYTES];
        if (mw_segment_name_parse(entry->d_name, &name) && mw_segments_is_ours(places, name.pid_namespace) &&
            !mw_segments_is_alive(places, &name) && put_path(path, "%s/%s", directory, entry->d_name))
            done = add_dead(list, path, name);
    }
    closedir(files);
    return done;
}

bool mw_segments_find_dead(const struct mw_segments_places *places, struct mw_segments_list *list,
                           struct mw_error *error)
{
    DIR *directories = opendir(places->directory);
    bool done = true;
    if (!directories && errno == ENOENT)
        return true;
    if (!directories)
        return mw_error_set(error, errno, "cannot open %s", places->directory);
    for (struct dirent *entry; done && (entry = readdir(directories));) {
        char path[MW_SEGMENTS_PATH_BYTES];
        uid_t uid;
        if (parse_directory_name(entry->d_name, &uid) && (uid == geteuid() || geteuid() == 0) &&
            put_path(path, "%s/%s", places->directory, entry->d_name))
            done = find_dead_of(places, path, uid, list);
    }
    closedir(directories);
    if (list->dead)
        qsort(list->dead, list->dead_count, sizeof *list->dead, compare_paths);
    return done ? true : mw_error_set(error, ENOMEM, "cannot list the segments");
}

void mw_segments_list_free(struct mw_segments_list *list)
{
    for (size_t i = 0; i < list->dead_count; i++)
        free(list->dead[i].path);
    free(list->dead);
    free(list->pids);
    *list = (struct mw_segments_list){0};
}
