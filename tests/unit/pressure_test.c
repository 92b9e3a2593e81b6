/* SPDX-License-Identifier: MIT
 *
 * Whom the library listens to, on files, FIFOs and sockets of the test's own. The kernel's are in
 * pressure_kernel_test.c.
 */
#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "pressure_source.h"
#include "scratch.h"

#define TRIGGER "some 150000 2000000" /* and its NUL */

/* ---- places of a test's own ---- */

static struct mw_pressure_places watched(const char *root, const char *watch, const char *write)
{
    return (struct mw_pressure_places){.watch = watch, .write = write, .root = root};
}

static void opens(struct mw_pressure *pressure, struct mw_pressure_places places, const char *source)
{
    errno = EXDEV;
    mw_pressure_open(pressure, &places);
    CHECK_TEXT(source, source_name(pressure), source);
    CHECK_I64(source, errno, EXDEV);
}

static bool fired(struct mw_pressure *pressure)
{
    errno = EXDEV;
    bool is_short = mw_pressure_fired(pressure);
    assert_int_equal(errno, EXDEV);
    return is_short;
}

static void sends(int fd, const char *bytes)
{
    assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
}

static const char *make_fifo(const char *dir)
{
    const char *path = scratch_path(dir, "fifo");
    assert_return_code(mkfifo(path, 0600), errno);
    return path;
}

static int write_end(const char *fifo)
{
    int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_return_code(fd, errno);
    return fd;
}

static int listens(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_in_range(strlen(path), 1, sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path));
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof address), errno);
    assert_return_code(listen(fd, 4), errno);
    return fd;
}

/* The other end of a connection that is there already. */
static int accepted(int listener)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 0), 1);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    assert_return_code(fd, errno);
    return fd;
}

static void check_closed(struct mw_pressure *pressure, unsigned open_before)
{
    mw_pressure_close(pressure);
    assert_string_equal(source_name(pressure), "nobody");
    assert_int_equal(open_descriptors(), open_before);
}

/* ---- the service manager's FIFO ---- */

static void each_event_through_a_fifo_is_told_once(void **state)
{
    const char *fifo = make_fifo(*state);
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    opens(&pressure, watched(*state, fifo, NULL), "MEMORY_PRESSURE_WATCH");
    assert_int_equal(open_descriptors(), open_before + 1);
    assert_false(fired(&pressure));
    for (unsigned i = 0; i < 3; i++) {
        int manager = write_end(fifo);
        sends(manager, i ? "memory is short\n" : "x");
        assert_true(fired(&pressure));
        assert_false(fired(&pressure));
        close(manager);
        assert_false(fired(&pressure)); /* that a writer goes means nothing */
    }
    check_closed(&pressure, open_before);
}

static void a_fifo_that_is_written_faster_than_read_is_not_waited_for(void **state)
{
    static const char block[4096];
    const char *fifo = make_fifo(*state);
    struct mw_pressure pressure = {0};
    unsigned looks = 0;
    opens(&pressure, watched(*state, fifo, NULL), "MEMORY_PRESSURE_WATCH");
    int manager = write_end(fifo);
    while (write(manager, block, sizeof block) > 0)
        ;
    while (fired(&pressure))
        looks++;
    assert_in_range(looks, 2, 100);
    mw_pressure_close(&pressure);
    close(manager);
}

static void what_was_written_into_a_fifo_and_comes_back_is_no_pressure(void **state)
{
    const char *fifo = make_fifo(*state);
    char got[16];
    struct mw_pressure pressure = {0};
    int manager = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    opens(&pressure, watched(*state, fifo, "aGVsbG8="), "MEMORY_PRESSURE_WATCH");
    assert_false(fired(&pressure));
    sends(manager, "12345"); /* as long as what we had written, but that was before */
    assert_true(fired(&pressure));
    mw_pressure_close(&pressure);

    opens(&pressure, watched(*state, fifo, "aGVsbG8="), "MEMORY_PRESSURE_WATCH");
    assert_int_equal(read(manager, got, sizeof got), 5);
    assert_memory_equal(got, "hello", 5);
    sends(manager, "x");
    assert_true(fired(&pressure));
    mw_pressure_close(&pressure);
    close(manager);
}

/* As a user who may only read it. 77: that user cannot get there. */
static int watch_read_only(void *context)
{
    const char *fifo = *(const char *const *)context;
    struct mw_pressure pressure = {0};
    struct mw_pressure_places places = watched("/nowhere", fifo, NULL);
    if (setresuid(65534, 65534, 65534) || access(fifo, R_OK))
        return 77;
    mw_pressure_open(&pressure, &places);
    if (strcmp(source_name(&pressure), "MEMORY_PRESSURE_WATCH") != 0)
        return 1;
    mw_pressure_close(&pressure);
    places.write = "eA==";
    mw_pressure_open(&pressure, &places);
    return strcmp(source_name(&pressure), "nobody") == 0 ? 0 : 2;
}

static void a_fifo_may_be_for_reading_only(void **state)
{
    const char *fifo = make_fifo(*state);
    assert_return_code(chmod(*state, 0755), errno);
    assert_return_code(chmod(fifo, 0444), errno);
    int result = run_in_child(watch_read_only, &fifo);
    if (result == 77)
        print_message("NOT RUN HERE: %s: needs root, and a TMPDIR that others can reach\n", __func__);
    else
        assert_int_equal(result, 0);
}

/* ---- its socket ---- */

static void each_event_through_a_socket_is_told_once(void **state)
{
    const char *path = scratch_path(*state, "socket");
    struct mw_pressure pressure = {0};
    char got[16];
    int listener = listens(path);
    opens(&pressure, watched(*state, path, "aGVsbG8="), "MEMORY_PRESSURE_WATCH");
    int manager = accepted(listener);
    assert_int_equal(read(manager, got, sizeof got), 5);
    assert_memory_equal(got, "hello", 5);
    assert_false(fired(&pressure));
    for (unsigned i = 0; i < 3; i++) {
        sends(manager, "hello");
        assert_true(fired(&pressure));
        assert_false(fired(&pressure));
    }
    mw_pressure_close(&pressure);
    assert_int_equal(read(manager, got, sizeof got), 0);
    close(manager);
    close(listener);
}

static void a_socket_whose_other_end_has_gone_is_connected_anew(void **state)
{
    const char *path = scratch_path(*state, "socket");
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    int listener = listens(path);
    opens(&pressure, watched(*state, path, NULL), "MEMORY_PRESSURE_WATCH");
    int manager = accepted(listener);
    opens(&pressure, watched(*state, path, NULL), "MEMORY_PRESSURE_WATCH");
    struct pollfd second = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&second, 1, 0), 0); /* it is connected */
    sends(manager, "the last");
    close(manager);
    assert_true(fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
    assert_false(fired(&pressure));
    opens(&pressure, watched(*state, path, NULL), "MEMORY_PRESSURE_WATCH");
    manager = accepted(listener);
    sends(manager, "x");
    assert_true(fired(&pressure));
    close(manager);
    assert_false(fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
    close(listener);
    check_closed(&pressure, open_before);
}

/* With what we wrote unread: the kernel tells us of an error then. */
static void a_socket_that_is_closed_on_us_is_gone(void **state)
{
    const char *path = scratch_path(*state, "socket");
    struct mw_pressure pressure = {0};
    int listener = listens(path);
    opens(&pressure, watched(*state, path, "aGVsbG8="), "MEMORY_PRESSURE_WATCH");
    close(listener);
    assert_false(fired(&pressure));
    opens(&pressure, watched(*state, path, "aGVsbG8="), "nobody");
}

/* ---- which source ---- */

static struct mw_cgroup group(const char *dir, int version)
{
    struct mw_cgroup cgroup = {.version = version, .top_length = strlen(dir)};
    snprintf(cgroup.dir, sizeof cgroup.dir, "%s/group", dir);
    return cgroup;
}

static void check_wrote_trigger(const char *path)
{
    struct stat st;
    assert_return_code(stat(path, &st), errno);
    assert_int_equal(st.st_size, sizeof TRIGGER); /* the kernel takes the last byte off */
    assert_string_equal(scratch_read(path), TRIGGER);
}

static void the_group_comes_before_the_machine(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2);
    struct mw_pressure_places places = {.root = *state, .cgroup = &cgroup};
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    opens(&pressure, places, "nobody");
    const char *machine = scratch_write(*state, "proc/pressure/memory", "");
    opens(&pressure, places, "/proc/pressure/memory");
    check_wrote_trigger(machine);
    mw_pressure_close(&pressure);
    const char *own = scratch_write(*state, "group/memory.pressure", "");
    opens(&pressure, places, "memory.pressure");
    check_wrote_trigger(own);
    assert_false(fired(&pressure));
    mw_pressure_close(&pressure);
    places.cgroup = NULL;
    opens(&pressure, places, "/proc/pressure/memory");
    mw_pressure_close(&pressure);
    cgroup.version = 1; /* which knows no such file */
    places.cgroup = &cgroup;
    opens(&pressure, places, "/proc/pressure/memory");
    check_closed(&pressure, open_before);
}

static void a_version_1_group_is_asked_for_events(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1);
    struct mw_pressure_places places = {.root = *state, .cgroup = &cgroup};
    struct mw_pressure pressure = {0};
    char due[64];
    unsigned open_before = open_descriptors();
    scratch_write(*state, "group/memory.pressure_level", "");
    opens(&pressure, places, "nobody"); /* half of it is missing */
    assert_int_equal(open_descriptors(), open_before);
    const char *asked = scratch_write(*state, "group/cgroup.event_control", "");
    opens(&pressure, places, "memory.pressure_level");
    assert_int_equal(open_descriptors(), open_before + 2);
    snprintf(due, sizeof due, "%d %d medium", pressure.events.fd, pressure.control.fd);
    assert_string_equal(scratch_read(asked), due);
    assert_false(fired(&pressure));
    for (uint64_t events = 1; events < 4; events++) {
        assert_int_equal(write(pressure.events.fd, &events, sizeof events), sizeof events);
        assert_true(fired(&pressure));
        assert_false(fired(&pressure));
    }
    check_closed(&pressure, open_before);
}

static void what_cannot_be_watched_is_passed_over(void **state)
{
    char long_path[200];
    char too_much[4 * MW_PRESSURE_WRITE_BYTES / 3 + 8];
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    const char *fifo = make_fifo(*state);
    const char *file = scratch_write(*state, "file", "untouched");
    int stale = listens(scratch_path(*state, "stale"));
    close(stale);
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    memset(too_much, 'A', sizeof too_much);
    too_much[(MW_PRESSURE_WRITE_BYTES / 3 + 1) * 4] = '\0';
    const struct {
        const char *label, *watch, *write;
    } cases[] = {
        {"not set", NULL, NULL},
        {"empty", "", NULL},
        {"only what to write", NULL, "eA=="},
        {"no such file", scratch_path(*state, "nobody"), NULL},
        {"no such path", long_path, NULL},
        {"a directory", *state, NULL},
        {"a device", "/dev/zero", "eA=="},
        {"not absolute", "proc/pressure/memory", NULL},
        {"nobody listens", scratch_path(*state, "stale"), NULL},
        {"not base64: a FIFO", fifo, "?"},
        {"not base64: a file", file, "eA="},
        {"too much to write", fifo, too_much},
    };
    scratch_write(*state, "proc/pressure/memory", "");
    for (size_t i = 0; i < COUNT(cases); i++) {
        mw_pressure_open(&pressure, &(struct mw_pressure_places){cases[i].watch, cases[i].write, *state, NULL});
        CHECK_TEXT(cases[i].label, source_name(&pressure), "/proc/pressure/memory");
        mw_pressure_close(&pressure);
        CHECK_I64(cases[i].label, open_descriptors(), open_before);
    }
    assert_string_equal(scratch_read(file), "untouched");
}

static void a_long_write_is_written_whole(void **state)
{
    char base64[MW_PRESSURE_WRITE_BYTES * 4 / 3 + 8];
    const char *path = scratch_write(*state, "file", "");
    struct mw_pressure pressure = {0};
    struct stat st;
    memset(base64, 'A', sizeof base64);
    memcpy(base64 + MW_PRESSURE_WRITE_BYTES / 3 * 4, "AA==", 5);
    opens(&pressure, watched(*state, path, base64), "MEMORY_PRESSURE_WATCH");
    assert_return_code(stat(path, &st), errno);
    assert_int_equal(st.st_size, MW_PRESSURE_WRITE_BYTES);
    mw_pressure_close(&pressure);
}

static void the_user_can_switch_it_off(void **state)
{
    struct mw_cgroup cgroup = group(*state, 2);
    struct mw_pressure_places places = {.watch = "/dev/null", .write = "eA==", .root = *state, .cgroup = &cgroup};
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    scratch_write(*state, "proc/pressure/memory", "");
    scratch_write(*state, "group/memory.pressure", "");
    opens(&pressure, places, "nobody");
    assert_false(fired(&pressure));
    check_closed(&pressure, open_before);
    check_closed(&pressure, open_before);
}

/* ---- descriptors ---- */

static void descriptors_are_out_of_the_way_and_closed_on_exec(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1);
    struct mw_pressure_places places = {.root = *state, .cgroup = &cgroup};
    struct mw_pressure pressure = {0};
    int next_before = dup(0);
    close(next_before);
    scratch_write(*state, "group/memory.pressure_level", "");
    scratch_write(*state, "group/cgroup.event_control", "");
    opens(&pressure, places, "memory.pressure_level");
    int next_after = dup(0);
    close(next_after);
    assert_int_equal(next_after, next_before);
    const int ours[] = {pressure.events.fd, pressure.control.fd};
    for (size_t i = 0; i < COUNT(ours); i++) {
        assert_in_range(ours[i], 200, 1023);
        assert_true(fcntl(ours[i], F_GETFD) & FD_CLOEXEC);
        assert_false(fcntl(ours[i], F_GETFL) & O_ASYNC); /* the mark announces nothing */
    }
    mw_pressure_close(&pressure);
}

/* The program has its own descriptor of the same FIFO at our number, and its bytes are its own. */
static void a_fifo_of_the_programs_is_neither_read_nor_closed(void **state)
{
    const char *fifo = make_fifo(*state);
    char got[16];
    struct mw_pressure pressure = {0};
    opens(&pressure, watched(*state, fifo, NULL), "MEMORY_PRESSURE_WATCH");
    int number = pressure.events.fd;
    int theirs = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(dup2(theirs, number), number);
    sends(theirs, "theirs");
    assert_false(fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
    mw_pressure_close(&pressure);
    assert_int_equal(read(number, got, sizeof got), 6);
    close(number);
    close(theirs);
}

static void an_eventfd_of_the_programs_is_neither_read_nor_closed(void **state)
{
    struct mw_cgroup cgroup = group(*state, 1);
    struct mw_pressure_places places = {.root = *state, .cgroup = &cgroup};
    struct mw_pressure pressure = {0};
    uint64_t count;
    scratch_write(*state, "group/memory.pressure_level", "");
    scratch_write(*state, "group/cgroup.event_control", "");
    opens(&pressure, places, "memory.pressure_level");
    int number = pressure.events.fd;
    int control = pressure.control.fd;
    int theirs = eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(dup2(theirs, number), number);
    assert_int_equal(dup2(theirs, control), control);
    assert_false(fired(&pressure));
    assert_string_equal(source_name(&pressure), "nobody");
    assert_int_equal(read(number, &count, sizeof count), sizeof count);
    assert_int_equal(count, 7);
    assert_return_code(fcntl(control, F_GETFD), errno);

    opens(&pressure, places, "memory.pressure_level");
    number = pressure.events.fd;
    assert_int_equal(dup2(theirs, number), number);
    mw_pressure_close(&pressure);
    assert_return_code(fcntl(number, F_GETFD), errno);
    close(number);
    close(control);
    close(theirs);
}

/* A daemon closes all it does not know. */
static void a_source_that_the_program_has_closed_is_opened_again(void **state)
{
    const char *fifo = make_fifo(*state);
    struct mw_pressure pressure = {0};
    unsigned open_before = open_descriptors();
    for (unsigned i = 0; i < 10; i++) {
        opens(&pressure, watched(*state, fifo, NULL), "MEMORY_PRESSURE_WATCH");
        close(pressure.events.fd);
        if (i % 2)
            assert_false(fired(&pressure));
    }
    opens(&pressure, watched(*state, fifo, NULL), "MEMORY_PRESSURE_WATCH");
    int manager = write_end(fifo);
    sends(manager, "x");
    assert_true(fired(&pressure));
    close(manager);
    check_closed(&pressure, open_before);
}

/* The child of a fork shares what it has inherited with its parent. */
static int close_in_child(void *context)
{
    struct mw_pressure *pressure = context;
    int number = pressure->events.fd;
    mw_pressure_close(pressure);
    return fcntl(number, F_GETFD) < 0 ? 0 : 1;
}

static void a_child_closes_its_own_only(void **state)
{
    const char *path = scratch_path(*state, "socket");
    struct mw_pressure pressure = {0};
    int listener = listens(path);
    opens(&pressure, watched(*state, path, NULL), "MEMORY_PRESSURE_WATCH");
    int manager = accepted(listener);
    assert_int_equal(run_in_child(close_in_child, &pressure), 0);
    sends(manager, "x");
    assert_true(fired(&pressure));
    mw_pressure_close(&pressure);
    close(manager);
    close(listener);
}

struct few {
    const char *fifo;
    rlim_t descriptors;
};

static int open_with_few(void *context)
{
    const struct few *few = context;
    struct mw_pressure pressure = {0};
    struct mw_pressure_places places = watched("/nowhere", few->fifo, NULL);
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = few->descriptors, .rlim_max = few->descriptors}))
        return 1;
    mw_pressure_open(&pressure, &places);
    if (strcmp(source_name(&pressure), "nobody") == 0)
        return pressure.events.fd == 0 ? 100 : 2;
    if (pressure.events.fd < 3)
        return 3;
    mw_pressure_close(&pressure);
    return open("/dev/null", O_RDONLY) == 0 ? 0 : 4;
}

static void it_makes_do_with_few_descriptors(void **state)
{
    static const struct {
        rlim_t descriptors;
        int result;
    } cases[] = {{1024, 0}, {200, 0}, {4, 0}, {3, 100}, {0, 100}};
    const char *fifo = make_fifo(*state);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct few few = {fifo, cases[i].descriptors};
        assert_int_equal(run_in_child(open_with_few, &few), cases[i].result);
    }
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(each_event_through_a_fifo_is_told_once),
        WITH_SCRATCH(a_fifo_that_is_written_faster_than_read_is_not_waited_for),
        WITH_SCRATCH(what_was_written_into_a_fifo_and_comes_back_is_no_pressure),
        WITH_SCRATCH(a_fifo_may_be_for_reading_only),
        WITH_SCRATCH(each_event_through_a_socket_is_told_once),
        WITH_SCRATCH(a_socket_whose_other_end_has_gone_is_connected_anew),
        WITH_SCRATCH(a_socket_that_is_closed_on_us_is_gone),
        WITH_SCRATCH(the_group_comes_before_the_machine),
        WITH_SCRATCH(a_version_1_group_is_asked_for_events),
        WITH_SCRATCH(what_cannot_be_watched_is_passed_over),
        WITH_SCRATCH(a_long_write_is_written_whole),
        WITH_SCRATCH(the_user_can_switch_it_off),
        WITH_SCRATCH(descriptors_are_out_of_the_way_and_closed_on_exec),
        WITH_SCRATCH(a_fifo_of_the_programs_is_neither_read_nor_closed),
        WITH_SCRATCH(an_eventfd_of_the_programs_is_neither_read_nor_closed),
        WITH_SCRATCH(a_source_that_the_program_has_closed_is_opened_again),
        WITH_SCRATCH(a_child_closes_its_own_only),
        WITH_SCRATCH(it_makes_do_with_few_descriptors),
    };
    return cmocka_run_group_tests_name("pressure", tests, NULL, NULL);
}
