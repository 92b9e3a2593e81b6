/* SPDX-License-Identifier: MIT */
#include "cgroup.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "cgroup_search.h"
#include "fileio.h"
#include "mountinfo.h"
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
    [MW_CGROUP_PRESSURE_LEVEL] = {"memory.pressure_level", NULL},
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

/* The process's path in the controller's hierarchy, from lines "number:controllers:path". The path may hold colons. */
static int find_path(const char *cgroup_text, const char *controller, struct mw_span *path)
{
    struct mw_span text = mw_span_of(cgroup_text);
    int version = 0;
    while (text.length) {
        struct mw_span line = mw_span_cut(&text, '\n');
        struct mw_span number = mw_span_cut(&line, ':');
        struct mw_span controllers = mw_span_cut(&line, ':');
        if (!line.length || line.start[0] != '/')
            continue;
        if (mw_span_lists(controllers, controller)) {
            *path = line;
            return 1;
        }
        if (mw_span_is(number, "0") && !controllers.length) {
            *path = line;
            version = 2;
        }
    }
    return version;
}

int mw_cgroup_name(const char *cgroup_text, char *path, size_t capacity_bytes)
{
    struct mw_span name;
    struct mw_text text = mw_text_on(path, capacity_bytes);
    int version = find_path(cgroup_text, "memory", &name);
    if (!version)
        return -ENOENT;
    mw_text_bytes(&text, name.start, name.length);
    return text.truncated ? -ENAMETOOLONG : version;
}

static bool is_of_controller(const struct mw_mount *mount, int version, const char *controller)
{
    return version == 2 ? mw_span_is(mount->type, "cgroup2")
                        : mw_span_is(mount->type, "cgroup") && mw_span_lists(mount->super_options, controller);
}

enum {
    NOT_SEEN = -3,
    ELSEWHERE = -2, /* a container's own group, seen under another name */
    CLIMBS = -1
};

/* Where in a mount the process's group is, the better the more is known of it. */
struct covering {
    long quality;            /* how much of the path the mount's root covers; or one of these */
    unsigned unknown_levels; /* so many names come first that nobody tells */
    struct mw_span below;    /* and then this */
};

/* Cuts off a "/.." from the start. */
static bool cut_climb(struct mw_span *path)
{
    if (path->length < 3 || memcmp(path->start, "/..", 3) != 0 || (path->length > 3 && path->start[3] != '/'))
        return false;
    *path = (struct mw_span){path->start + 3, path->length - 3};
    return true;
}

/* A root that climbs ("/..") is of a mount that was made outside this cgroup namespace: the group is below it, by names
 * that are not told here. A path that climbs further than the root is not in the mount. */
static struct covering cover(const char *root, struct mw_span path)
{
    size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    struct mw_span root_left = mw_span_of(root);
    unsigned levels = 0;
    if (length <= path.length && memcmp(root, path.start, length) == 0 &&
        (length == path.length || path.start[length] == '/')) {
        struct mw_span below = {path.start + length, path.length - length};
        struct mw_span rest = below;
        if (!cut_climb(&rest))
            return (struct covering){(long)length, 0, below};
    }
    while (cut_climb(&root_left))
        levels += !cut_climb(&path);
    if (root_left.length || levels == 0)
        return (struct covering){ELSEWHERE, 0, {"", 0}};
    while (path.length && path.start[path.length - 1] == '/')
        path.length--;
    return (struct covering){CLIMBS, levels, path};
}

/* dir = point + the path below the mount's root, without a slash at the end; the point alone, where names between them
 * are not known. */
static int place(struct mw_cgroup *out, const char *point, const struct covering *covering)
{
    struct mw_text dir = MW_TEXT(out->dir);
    mw_text_string(&dir, point);
    out->top_length = dir.length;
    if (!covering->unknown_levels)
        mw_text_bytes(&dir, covering->below.start, covering->below.length);
    while (dir.length > out->top_length && dir.start[dir.length - 1] == '/')
        dir.start[--dir.length] = '\0';
    return dir.truncated ? -ENAMETOOLONG : 0;
}

static int locate(const char *cgroup_text, const char *mountinfo_text, const char *controller, struct mw_cgroup *out,
                  struct covering *best)
{
    struct mw_span path;
    struct mw_span text = mw_span_of(mountinfo_text);
    *best = (struct covering){.quality = NOT_SEEN};
    out->version = find_path(cgroup_text, controller, &path);
    if (!out->version)
        return -ENOENT;
    while (text.length) {
        struct mw_mount mount;
        char root[MW_CGROUP_PATH_BYTES];
        char point[MW_CGROUP_PATH_BYTES];
        if (!mw_mount_parse(mw_span_cut(&text, '\n'), &mount) || !is_of_controller(&mount, out->version, controller))
            continue;
        if (mw_mount_unescape(mount.root, root, sizeof root) || mw_mount_unescape(mount.point, point, sizeof point))
            return -ENAMETOOLONG;
        struct covering here = cover(root, path);
        if (here.quality <= best->quality || mw_mount_is_hidden(mountinfo_text, &mount))
            continue;
        int error = place(out, point, &here);
        if (error)
            return error;
        *best = here;
    }
    return best->quality == NOT_SEEN ? -ENOENT : 0;
}

int mw_cgroup_locate(const char *cgroup_text, const char *mountinfo_text, struct mw_cgroup *out)
{
    struct covering covering;
    int error = locate(cgroup_text, mountinfo_text, "memory", out, &covering);
    return error ? error : covering.unknown_levels ? -EXDEV : 0;
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

/* "self" or a number. */
static uint64_t number_of(const char *process)
{
    uint64_t pid;
    return mw_single_value(process, &pid) ? pid : (uint64_t)mw_syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

/* viewer: the process whose mounts dir is a path of. */
static int find(const char *root, const char *process, const char *viewer, const char *controller,
                struct mw_cgroup *out)
{
    struct mapped_text cgroup_text;
    struct mapped_text mountinfo_text;
    int error = map_proc_text(root, process, "cgroup", &cgroup_text);
    if (error)
        return error;
    error = map_proc_text(root, viewer, "mountinfo", &mountinfo_text);
    if (!error) {
        struct covering covering;
        error = locate(cgroup_text.start, mountinfo_text.start, controller, out, &covering);
        if (!error)
            error = prefix_root(root, out);
        if (!error && covering.unknown_levels)
            error = mw_cgroup_search(out->dir, sizeof out->dir, covering.unknown_levels, covering.below,
                                     number_of(process));
        mw_sys_munmap(mountinfo_text.start, mountinfo_text.bytes);
    }
    mw_sys_munmap(cgroup_text.start, cgroup_text.bytes);
    return error;
}

int mw_cgroup_find(const char *root, const char *process, struct mw_cgroup *out)
{
    return find(root, process, process, "memory", out);
}

int mw_cgroup_find_from_here(const char *root, const char *process, struct mw_cgroup *out)
{
    return find(root, process, "self", "memory", out);
}

int mw_cgroup_find_cpu(const char *root, const char *process, struct mw_cgroup *out)
{
    return find(root, process, process, "cpu", out);
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
