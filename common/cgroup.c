/* SPDX-License-Identifier: MIT */
#include "cgroup.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "fileio.h"
#include "procfs.h"
#include "text.h"

static const char *const file_names[MW_CGROUP_FILES][2] = {
    [MW_CGROUP_USAGE] = {"memory.usage_in_bytes", "memory.current"},
    [MW_CGROUP_STAT] = {"memory.stat", "memory.stat"},
    [MW_CGROUP_LIMIT] = {"memory.limit_in_bytes", "memory.max"},
    [MW_CGROUP_PEAK] = {"memory.max_usage_in_bytes", "memory.peak"},
    [MW_CGROUP_OOM] = {"memory.oom_control", "memory.events"},
    [MW_CGROUP_PRESSURE] = {NULL, "memory.pressure"},
    [MW_CGROUP_SWAPPINESS] = {"memory.swappiness", NULL},
    [MW_CGROUP_PROCS] = {"cgroup.procs", "cgroup.procs"},
    [MW_CGROUP_CPU_QUOTA] = {"cpu.cfs_quota_us", "cpu.max"},
    [MW_CGROUP_CPU_PERIOD] = {"cpu.cfs_period_us", NULL},
    [MW_CGROUP_EVENTS_LOCAL] = {NULL, "memory.events.local"},
    [MW_CGROUP_FAILCNT] = {"memory.failcnt", NULL},
    [MW_CGROUP_EVENT_CONTROL] = {"cgroup.event_control", NULL},
    [MW_CGROUP_SWAP_LIMIT] = {"memory.memsw.limit_in_bytes", "memory.swap.max"},
    [MW_CGROUP_SWAP_PEAK] = {"memory.memsw.max_usage_in_bytes", "memory.swap.peak"},
    [MW_CGROUP_SWAP_FAILCNT] = {"memory.memsw.failcnt", NULL},
    [MW_CGROUP_SWAP_EVENTS] = {NULL, "memory.swap.events"},
};

const char *mw_cgroup_file_name(int version, enum mw_cgroup_file file)
{
    return file_names[file][version - 1];
}

static int join(char *path, size_t capacity_bytes, const char *dir, const char *name)
{
    struct mw_text text = mw_text_on(path, capacity_bytes);
    mw_text_string(&text, dir);
    mw_text_char(&text, '/');
    mw_text_string(&text, name);
    return text.truncated ? -ENAMETOOLONG : 0;
}

int mw_cgroup_file_path(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, char *path, size_t capacity_bytes)
{
    const char *name = mw_cgroup_file_name(cgroup->version, file);
    return name ? join(path, capacity_bytes, cgroup->dir, name) : -ENOENT;
}

/* ---- locating ---- */

/* A piece of a text. */
struct span {
    const char *start;
    size_t length;
};

/* Cuts off what stands before the next separator; the rest begins behind it. */
static struct span cut(struct span *rest, char separator)
{
    const char *at = rest->length ? memchr(rest->start, separator, rest->length) : NULL;
    struct span piece = {rest->start, at ? (size_t)(at - rest->start) : rest->length};
    size_t used = piece.length + (at ? 1 : 0);
    rest->start += used;
    rest->length -= used;
    return piece;
}

static bool equals(struct span span, const char *string)
{
    return span.length == strlen(string) && memcmp(span.start, string, span.length) == 0;
}

/* Is that controller one of the comma-separated words? */
static bool lists(struct span words, const char *controller)
{
    while (words.length)
        if (equals(cut(&words, ','), controller))
            return true;
    return false;
}

/* The process's path in the controller's hierarchy, from lines "number:controllers:path". The path may hold colons. */
static int find_path(const char *cgroup_text, const char *controller, struct span *path)
{
    struct span text = {cgroup_text, strlen(cgroup_text)};
    int version = 0;
    while (text.length) {
        struct span line = cut(&text, '\n');
        struct span number = cut(&line, ':');
        struct span controllers = cut(&line, ':');
        if (!line.length || line.start[0] != '/')
            continue;
        if (lists(controllers, controller)) {
            *path = line;
            return 1;
        }
        if (equals(number, "0") && !controllers.length) {
            *path = line;
            version = 2;
        }
    }
    return version;
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Undoes the kernel's \040 escapes. */
static int unescape(struct span escaped, char *out, size_t capacity_bytes)
{
    size_t length = 0;
    for (size_t i = 0; i < escaped.length; length++) {
        if (length + 1 >= capacity_bytes)
            return -ENAMETOOLONG;
        const char *s = escaped.start + i;
        if (*s == '\\' && escaped.length - i >= 4 && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
            out[length] = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            i += 4;
        } else {
            out[length] = *s;
            i++;
        }
    }
    out[length] = '\0';
    return 0;
}

struct mount {
    struct span root; /* escaped */
    struct span point;
};

/* One line of mountinfo: "36 35 98:0 /root /point options [optional…] - type source super-options". */
static bool parse_mount(struct span line, int version, const char *controller, struct mount *out)
{
    for (int i = 0; i < 3; i++)
        cut(&line, ' ');
    out->root = cut(&line, ' ');
    out->point = cut(&line, ' ');
    cut(&line, ' ');
    while (line.length && !equals(cut(&line, ' '), "-"))
        ;
    struct span type = cut(&line, ' ');
    cut(&line, ' '); /* the source; what is left are the super options, which may hold spaces */
    return version == 2 ? equals(type, "cgroup2") : equals(type, "cgroup") && lists(line, controller);
}

/* How much of the process's path a mount with that root covers: the root's length where it is a prefix. A root that
 * climbs ("/..": the mount was made outside this cgroup namespace) cannot be placed and counts as the top. -1: none. */
static long covered(const char *root, struct span path)
{
    size_t length = strlen(root);
    // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it does not see what strlen tells
    bool climbs = length >= 3 && memcmp(root, "/..", 3) == 0 && (length == 3 || root[3] == '/');
    if (strcmp(root, "/") == 0 || climbs)
        return 0;
    if (length > path.length || memcmp(root, path.start, length) != 0)
        return -1;
    return length == path.length || path.start[length] == '/' ? (long)length : -1;
}

/* dir = point + the path below the mount's root, without a slash at the end. */
static int place(struct mw_cgroup *out, const char *point, struct span below)
{
    struct mw_text dir = MW_TEXT(out->dir);
    mw_text_string(&dir, point);
    out->top_length = dir.length;
    mw_text_bytes(&dir, below.start, below.length);
    while (dir.length > out->top_length && dir.start[dir.length - 1] == '/')
        dir.start[--dir.length] = '\0';
    return dir.truncated ? -ENAMETOOLONG : 0;
}

static int locate(const char *cgroup_text, const char *mountinfo_text, const char *controller, struct mw_cgroup *out)
{
    struct span path;
    struct span text = {mountinfo_text, strlen(mountinfo_text)};
    long best = -2;
    out->version = find_path(cgroup_text, controller, &path);
    if (!out->version)
        return -ENOENT;
    while (text.length) {
        struct mount mount;
        char root[MW_CGROUP_PATH_BYTES];
        char point[MW_CGROUP_PATH_BYTES];
        if (!parse_mount(cut(&text, '\n'), out->version, controller, &mount))
            continue;
        if (unescape(mount.root, root, sizeof root) || unescape(mount.point, point, sizeof point))
            return -ENAMETOOLONG;
        long here = covered(root, path);
        if (here <= best)
            continue;
        /* A mount of some other part of the tree is a container's own group seen under another name. */
        struct span below =
            here < 0 ? (struct span){"", 0} : (struct span){path.start + here, path.length - (size_t)here};
        int error = place(out, point, below);
        if (error)
            return error;
        best = here;
    }
    return best == -2 ? -ENOENT : 0;
}

int mw_cgroup_locate(const char *cgroup_text, const char *mountinfo_text, struct mw_cgroup *out)
{
    return locate(cgroup_text, mountinfo_text, "memory", out);
}

/* A file of any length in a mapping of its own, which the caller unmaps. */
struct mapped_text {
    char *start;
    size_t bytes;
};

static int map_text(const char *path, struct mapped_text *out)
{
    for (size_t bytes = 64 * 1024; bytes <= 64 * 1024 * 1024; bytes *= 4) {
        char *start = mw_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED)
            return -ENOMEM;
        long length = mw_file_read_whole(path, start, bytes);
        if (length >= 0 && (size_t)length < bytes - 1) {
            *out = (struct mapped_text){start, bytes};
            return 0;
        }
        mw_sys_munmap(start, bytes);
        if (length < 0)
            return (int)length;
    }
    return -EFBIG;
}

static int map_proc_text(const char *root, const char *process, const char *name, struct mapped_text *out)
{
    char path[MW_CGROUP_PATH_BYTES];
    struct mw_text text = MW_TEXT(path);
    mw_text_string(&text, root);
    mw_text_string(&text, "/proc/");
    mw_text_string(&text, process);
    mw_text_char(&text, '/');
    mw_text_string(&text, name);
    return text.truncated ? -ENAMETOOLONG : map_text(path, out);
}

/* Puts root in front of dir. */
static int prefix_root(const char *root, struct mw_cgroup *cgroup)
{
    size_t root_length = strlen(root);
    size_t dir_length = strlen(cgroup->dir);
    if (root_length + dir_length >= sizeof cgroup->dir)
        return -ENAMETOOLONG;
    memmove(cgroup->dir + root_length, cgroup->dir, dir_length + 1);
    memcpy(cgroup->dir, root, root_length);
    cgroup->top_length += root_length;
    return 0;
}

static int find(const char *root, const char *process, const char *controller, struct mw_cgroup *out)
{
    struct mapped_text cgroup_text;
    struct mapped_text mountinfo_text;
    int error = map_proc_text(root, process, "cgroup", &cgroup_text);
    if (error)
        return error;
    error = map_proc_text(root, process, "mountinfo", &mountinfo_text);
    if (!error) {
        error = locate(cgroup_text.start, mountinfo_text.start, controller, out);
        mw_sys_munmap(mountinfo_text.start, mountinfo_text.bytes);
    }
    mw_sys_munmap(cgroup_text.start, cgroup_text.bytes);
    return error ? error : prefix_root(root, out);
}

int mw_cgroup_find(const char *root, const char *process, struct mw_cgroup *out)
{
    return find(root, process, "memory", out);
}

int mw_cgroup_find_cpu(const char *root, const char *process, struct mw_cgroup *out)
{
    return find(root, process, "cpu", out);
}

bool mw_cgroup_climb(struct mw_cgroup *cgroup)
{
    char *slash = strrchr(cgroup->dir + cgroup->top_length, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

/* ---- reading ---- */

static long read_file(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, struct mw_held_file *held, char *buffer,
                      size_t capacity_bytes)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    int error = mw_cgroup_file_path(cgroup, file, path, sizeof path);
    if (error)
        return error;
    return held ? mw_held_file_read(held, path, buffer, capacity_bytes)
                : mw_file_read_whole(path, buffer, capacity_bytes);
}

static bool read_number(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, struct mw_held_file *held,
                        uint64_t *out)
{
    char text[64];
    return read_file(cgroup, file, held, text, sizeof text) > 0 && mw_single_value(text, out);
}

/* The least limit over the group and its visible ancestors; UINT64_MAX: none. */
static uint64_t least_limit(const struct mw_cgroup *cgroup, struct mw_cgroup_handles *handles)
{
    struct mw_cgroup at = *cgroup;
    uint64_t least = UINT64_MAX;
    unsigned level = 0;
    do {
        uint64_t limit;
        struct mw_held_file *held = handles && level < MW_CGROUP_HELD_LEVELS ? &handles->ancestor_limits[level] : NULL;
        if (read_number(&at, MW_CGROUP_LIMIT, held, &limit) && limit < least)
            least = limit;
        level++;
    } while (mw_cgroup_climb(&at));
    return least;
}

int mw_cgroup_read(const struct mw_cgroup *cgroup, struct mw_cgroup_handles *handles, struct mw_cgroup_reading *out)
{
    char text[4096]; /* memory.stat is the longest: about 2 KiB */
    uint64_t inactive_file = 0;
    uint64_t limit = least_limit(cgroup, handles);
#define HELD(file) (handles ? &handles->files[file] : NULL)
    *out = (struct mw_cgroup_reading){0};
    if (!read_number(cgroup, MW_CGROUP_USAGE, HELD(MW_CGROUP_USAGE), &out->usage_bytes))
        return -ENOENT;
    if (read_file(cgroup, MW_CGROUP_STAT, HELD(MW_CGROUP_STAT), text, sizeof text) > 0) {
        uint64_t hierarchical;
        mw_key_value(text, cgroup->version == 1 ? "total_inactive_file" : "inactive_file", &inactive_file);
        /* v1 tells the least over all ancestors, also those that are not visible here. */
        if (mw_key_value(text, "hierarchical_memory_limit", &hierarchical) && hierarchical < limit)
            limit = hierarchical;
    }
    out->working_set_bytes = out->usage_bytes > inactive_file ? out->usage_bytes - inactive_file : 0;
    out->limit_bytes = mw_cgroup_is_unlimited(limit) ? 0 : limit;
    read_number(cgroup, MW_CGROUP_PEAK, HELD(MW_CGROUP_PEAK), &out->peak_bytes);
    if (read_file(cgroup, MW_CGROUP_OOM, HELD(MW_CGROUP_OOM), text, sizeof text) > 0)
        mw_key_value(text, "oom_kill", &out->oom_kills);
    if (read_file(cgroup, MW_CGROUP_PRESSURE, HELD(MW_CGROUP_PRESSURE), text, sizeof text) > 0)
        mw_pressure_parse(text, &out->pressure);
#undef HELD
    return 0;
}

/* v2: "QUOTA PERIOD" in one file. No quota is "max" there, and -1 in v1. */
static bool read_own_cpu_quota(const struct mw_cgroup *cgroup, struct mw_cpu_quota *out)
{
    char text[64];
    if (cgroup->version == 1)
        return read_number(cgroup, MW_CGROUP_CPU_QUOTA, NULL, &out->quota_us) &&
               read_number(cgroup, MW_CGROUP_CPU_PERIOD, NULL, &out->period_us);
    long length = read_file(cgroup, MW_CGROUP_CPU_QUOTA, NULL, text, sizeof text);
    char *space = length > 0 ? strchr(text, ' ') : NULL;
    if (!space)
        return false;
    *space = '\0';
    return mw_single_value(text, &out->quota_us) && mw_single_value(space + 1, &out->period_us);
}

static double cpus(struct mw_cpu_quota quota)
{
    return (double)quota.quota_us / (double)quota.period_us;
}

void mw_cgroup_read_cpu_quota(const struct mw_cgroup *cgroup, struct mw_cpu_quota *out)
{
    struct mw_cgroup at = *cgroup;
    *out = (struct mw_cpu_quota){0};
    do {
        struct mw_cpu_quota own;
        if (read_own_cpu_quota(&at, &own) && !mw_cgroup_is_unlimited(own.quota_us) && own.quota_us && own.period_us &&
            (!out->quota_us || cpus(own) < cpus(*out)))
            *out = own;
    } while (mw_cgroup_climb(&at));
}

void mw_cgroup_handles_drop(struct mw_cgroup_handles *handles)
{
    for (unsigned i = 0; i < MW_CGROUP_HELD_FILES; i++)
        mw_held_file_drop(&handles->files[i]);
    for (unsigned i = 0; i < MW_CGROUP_HELD_LEVELS; i++)
        mw_held_file_drop(&handles->ancestor_limits[i]);
}
