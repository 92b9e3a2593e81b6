/* SPDX-License-Identifier: MIT */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

static void a_file_is_written_whole_or_not_at_all(void **state)
{
    struct mw_error error = {0};
    struct stat status;
    const char *path = scratch_path(*state, "heap.pb.gz");
    mode_t mask = umask(027);
    assert_true(mw_outfile_write(path, "first", 5, &error));
    assert_true(mw_outfile_write(path, "second", 6, &error));
    umask(mask);
    assert_string_equal(scratch_read(path), "second");
    assert_return_code(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640); /* as any file */
    assert_int_equal(status.st_nlink, 1);
    assert_false(mw_outfile_write(scratch_path(*state, "nowhere/heap.pb.gz"), "x", 1, &error));
    assert_int_equal(error.errno_value, ENOENT);
    CHECK_HAS("the path is named", error.text, "nowhere/heap.pb.gz");
    assert_return_code(mkdir(scratch_path(*state, "dir"), 0755), 0);
    assert_false(mw_outfile_write(scratch_path(*state, "dir"), "x", 1, &error));
    assert_int_equal(error.errno_value, EISDIR);
}

static void what_is_no_file_is_written_into(void **state)
{
    struct mw_error error = {0};
    struct stat status;
    char read_back[8] = "";
    const char *path = scratch_path(*state, "fifo");
    assert_return_code(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(mw_outfile_write(path, "bytes", 5, &error));
    assert_int_equal(read(fd, read_back, sizeof read_back), 5);
    assert_string_equal(read_back, "bytes");
    close(fd);
    assert_return_code(stat(path, &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_true(mw_outfile_write("/dev/null", "x", 1, &error));
    assert_false(mw_outfile_write("/dev/full", "x", 1, &error));
    assert_int_equal(error.errno_value, ENOSPC);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(a_file_is_written_whole_or_not_at_all),
        WITH_SCRATCH(what_is_no_file_is_written_into),
    };
    return cmocka_run_group_tests_name("outfile", tests, NULL, NULL);
}
