/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "scratch.h"

#define PAGE       4096
#define DEADLINE_S 50

/* As the monitor's thread: no signal comes through. The alarm is for whatever stands still. */
static int set_up(void **state)
{
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_signal, NULL);
    alarm(DEADLINE_S);
    return scratch_setup(state);
}

static struct mw_output open_fd(int fd)
{
    struct mw_output output;
    memset(&output, 0xa5, sizeof output);
    assert_int_equal(mw_output_open(&output, (struct mw_output_target){.kind = MW_OUTPUT_FD, .fd = fd}), 0);
    return output;
}

static struct mw_output open_path(const char *path)
{
    struct mw_output output;
    memset(&output, 0xa5, sizeof output);
    assert_int_equal(mw_output_open(&output, (struct mw_output_target){.kind = MW_OUTPUT_PATH, .path = path}), 0);
    return output;
}

static bool put(struct mw_output *output, const char *line)
{
    errno = EXDEV;
    bool written = mw_output_write(output, line, strlen(line));
    assert_int_equal(errno, EXDEV);
    return written;
}

#define PIPE_BYTES (2 * PAGE)

/* A small pipe. */
static void make_pipe(int ends[2], int flags)
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | flags), 0);
    assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
}

static size_t drain(int fd, char *buffer, size_t capacity_bytes)
{
    ssize_t length = read(fd, buffer, capacity_bytes - 1);
    assert_true(length >= 0);
    buffer[length] = '\0';
    return (size_t)length;
}

static void nowhere_takes_everything(void **state)
{
    struct mw_output output;
    unsigned open_before = open_descriptors();
    (void)state;
    assert_int_equal(mw_output_open(&output, (struct mw_output_target){.kind = MW_OUTPUT_NONE}), 0);
    assert_true(put(&output, "a line\n"));
    assert_int_equal(open_descriptors(), open_before);
}

static void lines_go_down_a_pipe_without_a_copy_of_its_end(void **state)
{
    char buffer[64];
    int ends[2];
    (void)state;
    make_pipe(ends, 0);
    unsigned open_before = open_descriptors();
    struct mw_output output = open_fd(ends[1]);
    assert_int_equal(open_descriptors(), open_before);
    assert_true(put(&output, "one\n"));
    assert_true(put(&output, "two\n"));
    drain(ends[0], buffer, sizeof buffer);
    assert_string_equal(buffer, "one\ntwo\n");
    close(ends[1]);
    assert_int_equal(drain(ends[0], buffer, sizeof buffer), 0); /* its end is seen: nobody else holds it open */
    assert_false(put(&output, "three\n"));
    close(ends[0]);
}

static void a_path_is_appended_to(void **state)
{
    const char *path = scratch_write(*state, "log", "before\n");
    struct mw_output output = open_path(path);
    assert_true(put(&output, "one\n"));
    assert_true(put(&output, "two\n"));
    assert_string_equal(scratch_read(path), "before\none\ntwo\n");
    struct mw_output again = open_path(path); /* another process of the program */
    assert_true(put(&again, "three\n"));
    assert_true(put(&output, "four\n"));
    assert_string_equal(scratch_read(path), "before\none\ntwo\nthree\nfour\n");
    mw_held_file_drop(&output.file);
    mw_held_file_drop(&again.file);
}

static void what_cannot_be_opened_is_told_and_drops_every_line(void **state)
{
    const struct mw_output_target targets[] = {
        {.kind = MW_OUTPUT_PATH, .path = scratch_path(*state, "no/such/log")},
        {.kind = MW_OUTPUT_PATH, .path = *state},
        {.kind = MW_OUTPUT_FD, .fd = 999},
        {.kind = MW_OUTPUT_FD, .fd = -1},
        {.kind = MW_OUTPUT_FD, .fd = 2147483647},
    };
    for (size_t i = 0; i < COUNT(targets); i++) {
        struct mw_output output;
        errno = EXDEV;
        assert_true(mw_output_open(&output, targets[i]) < 0);
        assert_int_equal(errno, EXDEV);
        assert_false(put(&output, "a line\n"));
        assert_false(put(&output, "a line\n"));
    }
}

/* A number that was closed at the start and is the program's own later. */
static void a_descriptor_that_was_closed_at_the_start_stays_unwritten(void **state)
{
    const char *path = scratch_write(*state, "theirs", "");
    int theirs = open(path, O_WRONLY | O_CLOEXEC);
    struct mw_output output;
    close(theirs);
    assert_true(mw_output_open(&output, (struct mw_output_target){.kind = MW_OUTPUT_FD, .fd = theirs}) < 0);
    assert_int_equal(open(path, O_WRONLY | O_CLOEXEC), theirs);
    assert_false(put(&output, "a line\n"));
    assert_string_equal(scratch_read(path), "");
    close(theirs);
}

static void a_full_pipe_drops_lines_and_holds_nobody_up(void **state)
{
    char filler[PIPE_BYTES];
    char buffer[2 * PIPE_BYTES];
    (void)state;
    for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
        int ends[2];
        make_pipe(ends, flags);
        struct mw_output output = open_fd(ends[1]);
        memset(filler, 'f', sizeof filler);
        assert_int_equal(write(ends[1], filler, sizeof filler), sizeof filler);
        assert_false(put(&output, "dropped\n"));
        assert_false(put(&output, "dropped\n"));
        assert_int_equal(drain(ends[0], buffer, sizeof buffer), PIPE_BYTES);
        assert_true(put(&output, "kept\n"));
        drain(ends[0], buffer, sizeof buffer);
        assert_string_equal(buffer, "kept\n"); /* of what was dropped not even a newline is left */
        close(ends[0]);
        close(ends[1]);
    }
}

static int put_long_line(void *context)
{
    struct mw_output *output = context;
    char line[2 * PIPE_BYTES];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    return mw_output_write(output, line, sizeof line);
}

/* A JSON line can be longer than a pipe has room for, and the pipe is the program's: it may well be a blocking one. */
static void a_line_longer_than_a_pipe_has_room_holds_nobody_up(void **state)
{
    int ends[2];
    (void)state;
    make_pipe(ends, 0);
    struct mw_output output = open_fd(ends[1]);
    assert_int_equal(run_in_child(put_long_line, &output), false);
    close(ends[0]);
    close(ends[1]);
}

static void a_closed_pipe_drops_lines_and_no_signal_gets_through(void **state)
{
    int ends[2];
    (void)state;
    make_pipe(ends, 0);
    struct mw_output output = open_fd(ends[1]);
    close(ends[0]);
    assert_false(put(&output, "a line\n"));
    assert_false(put(&output, "a line\n"));
    close(ends[1]);
}

static void a_closed_socket_drops_lines(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct mw_output output = open_fd(ends[1]);
    assert_true(put(&output, "a line\n"));
    close(ends[0]);
    assert_false(put(&output, "a line\n"));
    close(ends[1]);
}

static void a_full_device_drops_lines(void **state)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    (void)state;
    assert_return_code(full, errno);
    struct mw_output by_number = open_fd(full);
    struct mw_output by_path = open_path("/dev/full");
    for (unsigned i = 0; i < 3; i++) {
        assert_false(put(&by_number, "a line\n"));
        assert_false(put(&by_path, "a line\n"));
    }
    mw_held_file_drop(&by_path.file);
    close(full);
}

static void a_descriptor_for_reading_drops_lines(void **state)
{
    int fd = open(scratch_write(*state, "file", "x"), O_RDONLY | O_CLOEXEC);
    struct mw_output output = open_fd(fd);
    assert_false(put(&output, "a line\n"));
    close(fd);
}

static void a_descriptor_that_was_replaced_is_not_written_to(void **state)
{
    const char *ours = scratch_write(*state, "ours", "");
    const char *theirs = scratch_write(*state, "theirs", "");
    int fd = open(ours, O_WRONLY | O_CLOEXEC);
    int other = open(theirs, O_WRONLY | O_CLOEXEC);
    int kept = dup(fd);
    struct mw_output output = open_fd(fd);
    assert_true(put(&output, "one\n"));
    assert_int_equal(dup2(other, fd), fd);
    assert_false(put(&output, "dropped\n"));
    close(fd);
    assert_false(put(&output, "dropped\n"));
    assert_int_equal(dup2(kept, fd), fd); /* it is back */
    assert_true(put(&output, "two\n"));
    assert_string_equal(scratch_read(ours), "one\ntwo\n");
    assert_string_equal(scratch_read(theirs), "");
    close(fd);
    close(other);
    close(kept);
}

/* ---- writes that break off within a line ---- */

static void the_line_after_a_short_write_to_a_pipe_stands_on_its_own(void **state)
{
    static char line[PIPE_BYTES + 1000];
    static char buffer[2 * PIPE_BYTES];
    int ends[2];
    (void)state;
    make_pipe(ends, O_NONBLOCK);
    struct mw_output output = open_fd(ends[1]);
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    assert_false(put(&output, line));
    size_t length = drain(ends[0], buffer, sizeof buffer);
    assert_in_range(length, 1, PIPE_BYTES);
    assert_null(strchr(buffer, '\n'));
    assert_true(put(&output, "two\n"));
    assert_true(put(&output, "three\n"));
    drain(ends[0], buffer, sizeof buffer);
    assert_string_equal(buffer, "\ntwo\nthree\n");
    close(ends[0]);
    close(ends[1]);
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A disk that fills up within a line, and has room again later. */
static void the_line_after_a_short_write_to_a_file_stands_on_its_own(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned by_path = 0; by_path < 2; by_path++) {
        const char *path = scratch_write(*state, by_path ? "by-path" : "by-number", "");
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        struct mw_output output = by_path ? open_path(path) : open_fd(fd);
        assert_true(put(&output, "one\n"));
        limit_file_size(8);
        assert_false(put(&output, "twotwotwo\n"));
        assert_false(put(&output, "lost\n"));
        assert_false(put(&output, "lost too\n"));
        limit_file_size(RLIM_INFINITY);
        assert_true(put(&output, "three\n"));
        assert_true(put(&output, "four\n"));
        assert_string_equal(scratch_read(path), "one\ntwot\nthree\nfour\n");
        if (by_path)
            mw_held_file_drop(&output.file);
        close(fd);
    }
}

#define OUTPUT_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTPUT_TEST(nowhere_takes_everything),
        OUTPUT_TEST(lines_go_down_a_pipe_without_a_copy_of_its_end),
        OUTPUT_TEST(a_path_is_appended_to),
        OUTPUT_TEST(what_cannot_be_opened_is_told_and_drops_every_line),
        OUTPUT_TEST(a_descriptor_that_was_closed_at_the_start_stays_unwritten),
        OUTPUT_TEST(a_full_pipe_drops_lines_and_holds_nobody_up),
        OUTPUT_TEST(a_line_longer_than_a_pipe_has_room_holds_nobody_up),
        OUTPUT_TEST(a_closed_pipe_drops_lines_and_no_signal_gets_through),
        OUTPUT_TEST(a_closed_socket_drops_lines),
        OUTPUT_TEST(a_full_device_drops_lines),
        OUTPUT_TEST(a_descriptor_for_reading_drops_lines),
        OUTPUT_TEST(a_descriptor_that_was_replaced_is_not_written_to),
        OUTPUT_TEST(the_line_after_a_short_write_to_a_pipe_stands_on_its_own),
        OUTPUT_TEST(the_line_after_a_short_write_to_a_file_stands_on_its_own),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
