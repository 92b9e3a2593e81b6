/* SPDX-License-Identifier: MIT
 *
 * Where segments are found, and what a pid or a path leads to, in a /proc and a directory that the test has made.
 */
#include "segments.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"
#include "segment_builder.h"
#include "target.h"

#define NAMESPACE "4026531836"
#define MAPPED    "7f0000000000-7f0000001000"
#define SEGMENT   "/dev/shm/memwatch-0/1234-5678-" NAMESPACE ".mw"

static struct mw_segments_places places_in(const char *dir)
{
    static char proc[1024];
    static char directory[1024];
    snprintf(proc, sizeof proc, "%s/proc", dir);
    snprintf(directory, sizeof directory, "%s/shm", dir);
    return (struct mw_segments_places){.proc = proc, .directory = directory};
}

/* dir/proc/PID/file */
static void write_proc(const char *dir, int pid, const char *file, const char *content)
{
    char name[64];
    snprintf(name, sizeof name, "proc/%d/%s", pid, file);
    scratch_write(dir, name, content);
}

static void make_process(const char *dir, int pid, int own_pid, char run_state, unsigned ticks, const char *maps)
{
    char text[512];
    snprintf(text, sizeof text, "%d (a) b (c) %c 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %u 9 10\n", pid, run_state,
             ticks);
    write_proc(dir, pid, "stat", text);
    snprintf(text, sizeof text, "Name:\tapp\nNSpid:\t%d%s%d\nVmRSS:\t1 kB\n", pid, "\t", own_pid);
    write_proc(dir, pid, "status", text);
    write_proc(dir, pid, "maps", maps);
}

/* A segment in the root of a process, or in the directory of the dead. */
static const char *make_segment(const char *dir, const char *name)
{
    struct segment_builder builder;
    segment_builder_start(&builder, &segment_builder_tiny);
    const char *path = scratch_write(dir, name, "");
    segment_builder_write(&builder, path);
    segment_builder_free(&builder);
    return path;
}

/* /proc/self, by which our own namespace is known. */
static int setup(void **state)
{
    if (scratch_setup(state))
        return -1;
    scratch_write(*state, "proc/self/ns/net", "");
    return symlink("pid:[" NAMESPACE "]", scratch_path(*state, "proc/self/ns/pid"));
}

static void names(void **state)
{
    static const struct {
        const char *name;
        bool is_one;
        struct mw_segment_name parts;
    } cases[] = {
        {"1-2-3.mw", true, {1, 2, 3}},
        {"/a/b/2147483647-18446744073709551615-18446744073709551615.mw", true, {2147483647, UINT64_MAX, UINT64_MAX}},
        {"2147483648-2-3.mw", false, {0}},
        {"1-18446744073709551616-3.mw", false, {0}},
        {"0-2-3.mw", false, {0}},
        {"-1-2-3.mw", false, {0}},
        {"1-2-3", false, {0}},
        {"1-2-3.mw2", false, {0}},
        {"1-2-3.mw/", false, {0}},
        {"1-2-.mw", false, {0}},
        {"1-2.mw", false, {0}},
        {" 1-2-3.mw", false, {0}},
        {"1-+2-3.mw", false, {0}},
        {"x1-2-3.mw", false, {0}},
        {".mw", false, {0}},
        {"", false, {0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_segment_name parts;
        CHECK_I64(cases[i].name, mw_segment_name_parse(cases[i].name, &parts), cases[i].is_one);
        if (cases[i].is_one) {
            CHECK_I64(cases[i].name, parts.pid, cases[i].parts.pid);
            CHECK_U64(cases[i].name, parts.start_ticks, cases[i].parts.start_ticks);
            CHECK_U64(cases[i].name, parts.pid_namespace, cases[i].parts.pid_namespace);
        }
    }
}

#define MAPS(path)                                                                                                     \
    "55d0c0000000-55d0c0001000 r--p 00000000 08:01 11     /usr/bin/app\n"                                              \
    "55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0      [heap]\n" MAPPED " rw-s 00000000 00:1a 23   " path "\n"      \
    "7fff00000000-7fff00021000 rw-p 00000000 00:00 0      [stack]\n"

static void what_a_process_maps(void **state)
{
    static const struct {
        const char *label;
        const char *maps;
        int own_pid;
        bool is_watched;
    } cases[] = {
        {"its own", MAPS(SEGMENT), 1234, true},
        {"deleted", MAPS(SEGMENT " (deleted)"), 1234, true},
        {"its parent's", MAPS(SEGMENT), 1235, false},
        {"no directory of ours", MAPS("/dev/shm/1234-5678-" NAMESPACE ".mw"), 1234, false},
        {"another directory", MAPS("/dev/shm/memwatch-/1234-5678-" NAMESPACE ".mw"), 1234, false},
        {"a user by name", MAPS("/dev/shm/memwatch-root/1234-5678-" NAMESPACE ".mw"), 1234, false},
        {"another file", MAPS("/dev/shm/memwatch-0/1234.mw"), 1234, false},
        {"nothing", "", 1234, false},
        {"no newline", MAPPED " rw-s 00000000 00:1a 23 " SEGMENT, 1234, true},
        {"a path alone", "/dev/shm/memwatch-0", 1234, false},
    };
    struct mw_segments_places places = places_in(*state);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[MW_SEGMENTS_PATH_BYTES];
        struct mw_error error = {0};
        struct mw_segments_list list = {0};
        make_process(*state, 1234, cases[i].own_pid, 'S', 5678, cases[i].maps);
        make_segment(*state, "proc/1234/root" SEGMENT);
        int fd = mw_segments_open_process(&places, 1234, path, &error);
        CHECK(cases[i].label, (fd >= 0) == cases[i].is_watched);
        if (fd >= 0) {
            CHECK_HAS(cases[i].label, path, "/proc/1234/root" SEGMENT);
            close(fd);
        } else {
            CHECK_TEXT(cases[i].label, error.text, "process 1234 is not watched: libmemwatch.so is not in it");
            CHECK_I64(cases[i].label, error.errno_value, ENODATA);
        }
        CHECK(cases[i].label, mw_segments_find_watched(&places, &list, &error));
        CHECK_U64(cases[i].label, list.pid_count, cases[i].is_watched);
        mw_segments_list_free(&list);
    }
}

static void a_container_has_pids_of_its_own(void **state)
{
    struct mw_segments_places places = places_in(*state);
    char path[MW_SEGMENTS_PATH_BYTES];
    struct mw_error error;
    make_process(*state, 4711, 1234, 'S', 5678, MAPS("/tmp/own/memwatch-1000/1234-5678-99.mw"));
    make_segment(*state, "proc/4711/root/tmp/own/memwatch-1000/1234-5678-99.mw");
    int fd = mw_segments_open_process(&places, 4711, path, &error);
    assert_return_code(fd, 0);
    close(fd);
}

/* A root that is not ours may be full of traps. */
static void links_lead_nowhere(void **state)
{
    static const struct {
        const char *label;
        const char *link; /* in the root of process 1234 */
        const char *to;
        bool is_opened;
    } cases[] = {
        {"the file", SEGMENT, "/etc/passwd", false},
        {"out of the root", "/dev/shm/memwatch-0", "../../../../../../outside", false},
        {"within the root", "/dev/shm/memwatch-0", "/elsewhere", true},
    };
    struct mw_segments_places places = places_in(*state);
    make_process(*state, 1234, 1234, 'S', 5678, MAPS(SEGMENT));
    scratch_write(*state, "proc/1234/root/dev/shm/x", "");
    make_segment(*state, "outside/1234-5678-" NAMESPACE ".mw");
    make_segment(*state, "proc/1234/root/elsewhere/1234-5678-" NAMESPACE ".mw");
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[MW_SEGMENTS_PATH_BYTES];
        char link[1024];
        struct mw_error error;
        snprintf(link, sizeof link, "%s/proc/1234/root%s", (const char *)*state, cases[i].link);
        if (i == 0)
            scratch_write(*state, "proc/1234/root/dev/shm/memwatch-0/x", "");
        assert_return_code(symlink(cases[i].to, link), 0);
        int fd = mw_segments_open_process(&places, 1234, path, &error);
        CHECK(cases[i].label, (fd >= 0) == cases[i].is_opened);
        if (fd >= 0)
            close(fd);
        else
            CHECK_HAS(cases[i].label, error.text, "cannot open the segment of process 1234, " SEGMENT);
        assert_return_code(unlink(link), 0);
        if (i == 0) {
            unlink(scratch_path(*state, "proc/1234/root/dev/shm/memwatch-0/x"));
            rmdir(scratch_path(*state, "proc/1234/root/dev/shm/memwatch-0"));
        }
    }
}

static void what_is_deleted_is_found_by_its_mapping(void **state)
{
    struct mw_segments_places places = places_in(*state);
    char path[MW_SEGMENTS_PATH_BYTES];
    struct mw_error error;
    make_process(*state, 1234, 1234, 'S', 5678, MAPS(SEGMENT " (deleted)"));
    scratch_write(*state, "proc/1234/root/x", "");
    make_segment(*state, "proc/1234/map_files/" MAPPED);
    int fd = mw_segments_open_process(&places, 1234, path, &error);
    assert_return_code(fd, 0);
    assert_non_null(strstr(path, "/map_files/" MAPPED));
    close(fd);
}

static void what_is_no_file_is_not_opened(void **state)
{
    struct mw_error error;
    char expected[2048];
    const char *fifo = scratch_path(*state, "fifo");
    assert_return_code(mkfifo(fifo, 0600), 0);
    assert_int_equal(mw_segments_open_file(fifo, &error), -1); /* and does not wait for a writer */
    snprintf(expected, sizeof expected, "%s is not a memwatch segment of this user's", fifo);
    assert_string_equal(error.text, expected);
    assert_int_equal(mw_segments_open_file(*state, &error), -1);
    assert_int_equal(mw_segments_open_file("/dev/zero", &error), -1);
    assert_int_equal(mw_segments_open_file(scratch_path(*state, "none"), &error), -1);
    assert_non_null(strstr(error.text, "none: No such file or directory"));
}

/* ---- the dead ---- */

static void the_dead_are_those_whose_process_is_gone(void **state)
{
    static const struct {
        const char *name;
        bool is_dead;
    } cases[] = {
        {"10-5678-" NAMESPACE ".mw", true},  /* there is no such process */
        {"20-5678-" NAMESPACE ".mw", false}, /* it runs */
        {"20-5677-" NAMESPACE ".mw", true},  /* its pid has gone to another */
        {"30-5678-" NAMESPACE ".mw", true},  /* it waits for its parent */
        {"10-5678-99.mw", false},            /* of another namespace: who knows? */
        {"10-5678.mw", false},
        {"notes", false},
    };
    struct mw_segments_places places = places_in(*state);
    struct mw_segments_list list = {0};
    struct mw_error error;
    char directory[64];
    snprintf(directory, sizeof directory, "shm/memwatch-%u", geteuid());
    make_process(*state, 20, 20, 'S', 5678, "");
    make_process(*state, 30, 30, 'Z', 5678, "");
    size_t dead = 0;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s", directory, cases[i].name);
        make_segment(*state, name);
        dead += cases[i].is_dead;
    }
    assert_true(mw_segments_find_dead(&places, &list, &error));
    assert_int_equal(list.dead_count, dead);
    for (size_t i = 0; i < list.dead_count; i++)
        for (size_t k = 0; k < COUNT(cases); k++)
            CHECK(cases[k].name, cases[k].is_dead || !strstr(list.dead[i].path, cases[k].name));
    mw_segments_list_free(&list);
}

static void a_directory_by_anothers_name_is_not_believed(void **state)
{
    struct mw_segments_places places = places_in(*state);
    struct mw_segments_list list = {0};
    struct mw_error error;
    make_segment(*state, "shm/memwatch-12345/10-5678-" NAMESPACE ".mw");
    make_segment(*state, "elsewhere/10-5678-" NAMESPACE ".mw");
    assert_return_code(symlink("../elsewhere", scratch_path(*state, "shm/memwatch-0")), 0);
    assert_true(mw_segments_find_dead(&places, &list, &error));
    assert_int_equal(list.dead_count, 0);
    mw_segments_list_free(&list);
}

static void no_directory_is_no_dead(void **state)
{
    struct mw_segments_places places = places_in(*state);
    struct mw_segments_list list = {0};
    struct mw_error error;
    assert_true(mw_segments_find_dead(&places, &list, &error));
    assert_int_equal(list.dead_count, 0);
    places.proc = "/nowhere";
    assert_false(mw_segments_find_watched(&places, &list, &error));
    assert_string_equal(error.text, "cannot open /nowhere: No such file or directory");
}

/* ---- targets ---- */

static void a_pid_that_runs(void **state)
{
    struct mw_segments_places places = places_in(*state);
    struct mw_target target;
    struct mw_error error;
    make_process(*state, 1234, 1234, 'S', 5678, MAPS(SEGMENT));
    make_segment(*state, "proc/1234/root" SEGMENT);
    assert_true(mw_target_open_at(&places, "1234", &target, &error));
    assert_int_equal(target.pid, 1234);
    assert_true(target.is_alive);
    assert_string_equal(target.name, "process 1234 (app)");
    assert_string_equal(mw_target_state(&target), "alive");
    assert_true(mw_target_age_ns(&target) > UINT64_C(1000000000));
    mw_target_close(&target);
}

static void a_pid_whose_process_is_gone(void **state)
{
    struct mw_segments_places places = places_in(*state);
    struct mw_target target;
    struct mw_error error;
    char name[256];
    assert_false(mw_target_open_at(&places, "1234", &target, &error));
    assert_string_equal(error.text, "there is no process 1234");
    assert_int_equal(error.errno_value, ENOENT);
    static const char *const ticks[] = {"5677", "5678", "5676"};
    for (size_t i = 0; i < COUNT(ticks); i++) {
        snprintf(name, sizeof name, "shm/memwatch-%u/1234-%s-" NAMESPACE ".mw", geteuid(), ticks[i]);
        make_segment(*state, name);
    }
    assert_true(mw_target_open_at(&places, "1234", &target, &error));
    assert_false(target.is_alive);
    assert_string_equal(mw_target_state(&target), "dead");
    assert_int_equal(mw_target_age_ns(&target), 0);
    assert_non_null(strstr(target.path, "1234-5678-")); /* the newest */
    mw_target_close(&target);
}

static void a_path(void **state)
{
    static const struct {
        const char *label;
        uint64_t pid_namespace;
        unsigned ticks;
        uint32_t state;
        const char *is;
        int pid;
    } cases[] = {
        {"runs", 4026531836, 5678, MW_SEGMENT_RUNNING, "alive", 1234},
        {"starts", 4026531836, 5678, MW_SEGMENT_STARTING, "alive", 1234},
        {"has become another", 4026531836, 5678, MW_SEGMENT_ENDED, "ended", 1234},
        {"its pid is another's", 4026531836, 5679, MW_SEGMENT_RUNNING, "dead", 1234},
        {"ended", 4026531836, 5679, MW_SEGMENT_ENDED, "ended", 1234},
        {"of another namespace", 99, 5679, MW_SEGMENT_RUNNING, "alive", 0},
        {"ended in another", 99, 5679, MW_SEGMENT_ENDED, "ended", 0},
    };
    struct mw_segments_places places = places_in(*state);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct segment_builder builder;
        struct mw_target target;
        struct mw_error error;
        const char *path = scratch_write(*state, "segment", "");
        segment_builder_start(&builder, &segment_builder_tiny);
        builder.header->pid_namespace = cases[i].pid_namespace;
        builder.header->state = cases[i].state;
        segment_builder_write(&builder, path);
        segment_builder_free(&builder);
        make_process(*state, 1234, 1234, 'S', cases[i].ticks, "");
        CHECK(cases[i].label, mw_target_open_at(&places, path, &target, &error));
        CHECK_TEXT(cases[i].label, mw_target_state(&target), cases[i].is);
        CHECK_I64(cases[i].label, target.pid, cases[i].pid);
        CHECK_TEXT(cases[i].label, target.name, cases[i].pid ? "process 1234 (app)" : path);
        mw_target_close(&target);
    }
}

static void words_that_lead_nowhere(void **state)
{
    static const struct {
        const char *word;
        const char *error;
    } cases[] = {
        {"0", "there is no process 0"},
        {"99999999999999999999", "there is no process 99999999999999999999"},
        {"7", "there is no process 7"},
        {"", "cannot open : No such file or directory"},
        {"-1", "cannot open -1: No such file or directory"},
        {"app", "cannot open app: No such file or directory"},
        {"/proc/self/status", "/proc/self/status is not a memwatch segment"},
    };
    struct mw_segments_places places = places_in(*state);
    unsigned before = open_descriptors();
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_target target;
        struct mw_error error;
        CHECK(cases[i].word, !mw_target_open_at(&places, cases[i].word, &target, &error));
        CHECK_TEXT(cases[i].word, error.text, cases[i].error);
    }
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(names),
        TEST(what_a_process_maps),
        TEST(a_container_has_pids_of_its_own),
        TEST(links_lead_nowhere),
        TEST(what_is_deleted_is_found_by_its_mapping),
        TEST(what_is_no_file_is_not_opened),
        TEST(the_dead_are_those_whose_process_is_gone),
        TEST(a_directory_by_anothers_name_is_not_believed),
        TEST(no_directory_is_no_dead),
        TEST(a_pid_that_runs),
        TEST(a_pid_whose_process_is_gone),
        TEST(a_path),
        TEST(words_that_lead_nowhere),
    };
    return cmocka_run_group_tests_name("segments", tests, NULL, NULL);
}
