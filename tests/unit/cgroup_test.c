/* SPDX-License-Identifier: MIT
 *
 * Where the memory cgroup is. What it says is in cgroup_read_test.c.
 */
#include "cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "scratch.h"

/* Lines of mountinfo as kernels print them. */
#define PROC_MOUNT "22 28 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw\n"
#define V1_SYSTEMD "31 24 0:26 / /sys/fs/cgroup/systemd rw,relatime shared:8 - cgroup cgroup rw,xattr,name=systemd\n"
#define V1_CPU     "33 24 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_MEMORY  "36 24 0:31 / /sys/fs/cgroup/memory rw,nosuid,relatime shared:15 - cgroup cgroup rw,memory\n"
#define V2_UNIFIED "30 24 0:25 / /sys/fs/cgroup/unified rw,relatime shared:7 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V2_ALONE                                                                                                       \
    "29 23 0:25 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
#define V1_MEMORY_DIR  "/sys/fs/cgroup/memory"
#define V2_ALONE_DIR   "/sys/fs/cgroup"
#define V2_UNIFIED_DIR "/sys/fs/cgroup/unified"

struct found_case {
    const char *name;
    const char *cgroup;
    const char *mountinfo;
    int version; /* 0: -ENOENT is due */
    const char *top;
    const char *below;
};

static void check_located(const struct found_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct found_case *one = &cases[i];
        struct mw_cgroup found = {0};
        char dir[MW_CGROUP_PATH_BYTES];
        char *cgroup = strdup(one->cgroup); /* so that a read behind their ends is seen by the address sanitizer */
        char *mountinfo = strdup(one->mountinfo);
        errno = EXDEV;
        int error = mw_cgroup_locate(cgroup, mountinfo, &found);
        free(cgroup);
        free(mountinfo);
        CHECK_I64(one->name, errno, EXDEV);
        CHECK_I64(one->name, error, one->version ? 0 : -ENOENT);
        if (!one->version)
            continue;
        snprintf(dir, sizeof dir, "%s%s", one->top, one->below);
        CHECK_I64(one->name, found.version, one->version);
        CHECK_TEXT(one->name, found.dir, dir);
        CHECK_U64(one->name, found.top_length, strlen(one->top));
    }
}

/* The memory controller is v1 exactly where a line lists it. */
static void the_version_is_the_memory_controllers(void **state)
{
    static const struct found_case cases[] = {
        {"v1", "9:memory:/app\n4:cpu,cpuacct:/\n", PROC_MOUNT V1_CPU V1_MEMORY, 1, V1_MEMORY_DIR, "/app"},
        {"v2", "0::/app\n", PROC_MOUNT V2_ALONE, 2, V2_ALONE_DIR, "/app"},
        {"hybrid", "9:memory:/app\n1:name=systemd:/user\n0::/user\n", V1_SYSTEMD V2_UNIFIED V1_MEMORY, 1, V1_MEMORY_DIR,
         "/app"},
        {"hybrid, 0:: first", "0::/user\n1:name=systemd:/user\n9:memory:/app\n", V2_UNIFIED V1_MEMORY, 1, V1_MEMORY_DIR,
         "/app"},
        {"hybrid, 0:: between", "9:pids:/p\n0::/user\n4:memory:/app\n", V2_UNIFIED V1_MEMORY, 1, V1_MEMORY_DIR, "/app"},
        {"hybrid, memory in v2", "4:cpu:/c\n0::/app\n1:name=systemd:/s\n", V1_CPU V2_UNIFIED V1_SYSTEMD, 2,
         V2_UNIFIED_DIR, "/app"},
        {"v2, 0:: last", "4:cpu:/c\n0::/app", V2_UNIFIED, 2, V2_UNIFIED_DIR, "/app"},
        {"joined last", "7:cpu,memory:/app\n", "36 24 0:31 / /cg rw - cgroup cgroup rw,cpu,memory\n", 1, "/cg", "/app"},
        {"joined first", "7:memory,hugetlb:/app\n", "36 24 0:31 / /cg rw - cgroup cgroup rw,memory,hugetlb\n", 1, "/cg",
         "/app"},
        {"joined between", "7:cpu,memory,pids:/app\n", "36 24 0:31 / /cg rw - cgroup cgroup rw,cpu,memory,pids\n", 1,
         "/cg", "/app"},
        {"memory as part of a word", "5:memory2:/x\n6:xmemory:/y\n7:cpu,memoryless:/z\n0::/app\n", V2_ALONE, 2,
         V2_ALONE_DIR, "/app"},
        {"memory as a name", "3:name=memory:/x\n0::/app\n", V2_ALONE, 2, V2_ALONE_DIR, "/app"},
        {"memory in a path", "3:cpu:/memory\n0::/memory,memory:memory\n", V2_ALONE, 2, V2_ALONE_DIR,
         "/memory,memory:memory"},
        {"the mount's word too", "9:memory:/app\n",
         "35 24 0:30 / /wrong rw - cgroup cgroup rw,memoryless\n"
         "34 24 0:29 / /wrong2 rw - cgroup cgroup rw,name=memory\n" V1_MEMORY,
         1, V1_MEMORY_DIR, "/app"},
        {"the mount's type", "0::/app\n",
         "34 24 0:29 / /wrong rw - cgroup2x c rw\n35 24 0:29 / /wrong2 rw - tmpfs cgroup2 rw,cgroup2\n" V2_ALONE, 2,
         V2_ALONE_DIR, "/app"},
        {"no empty line counts", "\n\n0::/app\n\n", "\n\n" V2_ALONE "\n", 2, V2_ALONE_DIR, "/app"},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

static void nowhere_to_be_found(void **state)
{
    static const struct found_case cases[] = {
        {"nothing at all", "", "", 0, NULL, NULL},
        {"no groups", "", V2_ALONE, 0, NULL, NULL},
        {"nothing mounted", "0::/app\n", PROC_MOUNT, 0, NULL, NULL},
        {"v1 nowhere mounted", "9:memory:/app\n0::/\n", V2_ALONE V1_CPU, 0, NULL, NULL},
        {"v2 nowhere mounted", "0::/app\n", V1_MEMORY, 0, NULL, NULL},
        {"no memory controller", "4:cpu:/c\n1:name=systemd:/s\n", V1_CPU V1_SYSTEMD, 0, NULL, NULL},
        {"torn lines", "9:memory\n9\n:\n::\nmemory", V1_MEMORY V2_ALONE, 0, NULL, NULL},
        {"no path", "9:memory:\n0::\n", V1_MEMORY V2_ALONE, 0, NULL, NULL},
        {"no path from the root", "9:memory:app\n0::app\n", V1_MEMORY V2_ALONE, 0, NULL, NULL},
        {"not hierarchy 0", "00::/app\n1::/app\n", V2_ALONE, 0, NULL, NULL},
        {"mount lines torn", "0::/app\n", "29 23 0:25 / /cg rw\n29 23\n- cgroup2\n\n", 0, NULL, NULL},
        {"no separator", "0::/app\n", "29 23 0:25 / /cg rw shared:4 cgroup2 cgroup2 rw\n", 0, NULL, NULL},
        {"not text", "\xff\xfe\x01", "\xff - \xfe - \x01", 0, NULL, NULL},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

static void mount_lines_of_every_shape(void **state)
{
    static const struct found_case cases[] = {
        {"no optional field", "0::/app\n", "29 23 0:25 / /cg rw - cgroup2 c rw\n", 2, "/cg", "/app"},
        {"one", "0::/app\n", "29 23 0:25 / /cg rw shared:4 - cgroup2 c rw\n", 2, "/cg", "/app"},
        {"several", "0::/app\n", "29 23 0:25 / /cg rw shared:4 master:5 propagate_from:6 unbindable - cgroup2 c rw\n",
         2, "/cg", "/app"},
        {"no newline at the end", "0::/app", "29 23 0:25 / /cg rw - cgroup2 c rw", 2, "/cg", "/app"},
        {"spaces in super options", "9:memory:/app\n",
         "29 23 0:25 / /cg rw - cgroup c rw,release_agent=/sbin/a b,memory\n", 1, "/cg", "/app"},
        {"a space in the point", "0::/app\n", "29 23 0:25 / /my\\040cg rw - cgroup2 c rw\n", 2, "/my cg", "/app"},
        {"tab, newline, backslash", "0::/app\n", "29 23 0:25 / /a\\011b\\012c\\134d rw - cgroup2 c rw\n", 2,
         "/a\tb\nc\\d", "/app"},
        {"an escaped escape", "0::/app\n", "29 23 0:25 / /a\\134040 rw - cgroup2 c rw\n", 2, "/a\\040", "/app"},
        {"no escapes", "0::/app\n", "29 23 0:25 / /a\\04\\8\\ rw - cgroup2 c rw\n", 2, "/a\\04\\8\\", "/app"},
        {"an escaped root, an unescaped path", "0::/a b/c\n", "29 23 0:25 /a\\040b /cg rw - cgroup2 c rw\n", 2, "/cg",
         "/c"},
        {"not UTF-8", "0::/\xff\n", "29 23 0:25 / /\xfe rw - cgroup2 c rw\n", 2, "/\xfe", "/\xff"},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

static void paths_of_every_shape(void **state)
{
    static const struct found_case cases[] = {
        {"the root", "0::/\n", V2_ALONE, 2, V2_ALONE_DIR, ""},
        {"deep", "0::/a/b/c/d.slice/e.scope\n", V2_ALONE, 2, V2_ALONE_DIR, "/a/b/c/d.slice/e.scope"},
        {"colons, v2", "0::/a:b:c/::/d\n", V2_ALONE, 2, V2_ALONE_DIR, "/a:b:c/::/d"},
        {"colons, v1", "9:memory:/a:0::/b\n", V1_MEMORY, 1, V1_MEMORY_DIR, "/a:0::/b"},
        {"spaces", "0::/a b - cgroup2 c\n", V2_ALONE, 2, V2_ALONE_DIR, "/a b - cgroup2 c"},
        {"a backslash stays", "0::/a\\040b\n", V2_ALONE, 2, V2_ALONE_DIR, "/a\\040b"},
        {"removed meanwhile", "0::/a (deleted)\n", V2_ALONE, 2, V2_ALONE_DIR, "/a (deleted)"},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

#define V2_AT(root, point) "40 29 0:25 " root " " point " rw - cgroup2 cgroup2 rw\n"
#define V1_AT(root, point) "41 29 0:31 " root " " point " ro - cgroup cgroup rw,memory\n"

/* Of several mounts the one whose root is the longest prefix of the path, however they are ordered. */
static void mounts_of_a_part_of_the_tree(void **state)
{
    static const struct found_case cases[] = {
        {"part mounted", "0::/docker/abc/x\n", V2_AT("/docker/abc", "/cg"), 2, "/cg", "/x"},
        {"whole and part", "0::/docker/abc/x\n", V2_AT("/", "/all") V2_AT("/docker/abc", "/own"), 2, "/own", "/x"},
        {"part and whole", "0::/docker/abc/x\n", V2_AT("/docker/abc", "/own") V2_AT("/", "/all"), 2, "/own", "/x"},
        {"three", "9:memory:/a/b/c\n", V1_AT("/a", "/1") V1_AT("/a/b", "/2") V1_AT("/", "/0"), 1, "/2", "/c"},
        {"a prefix, but not of names", "0::/docker/abc\n", V2_AT("/docker/ab", "/other") V2_AT("/", "/all"), 2, "/all",
         "/docker/abc"},
        {"longer than the path", "0::/docker\n", V2_AT("/docker/abc", "/other") V2_AT("/", "/all"), 2, "/all",
         "/docker"},
        {"somewhere else", "0::/docker/abc\n", V2_AT("/docker/xyz", "/other") V2_AT("/", "/all"), 2, "/all",
         "/docker/abc"},
        {"twice the same", "0::/a\n", V2_AT("/", "/one") V2_AT("/", "/one"), 2, "/one", "/a"},
        {"a container, host path", "9:memory:/docker/abc\n", V1_AT("/docker/abc", V1_MEMORY_DIR), 1, V1_MEMORY_DIR, ""},
        {"a container, v2", "0::/docker/abc\n", V2_AT("/docker/abc", V2_ALONE_DIR), 2, V2_ALONE_DIR, ""},
        {"a container seen from another", "0::/kubepods/pod1/c1\n", V2_AT("/kubepods/pod1/c2", V2_ALONE_DIR), 2,
         V2_ALONE_DIR, ""},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

/* What is mounted upon a mount, or upon what that stands on, hides it. */
static void hidden_mounts(void **state)
{
#define V1_OWN "89 85 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
#define V1_ALL "95 89 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
#define TMPFS  "85 80 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
#define BOUND                                                                                                          \
    "96 85 0:24 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n97 96 0:31 / /sys/fs/cgroup/memory rw - cgroup c rw,memory\n"
#define LATER "98 85 0:60 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    static const struct found_case cases[] = {
        {"the machine's tree upon one's own", "9:memory:/docker/abc\n", V1_OWN V1_ALL, 1, V1_MEMORY_DIR, "/docker/abc"},
        {"the other way about", "9:memory:/docker/abc\n",
         "89 85 0:31 / /cg rw - cgroup c rw,memory\n95 89 0:31 /docker/abc /cg ro - cgroup c rw,memory\n", 1, "/cg",
         ""},
        {"upon what it stands on", "9:memory:/docker/abc\n", TMPFS V1_OWN BOUND, 1, V1_MEMORY_DIR, "/docker/abc"},
        {"upon what it stands on, before it in the list", "9:memory:/docker/abc\n", BOUND V1_OWN TMPFS, 1,
         V1_MEMORY_DIR, "/docker/abc"},
        {"all of it", "9:memory:/docker/abc\n", TMPFS V1_OWN V1_ALL LATER, 0, NULL, NULL},
        {"by something that is no cgroup", "0::/a\n",
         "40 29 0:25 / /cg rw - cgroup2 c rw\n41 40 0:50 / /cg rw - tmpfs t rw\n", 0, NULL, NULL},
        {"not by what stands elsewhere on it", "0::/a\n",
         "40 29 0:25 / /cg rw - cgroup2 c rw\n41 40 0:50 / /cg/a rw - tmpfs t rw\n", 2, "/cg", "/a"},
        {"not by what covers the root that all stands on", "0::/a\n",
         "1 1 0:2 / / rw - rootfs rootfs rw\n22 1 8:1 / / rw - ext4 /dev/sda rw\n40 22 0:25 / /cg rw - cgroup2 c rw\n",
         2, "/cg", "/a"},
        {"mounts in a circle", "0::/a\n", "40 41 0:25 / /cg rw - cgroup2 c rw\n41 40 0:50 / /x rw - tmpfs t rw\n", 2,
         "/cg", "/a"},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

/* Of a process in another namespace the path may climb too. */
static void cgroup_namespaces(void **state)
{
    static const struct found_case cases[] = {
        {"own mount", "0::/\n", V2_AT("/", V2_ALONE_DIR), 2, V2_ALONE_DIR, ""},
        {"own mount, v1", "9:memory:/\n", V1_AT("/", V1_MEMORY_DIR), 1, V1_MEMORY_DIR, ""},
        {"own mount, another from outside", "0::/a\n", V2_AT("/..", "/all") V2_AT("/", "/own"), 2, "/own", "/a"},
        {"a name that only begins so", "0::/..a/b\n", V2_AT("/..a", "/own"), 2, "/own", "/b"},
        {"both climb", "0::/../b\n", V2_AT("/..", "/cg"), 2, "/cg", "/b"},
        {"the path climbs further", "0::/../../b\n", V2_AT("/..", "/cg"), 2, "/cg", ""},
        {"the path climbs out of the top", "0::/../b\n", V2_AT("/", "/cg"), 2, "/cg", ""},
    };
    (void)state;
    check_located(cases, COUNT(cases));
}

#define CLIMBS_TWO "40 29 0:25 /../.. /cg rw - cgroup2 cgroup2 rw\n"

/* Inside a cgroup namespace a mount made outside of it shows a root that climbs. The names that lie between are not
 * told; the group is the one that lists the process. */
static void a_group_whose_path_begins_with_unknown_names(void **state)
{
    static const struct {
        const char *name;
        const char *cgroup;
        const char *procs; /* of which group, */
        const char *pids;  /* and what it lists */
        const char *dir;   /* NULL: -ENOENT */
    } cases[] = {
        {"two names", "0::/\n", "/cg/machine/abc", "1\n77\n", "/cg/machine/abc"},
        {"and a known one", "0::/launcher\n", "/cg/machine/abc/launcher", "77\n", "/cg/machine/abc/launcher"},
        {"one known to be outside", "0::/../xyz\n", "/cg/machine/xyz", "77\n", "/cg/machine/xyz"},
        {"another process", "0::/\n", "/cg/machine/abc", "7\n777\n770\n177\n", NULL},
        {"no whole line", "0::/\n", "/cg/machine/abc", "77", NULL},
        {"not as deep", "0::/\n", "/cg/machine", "77\n", NULL},
        {"deeper", "0::/\n", "/cg/machine/abc/launcher", "77\n", NULL},
        {"none", "0::/\n", "/cg/machine/abc", "", NULL},
        {"no numbers", "0::/\n", "/cg/machine/abc", "\xff\n-7\n7 7\n", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char root[MW_CGROUP_PATH_BYTES];
        char procs[MW_CGROUP_PATH_BYTES];
        char dir[MW_CGROUP_PATH_BYTES + 64];
        struct mw_cgroup found;
        snprintf(root, sizeof root, "%s/%zu", (const char *)*state, i);
        assert_return_code(mkdir(root, 0755), 0);
        scratch_write(root, "proc/77/cgroup", cases[i].cgroup);
        scratch_write(root, "proc/77/mountinfo", CLIMBS_TWO);
        scratch_write(root, "cg/cgroup.procs", "77\n"); /* never looked into: two names lie between */
        scratch_write(root, "cg/other/other/cgroup.procs", "1\n");
        snprintf(procs, sizeof procs, "%s/cgroup.procs", cases[i].procs + 1);
        scratch_write(root, procs, cases[i].pids);
        CHECK_I64(cases[i].name, mw_cgroup_locate(cases[i].cgroup, CLIMBS_TWO, &found), -EXDEV);
        unsigned descriptors = open_descriptors();
        CHECK_I64(cases[i].name, mw_cgroup_find(root, "77", &found), cases[i].dir ? 0 : -ENOENT);
        CHECK_U64(cases[i].name, open_descriptors(), descriptors);
        snprintf(dir, sizeof dir, "%s%s", root, cases[i].dir ? cases[i].dir : "/cg");
        CHECK_TEXT(cases[i].name, found.dir, dir);
        CHECK_U64(cases[i].name, found.top_length, strlen(root) + 3);
    }
}

static void overlong_paths_are_told(void **state)
{
    (void)state;
    /* "/cg" and the path fill dir to its last byte, and then go one beyond. */
    for (size_t length = MW_CGROUP_PATH_BYTES - 8; length < MW_CGROUP_PATH_BYTES + 8; length++) {
        char path[2 * MW_CGROUP_PATH_BYTES];
        char text[2 * MW_CGROUP_PATH_BYTES + 16];
        struct mw_cgroup found;
        path[0] = '/';
        memset(path + 1, 'x', length - 1);
        path[length] = '\0';
        snprintf(text, sizeof text, "0::%s\n", path);
        int error = mw_cgroup_locate(text, V2_AT("/", "/cg"), &found);
        assert_int_equal(error, length + 3 < MW_CGROUP_PATH_BYTES ? 0 : -ENAMETOOLONG);
        if (!error)
            assert_string_equal(found.dir + 3, path);
        snprintf(text, sizeof text, "40 29 0:25 / %s rw - cgroup2 cgroup2 rw\n", path);
        error = mw_cgroup_locate("0::/a\n", text, &found);
        assert_int_equal(error, length + 2 < MW_CGROUP_PATH_BYTES ? 0 : -ENAMETOOLONG);
        if (!error)
            assert_int_equal(found.top_length, length);
    }
}

static void it_climbs_to_the_top_and_no_further(void **state)
{
    struct mw_cgroup cgroup;
    (void)state;
    assert_int_equal(mw_cgroup_locate("0::/docker/abc/x/y\n", V2_AT("/docker/abc", "/sys/fs/cgroup"), &cgroup), 0);
    assert_string_equal(cgroup.dir, "/sys/fs/cgroup/x/y");
    assert_true(mw_cgroup_climb(&cgroup));
    assert_string_equal(cgroup.dir, "/sys/fs/cgroup/x");
    assert_true(mw_cgroup_climb(&cgroup));
    assert_string_equal(cgroup.dir, "/sys/fs/cgroup");
    assert_false(mw_cgroup_climb(&cgroup));
    assert_false(mw_cgroup_climb(&cgroup));
    assert_string_equal(cgroup.dir, "/sys/fs/cgroup");
}

static void files_have_the_kernels_names(void **state)
{
    static const struct {
        enum mw_cgroup_file file;
        const char *v1;
        const char *v2;
    } cases[] = {
        {MW_CGROUP_USAGE, "memory.usage_in_bytes", "memory.current"},
        {MW_CGROUP_STAT, "memory.stat", "memory.stat"},
        {MW_CGROUP_LIMIT, "memory.limit_in_bytes", "memory.max"},
        {MW_CGROUP_PEAK, "memory.max_usage_in_bytes", "memory.peak"},
        {MW_CGROUP_OOM, "memory.oom_control", "memory.events"},
        {MW_CGROUP_PRESSURE, NULL, "memory.pressure"},
        {MW_CGROUP_SWAPPINESS, "memory.swappiness", NULL},
        {MW_CGROUP_PROCS, "cgroup.procs", "cgroup.procs"},
        {MW_CGROUP_CPU_QUOTA, "cpu.cfs_quota_us", "cpu.max"},
        {MW_CGROUP_CPU_PERIOD, "cpu.cfs_period_us", NULL},
        {MW_CGROUP_EVENTS_LOCAL, NULL, "memory.events.local"},
        {MW_CGROUP_FAILCNT, "memory.failcnt", NULL},
        {MW_CGROUP_PRESSURE_LEVEL, "memory.pressure_level", NULL},
        {MW_CGROUP_EVENT_CONTROL, "cgroup.event_control", NULL},
        {MW_CGROUP_SWAP_LIMIT, "memory.memsw.limit_in_bytes", "memory.swap.max"},
        {MW_CGROUP_SWAP_PEAK, "memory.memsw.max_usage_in_bytes", "memory.swap.peak"},
        {MW_CGROUP_SWAP_FAILCNT, "memory.memsw.failcnt", NULL},
        {MW_CGROUP_SWAP_EVENTS, NULL, "memory.swap.events"},
    };
    (void)state;
    assert_int_equal(COUNT(cases), MW_CGROUP_FILES);
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int version = 1; version <= 2; version++) {
            const char *due = version == 1 ? cases[i].v1 : cases[i].v2;
            struct mw_cgroup cgroup = {.version = version, .dir = "/cg/a"};
            char path[64];
            char due_path[64];
            int error = mw_cgroup_file_path(&cgroup, cases[i].file, path, sizeof path);
            if (!due) {
                assert_null(mw_cgroup_file_name(version, cases[i].file));
                assert_int_equal(error, -ENOENT);
                continue;
            }
            assert_string_equal(mw_cgroup_file_name(version, cases[i].file), due);
            snprintf(due_path, sizeof due_path, "/cg/a/%s", due);
            assert_int_equal(error, 0);
            assert_string_equal(path, due_path);
            assert_int_equal(mw_cgroup_file_path(&cgroup, cases[i].file, path, strlen(due_path) + 1), 0);
            assert_int_equal(mw_cgroup_file_path(&cgroup, cases[i].file, path, strlen(due_path)), -ENAMETOOLONG);
        }
    }
}

static void no_limit_is_a_huge_number(void **state)
{
    (void)state;
    assert_true(mw_cgroup_is_unlimited(UINT64_MAX));
    assert_true(mw_cgroup_is_unlimited(9223372036854771712)); /* v1, pages of 4 KiB */
    assert_true(mw_cgroup_is_unlimited(9223372036854710272)); /* v1, pages of 64 KiB */
    assert_false(mw_cgroup_is_unlimited(0));
    assert_false(mw_cgroup_is_unlimited(UINT64_C(1) << 52)); /* more than any machine has */
}

/* ---- from files ---- */

static void a_process_is_found_by_its_files(void **state)
{
    struct mw_cgroup found;
    char due[1024];
    scratch_write(*state, "proc/self/cgroup", "0::/own\n");
    scratch_write(*state, "proc/self/mountinfo", V2_ALONE);
    scratch_write(*state, "proc/4321/cgroup", "9:memory:/its\n0::/own\n");
    scratch_write(*state, "proc/4321/mountinfo", V2_UNIFIED V1_MEMORY);
    assert_int_equal(mw_cgroup_find(*state, "self", &found), 0);
    assert_int_equal(found.version, 2);
    snprintf(due, sizeof due, "%s" V2_ALONE_DIR "/own", (char *)*state);
    assert_string_equal(found.dir, due);
    assert_true(mw_cgroup_climb(&found));
    assert_false(mw_cgroup_climb(&found)); /* not out of the root */
    assert_int_equal(mw_cgroup_find(*state, "4321", &found), 0);
    assert_int_equal(found.version, 1);
    snprintf(due, sizeof due, "%s" V1_MEMORY_DIR "/its", (char *)*state);
    assert_string_equal(found.dir, due);
}

static void the_cpu_controller_is_found_wherever_it_is(void **state)
{
#define V1_CPUSET "37 24 0:33 / /cg/cpuset rw - cgroup cgroup rw,cpuset\n"
#define V1_JOINED "36 24 0:32 / /cg/joined rw - cgroup cgroup rw,cpu,cpuacct\n"
    static const struct {
        const char *label;
        const char *cgroup_text;
        const char *mountinfo_text;
        int version; /* 0: it is not found */
        const char *dir;
    } cases[] = {
        {"v2", "0::/app\n", V2_ALONE, 2, V2_ALONE_DIR "/app"},
        {"v1, joined", "7:cpu,cpuacct:/c\n9:memory:/m\n", V1_CPUSET V1_JOINED V1_MEMORY, 1, "/cg/joined/c"},
        {"not cpuset, not cpuacct", "5:cpuset:/s\n6:cpuacct:/a\n", V1_CPUSET V1_JOINED, 0, NULL},
        {"v2, where memory is v1's", "9:memory:/m\n0::/app\n", V1_MEMORY V2_ALONE, 2, V2_ALONE_DIR "/app"},
        {"v1, where memory is v2's", "7:cpu,cpuacct:/c\n0::/app\n", V2_ALONE V1_JOINED, 1, "/cg/joined/c"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_cgroup found;
        char due[1024];
        scratch_write(*state, "proc/self/cgroup", cases[i].cgroup_text);
        scratch_write(*state, "proc/self/mountinfo", cases[i].mountinfo_text);
        CHECK_I64(cases[i].label, mw_cgroup_find_cpu(*state, "self", &found), cases[i].version ? 0 : -ENOENT);
        if (!cases[i].version)
            continue;
        CHECK_I64(cases[i].label, found.version, cases[i].version);
        snprintf(due, sizeof due, "%s%s", (char *)*state, cases[i].dir);
        CHECK_TEXT(cases[i].label, found.dir, due);
    }
}

/* Its group, but by our mounts: it may be in a container and see other ones. */
static void anothers_group_is_found_by_our_mounts(void **state)
{
    struct mw_cgroup found;
    char due[1024];
    scratch_write(*state, "proc/4321/cgroup", "9:memory:/app/its\n");
    scratch_write(*state, "proc/4321/mountinfo", "36 24 0:31 /app /inside rw - cgroup cgroup rw,memory\n");
    scratch_write(*state, "proc/self/cgroup", "9:memory:/ours\n");
    scratch_write(*state, "proc/self/mountinfo", V1_MEMORY);
    assert_int_equal(mw_cgroup_find_from_here(*state, "4321", &found), 0);
    snprintf(due, sizeof due, "%s%s", (char *)*state, V1_MEMORY_DIR "/app/its");
    assert_string_equal(found.dir, due);
    assert_int_equal(mw_cgroup_find_from_here(*state, "4322", &found), -ENOENT);
}

static void missing_files_are_told(void **state)
{
    struct mw_cgroup found;
    assert_int_equal(mw_cgroup_find(*state, "self", &found), -ENOENT);
    scratch_write(*state, "proc/self/cgroup", "0::/own\n");
    assert_int_equal(mw_cgroup_find(*state, "self", &found), -ENOENT);
    scratch_write(*state, "proc/self/mountinfo", "");
    errno = EXDEV;
    assert_int_equal(mw_cgroup_find(*state, "self", &found), -ENOENT);
    assert_int_equal(mw_cgroup_find(*state, "1", &found), -ENOENT);
    assert_int_equal(errno, EXDEV);
}

/* A container host has thousands of mounts. */
static void mountinfo_of_any_length(void **state)
{
    static const size_t lengths[] = {65534, 65535, 65536, 65537, 262143, 262144, 300000, 1048575, 1048576, 2000000};
    scratch_write(*state, "proc/self/cgroup", "0::/own\n");
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct mw_cgroup found;
        char *text = malloc(lengths[i] + 1);
        size_t filler = lengths[i] - strlen(V2_ALONE);
        memset(text, 'x', filler);
        for (size_t at = 199; at < filler; at += 200)
            text[at] = '\n';
        text[filler - 1] = '\n';
        memcpy(text + filler, V2_ALONE, sizeof V2_ALONE);
        scratch_write(*state, "proc/self/mountinfo", text);
        free(text);
        assert_int_equal(mw_cgroup_find(*state, "self", &found), 0);
        assert_int_equal(found.version, 2);
    }
}

static void a_root_that_is_too_long_is_told(void **state)
{
    char root[MW_CGROUP_PATH_BYTES + 64];
    char path[MW_CGROUP_PATH_BYTES];
    struct mw_cgroup found;
    char cgroup[MW_CGROUP_PATH_BYTES + 8];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[MW_CGROUP_PATH_BYTES - 100] = '\0';
    snprintf(cgroup, sizeof cgroup, "0::%s\n", path);
    scratch_write(*state, "proc/self/cgroup", cgroup);
    scratch_write(*state, "proc/self/mountinfo", V2_AT("/", "/cg"));
    assert_int_equal(mw_cgroup_find(*state, "self", &found), 0);
    /* The same directory by a longer name. */
    size_t length = (size_t)snprintf(root, sizeof root, "%s", (char *)*state);
    while (length < 128)
        length += (size_t)snprintf(root + length, sizeof root - length, "/.");
    assert_int_equal(mw_cgroup_find(root, "self", &found), -ENAMETOOLONG);
    memset(root, '/', sizeof root);
    root[sizeof root - 1] = '\0';
    assert_int_equal(mw_cgroup_find(root, "self", &found), -ENAMETOOLONG);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_is_the_memory_controllers),
        cmocka_unit_test(nowhere_to_be_found),
        cmocka_unit_test(mount_lines_of_every_shape),
        cmocka_unit_test(paths_of_every_shape),
        cmocka_unit_test(mounts_of_a_part_of_the_tree),
        cmocka_unit_test(hidden_mounts),
        cmocka_unit_test(cgroup_namespaces),
        WITH_SCRATCH(a_group_whose_path_begins_with_unknown_names),
        cmocka_unit_test(overlong_paths_are_told),
        cmocka_unit_test(it_climbs_to_the_top_and_no_further),
        cmocka_unit_test(files_have_the_kernels_names),
        cmocka_unit_test(no_limit_is_a_huge_number),
        WITH_SCRATCH(a_process_is_found_by_its_files),
        WITH_SCRATCH(the_cpu_controller_is_found_wherever_it_is),
        WITH_SCRATCH(anothers_group_is_found_by_our_mounts),
        WITH_SCRATCH(missing_files_are_told),
        WITH_SCRATCH(mountinfo_of_any_length),
        WITH_SCRATCH(a_root_that_is_too_long_is_told),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
