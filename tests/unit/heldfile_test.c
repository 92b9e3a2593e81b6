/* SPDX-License-Identifier: MIT */
#include "heldfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "scratch.h"

static void check_reads(struct mw_held_file *file, const char *path, const char *due)
{
    char buffer[256];
    memset(buffer, '#', sizeof buffer);
    errno = EXDEV;
    CHECK_I64(due, mw_held_file_read(file, path, buffer, sizeof buffer), strlen(due));
    CHECK_I64(due, errno, EXDEV);
    CHECK_TEXT(due, buffer, due);
}

static void check_appends(struct mw_held_file *file, const char *path, const char *bytes)
{
    errno = EXDEV;
    CHECK_I64(bytes, mw_held_file_append(file, path, bytes, strlen(bytes)), strlen(bytes));
    CHECK_I64(bytes, errno, EXDEV);
}

/* ---- reading ---- */

static void each_read_begins_at_the_start_and_opens_nothing_anew(void **state)
{
    const char *path = scratch_write(*state, "file", "one\n");
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    check_reads(&file, path, "one\n");
    int fd = file.fd;
    for (unsigned i = 0; i < 100; i++) {
        scratch_write(*state, "file", i % 2 ? "three three\n" : "two\n");
        check_reads(&file, path, i % 2 ? "three three\n" : "two\n");
    }
    assert_int_equal(file.fd, fd);
    assert_int_equal(open_descriptors(), open_before + 1);
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
}

static void the_descriptor_is_out_of_the_way_and_closed_on_exec(void **state)
{
    const char *path = scratch_write(*state, "file", "x");
    struct mw_held_file file = {0};
    int next_before = dup(0);
    close(next_before);
    check_reads(&file, path, "x");
    int next_after = dup(0);
    close(next_after);
    assert_int_equal(next_after, next_before); /* the number that a program would get next is free */
    assert_true(file.fd > 2);
    assert_true(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
    mw_held_file_drop(&file);
}

static void what_does_not_fit_is_left_out(void **state)
{
    const char *path = scratch_write(*state, "file", "0123456789");
    (void)state;
    for (size_t capacity = 1; capacity <= 12; capacity++) {
        struct mw_held_file file = {0};
        char buffer[16];
        size_t due = capacity - 1 < 10 ? capacity - 1 : 10;
        memset(buffer, '#', sizeof buffer);
        assert_int_equal(mw_held_file_read(&file, path, buffer, capacity), due);
        assert_memory_equal(buffer, "0123456789", due);
        assert_int_equal(buffer[due], '\0');
        assert_int_equal(buffer[due + 1], '#');
        mw_held_file_drop(&file);
    }
}

static void what_cannot_be_opened_is_told_and_nothing_is_held(void **state)
{
    struct mw_held_file file = {0};
    char buffer[16];
    unsigned open_before = open_descriptors();
    errno = EXDEV;
    assert_int_equal(mw_held_file_read(&file, scratch_path(*state, "none"), buffer, sizeof buffer), -ENOENT);
    assert_int_equal(mw_held_file_read(&file, scratch_path(*state, "no/ne"), buffer, sizeof buffer), -ENOENT);
    assert_int_equal(mw_held_file_read(&file, "", buffer, sizeof buffer), -ENOENT);
    assert_int_equal(errno, EXDEV);
    assert_true(mw_held_file_read(&file, *state, buffer, sizeof buffer) < 0); /* a directory */
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
    const char *path = scratch_write(*state, "none", "now there is");
    check_reads(&file, path, "now there is");
    mw_held_file_drop(&file);
}

static void closed_under_us_it_is_opened_again(void **state)
{
    const char *path = scratch_write(*state, "file", "ours");
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    for (unsigned i = 0; i < 10; i++) {
        check_reads(&file, path, "ours");
        assert_int_equal(close(file.fd), 0);
    }
    check_reads(&file, path, "ours");
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
}

/* The program puts a file of its own at our number. */
static void what_is_not_ours_is_neither_read_nor_closed(void **state)
{
    const char *path = scratch_write(*state, "file", "ours");
    int theirs = open(scratch_write(*state, "other", "theirs"), O_RDONLY | O_CLOEXEC);
    struct mw_held_file file = {0};
    char buffer[16];
    check_reads(&file, path, "ours");
    int number = file.fd;
    assert_int_equal(dup2(theirs, number), number);
    check_reads(&file, path, "ours");
    assert_int_not_equal(file.fd, number);
    assert_int_equal(read(number, buffer, sizeof buffer), 6); /* still there, and still at its start */
    assert_memory_equal(buffer, "theirs", 6);
    assert_int_equal(dup2(theirs, file.fd), file.fd);
    number = file.fd;
    mw_held_file_drop(&file);
    assert_return_code(fcntl(number, F_GETFD), errno);
    assert_int_equal(file.fd, 0);
}

/* A new file of the same name is another file, and a number of its own accord is not ours even if the name is. */
static void a_file_that_was_replaced_is_read_once_it_is_opened_anew(void **state)
{
    const char *path = scratch_write(*state, "file", "old");
    struct mw_held_file file = {0};
    check_reads(&file, path, "old");
    assert_int_equal(rename(scratch_write(*state, "new", "new"), path), 0);
    mw_held_file_drop(&file);
    check_reads(&file, path, "new");
    assert_int_equal(rename(scratch_write(*state, "newer", "newer"), path), 0);
    int number = file.fd;
    int theirs = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(dup2(theirs, number), number);
    check_reads(&file, path, "newer");
    mw_held_file_drop(&file);
    assert_return_code(fcntl(number, F_GETFD), errno);
}

static void dropping_nothing_closes_nothing(void **state)
{
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    (void)state;
    mw_held_file_drop(&file);
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
    assert_return_code(fcntl(0, F_GETFD), errno); /* 0 stands for none, not for standard input */
}

/* ---- few descriptors ---- */

struct job {
    const char *path;
    rlim_t descriptors;
};

/* In a child: all but the standard descriptors closed, and so few allowed. */
static int read_with_few(void *context)
{
    const struct job *job = context;
    struct mw_held_file file = {0};
    char buffer[16];
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = job->descriptors, .rlim_max = job->descriptors}))
        return 1;
    errno = EXDEV;
    long length = mw_held_file_read(&file, job->path, buffer, sizeof buffer);
    if (errno != EXDEV)
        return 2;
    if (length == -EMFILE)
        return file.fd == 0 ? 100 : 3;
    if (length != 4 || strcmp(buffer, "ours") != 0)
        return 4;
    if (file.fd < 3 || (rlim_t)file.fd >= job->descriptors)
        return 5;
    mw_held_file_drop(&file);
    return open("/dev/null", O_RDONLY) == 3 ? 0 : 6; /* nothing was left open */
}

static void it_makes_do_with_few_descriptors(void **state)
{
    static const struct {
        rlim_t descriptors;
        int result;
    } cases[] = {{1024, 0}, {201, 0}, {200, 0}, {50, 0}, {5, 0}, {3, 100}, {0, 100}};
    const char *path = scratch_write(*state, "file", "ours");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job = {path, cases[i].descriptors};
        assert_int_equal(run_in_child(read_with_few, &job), cases[i].result);
    }
}

/* A daemon has closed the standard descriptors: ours must not become one of them. */
static int read_without_standard(void *context)
{
    const struct job *job = context;
    struct mw_held_file file = {0};
    char buffer[16];
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    if (mw_held_file_read(&file, job->path, buffer, sizeof buffer) != 4)
        return 1;
    if (file.fd < 3)
        return 2;
    return open("/dev/null", O_RDONLY) == 0 ? 0 : 3;
}

static void it_never_takes_a_standard_descriptors_number(void **state)
{
    struct job job = {.path = scratch_write(*state, "file", "ours")};
    assert_int_equal(run_in_child(read_without_standard, &job), 0);
}

/* ---- appending ---- */

static void a_file_is_created_for_its_owner_alone(void **state)
{
    const char *path = scratch_path(*state, "log");
    struct mw_held_file file = {0};
    struct stat st;
    mode_t mask = umask(0);
    errno = EXDEV;
    assert_int_equal(mw_held_file_create(&file, path), 0);
    assert_int_equal(errno, EXDEV);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
    mw_held_file_drop(&file);
}

static void what_a_file_holds_is_kept_and_appended_to(void **state)
{
    const char *path = scratch_write(*state, "log", "before\n");
    struct mw_held_file file = {0};
    assert_int_equal(mw_held_file_create(&file, path), 0);
    check_appends(&file, path, "one\n");
    scratch_write(*state, "log", ""); /* as copytruncate of logrotate */
    check_appends(&file, path, "two\n");
    assert_string_equal(scratch_read(path), "two\n");
    mw_held_file_drop(&file);
}

static void a_file_that_cannot_be_made_is_told(void **state)
{
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    assert_int_equal(mw_held_file_create(&file, scratch_path(*state, "no/log")), -ENOENT);
    assert_int_equal(mw_held_file_create(&file, *state), -EISDIR);
    assert_int_equal(open_descriptors(), open_before);
}

static void a_log_closed_under_us_is_found_again(void **state)
{
    const char *path = scratch_path(*state, "log");
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    assert_int_equal(mw_held_file_create(&file, path), 0);
    check_appends(&file, path, "one\n");
    close(file.fd);
    check_appends(&file, path, "two\n");
    assert_string_equal(scratch_read(path), "one\ntwo\n");
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
}

static void nothing_is_written_to_what_stands_at_our_number(void **state)
{
    const char *path = scratch_path(*state, "log");
    const char *other = scratch_write(*state, "other", "theirs");
    int theirs = open(other, O_WRONLY | O_APPEND | O_CLOEXEC);
    struct mw_held_file file = {0};
    assert_int_equal(mw_held_file_create(&file, path), 0);
    int number = file.fd;
    assert_int_equal(dup2(theirs, number), number);
    check_appends(&file, path, "ours\n");
    assert_string_equal(scratch_read(path), "ours\n");
    assert_string_equal(scratch_read(other), "theirs");
    assert_return_code(fcntl(number, F_GETFD), errno);
    mw_held_file_drop(&file);
}

/* The program has changed its root or directory, or the log was moved: the name leads to another file, or nowhere. */
static void another_file_of_that_name_is_not_written_to(void **state)
{
    const char *path = scratch_path(*state, "log");
    struct mw_held_file file = {0};
    unsigned open_before = open_descriptors();
    assert_int_equal(mw_held_file_create(&file, path), 0);
    assert_int_equal(rename(path, scratch_path(*state, "log.1")), 0);
    check_appends(&file, path, "moved, but still held\n");
    close(file.fd);
    assert_true(mw_held_file_append(&file, path, "x", 1) < 0);
    assert_int_equal(access(path, F_OK), -1); /* and none is made */
    scratch_write(*state, "log", "another");
    for (unsigned i = 0; i < 10; i++)
        assert_true(mw_held_file_append(&file, path, "x", 1) < 0);
    assert_string_equal(scratch_read(path), "another");
    assert_string_equal(scratch_read(scratch_path(*state, "log.1")), "moved, but still held\n");
    mw_held_file_drop(&file);
    assert_int_equal(open_descriptors(), open_before);
}

/* A FIFO that nobody reads must not be waited for. */
static void a_fifo_without_a_reader_is_refused_at_once(void **state)
{
    const char *path = scratch_path(*state, "fifo");
    struct mw_held_file file = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    assert_int_equal(mw_held_file_create(&file, path), -ENXIO);
    alarm(0);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(each_read_begins_at_the_start_and_opens_nothing_anew),
        WITH_SCRATCH(the_descriptor_is_out_of_the_way_and_closed_on_exec),
        WITH_SCRATCH(what_does_not_fit_is_left_out),
        WITH_SCRATCH(what_cannot_be_opened_is_told_and_nothing_is_held),
        WITH_SCRATCH(closed_under_us_it_is_opened_again),
        WITH_SCRATCH(what_is_not_ours_is_neither_read_nor_closed),
        WITH_SCRATCH(a_file_that_was_replaced_is_read_once_it_is_opened_anew),
        WITH_SCRATCH(dropping_nothing_closes_nothing),
        WITH_SCRATCH(it_makes_do_with_few_descriptors),
        WITH_SCRATCH(it_never_takes_a_standard_descriptors_number),
        WITH_SCRATCH(a_file_is_created_for_its_owner_alone),
        WITH_SCRATCH(what_a_file_holds_is_kept_and_appended_to),
        WITH_SCRATCH(a_file_that_cannot_be_made_is_told),
        WITH_SCRATCH(a_log_closed_under_us_is_found_again),
        WITH_SCRATCH(nothing_is_written_to_what_stands_at_our_number),
        WITH_SCRATCH(another_file_of_that_name_is_not_written_to),
        WITH_SCRATCH(a_fifo_without_a_reader_is_refused_at_once),
    };
    return cmocka_run_group_tests_name("heldfile", tests, NULL, NULL);
}
