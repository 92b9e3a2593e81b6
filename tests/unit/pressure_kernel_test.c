/* SPDX-License-Identifier: MIT
 *
 * Does this machine's kernel say that memory is short, and do we hear it? A child in a small cgroup reads a file whose
 * pages do not fit: they have to go before the next ones come, and it waits for memory all the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pressure.h"
#include "pressure_source.h"
#include "scratch.h"

#define LIMIT       "67108864" /* 64 MiB, of which so much is left to the file: */
#define ROOM_BYTES  ((size_t)10 << 20)
#define FILE_BYTES  ((size_t)64 << 20)
#define BLOCK_BYTES ((size_t)1 << 20)
#define DEADLINE_S  20

#define NOT_RUN(reason)                                                                                                \
    do {                                                                                                               \
        print_message("NOT RUN HERE: %s: %s\n", __func__, reason);                                                     \
        return;                                                                                                        \
    } while (0)

static struct {
    struct mw_cgroup limited; /* of the v1 memory controller; version 0: not made */
    struct mw_cgroup v2;
    pid_t child;
} made;

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* ---- groups ---- */

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return is_written;
}

static bool write_to_group(const struct mw_cgroup *cgroup, enum mw_cgroup_file file, const char *text)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    return mw_cgroup_file_path(cgroup, file, path, sizeof path) == 0 && write_text(path, text);
}

/* A group of the test's own at the top of a hierarchy. */
static bool make_group(struct mw_cgroup *cgroup)
{
    snprintf(cgroup->dir + cgroup->top_length, sizeof cgroup->dir - cgroup->top_length, "/memwatch-pressure-%d",
             getpid());
    bool is_made = mkdir(cgroup->dir, 0755) == 0;
    if (!is_made)
        cgroup->version = 0;
    return is_made;
}

static bool make_limited_group(void)
{
    return mw_cgroup_find("", "self", &made.limited) == 0 && made.limited.version == 1 && make_group(&made.limited) &&
           write_to_group(&made.limited, MW_CGROUP_LIMIT, LIMIT);
}

/* Every v2 group tells how its tasks stood still, also where memory is limited in the other hierarchy. */
static bool make_v2_group(void)
{
    static const char *const tops[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char path[MW_CGROUP_PATH_BYTES + 64];
    for (size_t i = 0; i < COUNT(tops) && !made.v2.version; i++) {
        made.v2 = (struct mw_cgroup){.version = 2, .top_length = strlen(tops[i])};
        memcpy(made.v2.dir, tops[i], made.v2.top_length + 1);
        if (access(scratch_path(tops[i], "cgroup.controllers"), F_OK))
            made.v2.version = 0;
        else
            make_group(&made.v2);
    }
    return made.v2.version && mw_cgroup_file_path(&made.v2, MW_CGROUP_PRESSURE, path, sizeof path) == 0 &&
           access(path, R_OK | W_OK) == 0;
}

/* Its last process may be ending. */
static bool remove_group(struct mw_cgroup *cgroup)
{
    time_t deadline = seconds() + DEADLINE_S;
    int result = cgroup->version ? rmdir(cgroup->dir) : 0;
    while (result && errno == EBUSY && seconds() < deadline) {
        wait_a_little();
        result = rmdir(cgroup->dir);
    }
    cgroup->version = 0;
    return result == 0;
}

static void end_child(void)
{
    if (!made.child)
        return;
    kill(made.child, SIGKILL);
    waitpid(made.child, NULL, 0);
    made.child = 0;
}

static int teardown(void **state)
{
    end_child();
    bool are_removed = remove_group(&made.limited);
    are_removed &= remove_group(&made.v2);
    return scratch_teardown(state) || !are_removed ? -1 : 0;
}

/* ---- strain ---- */

/* On a disk, or its pages would have nowhere to go; -1 where TMPDIR is not on one. */
static int large_file(const char *dir)
{
    static const char block[BLOCK_BYTES];
    struct statfs there;
    int file = open(scratch_path(dir, "large"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_return_code(file, errno);
    assert_return_code(fstatfs(file, &there), errno);
    if (there.f_type == TMPFS_MAGIC || there.f_type == RAMFS_MAGIC) {
        close(file);
        return -1;
    }
    for (size_t at = 0; at < FILE_BYTES; at += BLOCK_BYTES)
        assert_int_equal(write(file, block, sizeof block), sizeof block);
    assert_return_code(fsync(file), errno);
    return file;
}

/* Leaves the group so much room: under a sanitizer the process itself takes more of it. */
static bool fill_group(void)
{
    struct mw_cgroup_reading reading;
    do {
        void *held = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (held == MAP_FAILED || mw_cgroup_read(&made.limited, NULL, &reading))
            return false;
    } while (reading.usage_bytes + ROOM_BYTES < reading.limit_bytes);
    return true;
}

_Noreturn static void strain(int file)
{
    static char block[BLOCK_BYTES];
    alarm(2 * DEADLINE_S); /* if the test itself is killed */
    if (!write_to_group(&made.limited, MW_CGROUP_PROCS, "0") ||
        (made.v2.version && !write_to_group(&made.v2, MW_CGROUP_PROCS, "0")))
        _exit(1);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED); /* those pages are the parent's group's */
    if (!fill_group())
        _exit(1);
    for (size_t at = 0;; at = (at + BLOCK_BYTES) % FILE_BYTES)
        if (pread(file, block, sizeof block, (off_t)at) < 0)
            _exit(1);
}

static void opens(struct mw_pressure *pressure, struct mw_pressure_places places, const char *source)
{
    mw_pressure_open(pressure, &places);
    CHECK_TEXT(source, source_name(pressure), source);
    assert_false(mw_pressure_fired(pressure));
}

static bool fires_in_time(struct mw_pressure *pressure)
{
    time_t deadline = seconds() + DEADLINE_S;
    while (seconds() < deadline) {
        if (mw_pressure_fired(pressure))
            return true;
        wait_a_little();
    }
    return false;
}

/* More than once, for as long as it lasts. */
static void check_hears_strain(struct mw_pressure *pressure, int file)
{
    fflush(NULL);
    made.child = fork();
    if (made.child == 0)
        strain(file);
    close(file);
    assert_true(made.child > 0);
    assert_true(fires_in_time(pressure));
    assert_true(fires_in_time(pressure));
    end_child();
    mw_pressure_fired(pressure); /* the last of it */
}

/* ---- tests ---- */

static void a_version_1_group_near_its_limit_is_told_of(void **state)
{
    static const char source[] = "memory.pressure_level";
    struct mw_pressure pressure = {0};
    if (!make_limited_group())
        NOT_RUN("no memory cgroup of version 1 can be made");
    int file = large_file(*state);
    if (file < 0)
        NOT_RUN("TMPDIR is not on a disk");
    opens(&pressure, (struct mw_pressure_places){.root = *state, .cgroup = &made.limited}, source);
    check_hears_strain(&pressure, file);
    assert_string_equal(source_name(&pressure), source);

    /* That the group is removed is an event too, told of in the background: no pressure, and the end of the source. */
    assert_true(remove_group(&made.limited));
    struct pollfd told = {.fd = pressure.events.fd, .events = POLLIN};
    assert_int_equal(poll(&told, 1, DEADLINE_S * 1000), 1);
    assert_false(mw_pressure_fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
}

static void a_group_whose_tasks_stand_still_is_told_of(void **state)
{
    static const char source[] = "memory.pressure";
    struct mw_pressure pressure = {0};
    if (!make_limited_group())
        NOT_RUN("no memory cgroup of version 1 can be made");
    if (!make_v2_group())
        NOT_RUN("no cgroup with a memory.pressure can be made");
    int file = large_file(*state);
    if (file < 0)
        NOT_RUN("TMPDIR is not on a disk");
    opens(&pressure, (struct mw_pressure_places){.root = *state, .cgroup = &made.v2}, source);
    check_hears_strain(&pressure, file);
    assert_string_equal(source_name(&pressure), source);

    /* Of a group that is gone poll says both, an error and pressure. */
    assert_true(remove_group(&made.v2));
    assert_false(mw_pressure_fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
}

/* Without a trigger the kernel's file tells of nothing, and is no source. */
static void the_machines_file_wants_a_trigger(void **state)
{
    static const char path[] = "/proc/pressure/memory";
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    if (!write_text(path, "some 150000 2000000\n"))
        NOT_RUN("no /proc/pressure/memory that takes a trigger");
    opens(&pressure, (struct mw_pressure_places){.root = ""}, path);
    mw_pressure_close(&pressure);
    opens(&pressure,
          (struct mw_pressure_places){.watch = path, .write = "c29tZSAxNTAwMDAgMjAwMDAwMAA=", .root = *state},
          "MEMORY_PRESSURE_WATCH");
    mw_pressure_close(&pressure);
    opens(&pressure, (struct mw_pressure_places){.watch = path, .root = *state}, "nobody");
    opens(&pressure, (struct mw_pressure_places){.watch = path, .write = "eA==", .root = *state}, "nobody");
    assert_int_equal(open_descriptors(), open_before);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(a_version_1_group_near_its_limit_is_told_of),
        WITH_SCRATCH(a_group_whose_tasks_stand_still_is_told_of),
        WITH_SCRATCH(the_machines_file_wants_a_trigger),
    };
    return cmocka_run_group_tests_name("pressure_kernel", tests, NULL, NULL);
}
