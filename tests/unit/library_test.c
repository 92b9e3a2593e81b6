/* SPDX-License-Identifier: MIT
 *
 * Where the library is found depends on where the program lies: this test is copied elsewhere and run there with the
 * one argument FIND, and then prints what mw_library_find says.
 */
#include "library.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

#define FIND       "--find"
#define DEADLINE_S 50
#define PATH_BYTES 4096 /* as PATH_MAX */

/* ---- the environment ---- */

#define MOST 8

/* The copies live as long as the program; the leak sanitizer is to see that they do. */
static char **volatile copies[64];
static unsigned copies_made;

static char **make(const char *const *environment, const char *library, const char *allocator)
{
    char **copy = mw_library_environment((char *const *)environment, library, allocator);
    assert_true(copies_made < COUNT(copies));
    copies[copies_made++] = copy;
    return copy;
}

static bool holds(char *const *environment, const char *assignment)
{
    for (; *environment; environment++)
        if (strcmp(*environment, assignment) == 0)
            return true;
    return false;
}

static unsigned count_named(char *const *environment, const char *name)
{
    unsigned count = 0;
    for (; *environment; environment++)
        count += strncmp(*environment, name, strlen(name)) == 0 && (*environment)[strlen(name)] == '=';
    return count;
}

static void the_library_stands_in_front(void **state)
{
    static const struct {
        const char *what;
        const char *environment[MOST];
        const char *library;
        const char *preload; /* NULL: the variable is not to be there */
    } cases[] = {
        {"empty", {NULL}, "/lib/m.so", "LD_PRELOAD=/lib/m.so"},
        {"nothing asked", {NULL}, NULL, NULL},
        {"in front", {"LD_PRELOAD=/x.so"}, "/lib/m.so", "LD_PRELOAD=/lib/m.so:/x.so"},
        {"in front of two", {"LD_PRELOAD=a.so b.so"}, "/lib/m.so", "LD_PRELOAD=/lib/m.so:a.so b.so"},
        {"in front of nothing", {"LD_PRELOAD="}, "/lib/m.so", "LD_PRELOAD=/lib/m.so"},
        {"not ours to touch", {"LD_PRELOAD=/x.so"}, NULL, "LD_PRELOAD=/x.so"},
        {"a name that only begins so", {"LD_PRELOADED=1", "LD_PRELOA=2"}, "/lib/m.so", "LD_PRELOAD=/lib/m.so"},
        {"listed already", {"LD_PRELOAD=/lib/a.so:/lib/m.so"}, "/lib/m.so", "LD_PRELOAD=/lib/a.so:/lib/m.so"},
        {"another of that beginning", {"LD_PRELOAD=/lib/m.so.6"}, "/lib/m.so", "LD_PRELOAD=/lib/m.so:/lib/m.so.6"},
        {"no variable", {"LD_PRELOAD"}, "/lib/m.so", "LD_PRELOAD=/lib/m.so"},
        {"not UTF-8", {"LD_PRELOAD=\xff"}, "/\xfe.so", "LD_PRELOAD=/\xfe.so:\xff"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char **copy = make(cases[i].environment, cases[i].library, NULL);
        CHECK_U64(cases[i].what, count_named(copy, "LD_PRELOAD"), cases[i].preload ? 1 : 0);
        CHECK(cases[i].what, !cases[i].preload || holds(copy, cases[i].preload));
    }
}

static void an_allocator_stands_right_beneath_the_library(void **state)
{
    static const struct {
        const char *what;
        const char *there; /* NULL: nothing */
        const char *library;
        const char *due;
    } cases[] = {
        {"nothing there", NULL, "/lib/m.so", "LD_PRELOAD=/lib/m.so:/lib/a.so"},
        {"nothing in it", "LD_PRELOAD=", "/lib/m.so", "LD_PRELOAD=/lib/m.so:/lib/a.so"},
        {"before what was there", "LD_PRELOAD=x.so y.so", "/lib/m.so", "LD_PRELOAD=/lib/m.so:/lib/a.so:x.so y.so"},
        {"another allocator between", "LD_PRELOAD=/lib/m.so:b.so", "/lib/m.so",
         "LD_PRELOAD=/lib/m.so:/lib/a.so:/lib/m.so:b.so"},
        {"the wrong way round", "LD_PRELOAD=/lib/a.so:/lib/m.so", "/lib/m.so",
         "LD_PRELOAD=/lib/m.so:/lib/a.so:/lib/a.so:/lib/m.so"},
        {"alone", NULL, NULL, "LD_PRELOAD=/lib/a.so"},
        {"alone, before what was there", "LD_PRELOAD=x.so", NULL, "LD_PRELOAD=/lib/a.so:x.so"},
        {"alone, before itself and another", "LD_PRELOAD=b.so:/lib/a.so", NULL, "LD_PRELOAD=/lib/a.so:b.so:/lib/a.so"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *environment[] = {cases[i].there, NULL};
        char **copy = make(environment, cases[i].library, "/lib/a.so");
        CHECK_U64(cases[i].what, count_named(copy, "LD_PRELOAD"), 1);
        CHECK_TEXT(cases[i].what, copy[0], cases[i].due);
    }
}

static void all_else_is_copied_in_its_order(void **state)
{
    static const char *const environment[] = {"A=1",    "LD_PRELOAD=/x.so", "B", "=odd", "", "A=2",
                                              "C=\xff", "D=LD_PRELOAD=1",   NULL};
    static const char *const due[] = {"A=1", "B", "=odd", "", "A=2", "C=\xff", "D=LD_PRELOAD=1"};
    (void)state;
    char **copy = make(environment, "/lib/m.so", NULL);
    for (size_t i = 0; i < COUNT(due); i++)
        assert_string_equal(copy[i], due[i]);
    assert_int_equal(count_named(copy, "LD_PRELOAD"), 1);
    assert_null(copy[COUNT(due) + 1]);
    assert_string_equal(environment[1], "LD_PRELOAD=/x.so"); /* what was given is as it was */
}

static void a_long_preload_is_kept_whole(void **state)
{
    static char preload[100000] = "LD_PRELOAD=";
    static char due[sizeof preload + 64];
    const char *environment[] = {preload, NULL};
    (void)state;
    size_t length = strlen(preload);
    memset(preload + length, 'x', sizeof preload - length - 1);
    snprintf(due, sizeof due, "LD_PRELOAD=/lib/m.so:%s", preload + length);
    assert_true(holds(make(environment, "/lib/m.so", NULL), due));
}

/* ---- where it is ---- */

/* What a copy of this program prints. */
static int find_and_print(void)
{
    char path[PATH_BYTES];
    struct mw_error error;
    bool found = mw_library_find(path, sizeof path, &error);
    puts(found ? path : error.text);
    return found ? 0 : 1;
}

/* Copies this program to dir/program and runs it there. Returns its status; what it printed is in `said`. */
static int find_from(const char *dir, const char *program, char *said, size_t capacity_bytes)
{
    static char bytes[1 << 20];
    char path[PATH_BYTES];
    int ends[2];
    int status;
    snprintf(path, sizeof path, "%s", scratch_write(dir, program, ""));
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CLOEXEC);
    for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
        assert_int_equal(write(to, bytes, (size_t)n), n);
    close(from);
    close(to);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(DEADLINE_S); /* outlives the exec */
        dup2(ends[1], STDOUT_FILENO);
        execl(path, path, FIND, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n; (n = read(ends[0], said + length, capacity_bytes - 1 - length)) > 0;)
        length += (size_t)n;
    said[length] = '\0';
    said[strcspn(said, "\n")] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void it_is_found_in_the_build_tree(void **state)
{
    char said[PATH_BYTES];
    char due[PATH_BYTES];
    scratch_write(*state, "build/preload/libmemwatch.so", "");
    assert_non_null(realpath(scratch_path(*state, "build/preload/libmemwatch.so"), due));
    assert_int_equal(find_from(*state, "build/agent/program", said, sizeof said), 0);
    assert_string_equal(said, due);
}

static void where_it_is_not_the_place_is_named(void **state)
{
    char said[PATH_BYTES];
    char directory[PATH_BYTES];
    assert_int_equal(find_from(*state, "build/agent/program", said, sizeof said), 1);
    assert_non_null(realpath(scratch_path(*state, "build/agent"), directory));
    CHECK_HAS("none", said, "libmemwatch.so");
    CHECK_HAS("none", said, directory);
}

/* ld.so separates by either, and knows no escape. */
static void a_path_that_cannot_be_preloaded_is_refused(void **state)
{
    static const char *const places[] = {"my build", "build:2", " ", ":"};
    for (size_t i = 0; i < COUNT(places); i++) {
        char library[64];
        char program[64];
        char said[PATH_BYTES];
        snprintf(library, sizeof library, "%s/preload/libmemwatch.so", places[i]);
        snprintf(program, sizeof program, "%s/agent/program", places[i]);
        scratch_write(*state, library, "");
        CHECK_I64(places[i], find_from(*state, program, said, sizeof said), 1);
        CHECK_HAS(places[i], said, "LD_PRELOAD takes no path with a space or a colon");
        CHECK_HAS(places[i], said, library);
    }
}

/* This very test lies in the build tree, beside the library. */
static void a_path_that_does_not_fit_is_told(void **state)
{
    char path[PATH_BYTES];
    struct mw_error error = {0};
    (void)state;
    if (!mw_library_find(path, sizeof path, &error))
        skip(); /* built without the library, or at a path with a space */
    assert_int_equal(path[0], '/');
    size_t length = strlen(path);
    assert_true(mw_library_find(path, length + 1, &error));
    assert_int_equal(strlen(path), length);
    memset(path, '#', sizeof path);
    assert_false(mw_library_find(path, length, &error));
    assert_int_equal(error.errno_value, ENAMETOOLONG);
    assert_int_equal(path[length], '#');
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_stands_in_front),
        cmocka_unit_test(an_allocator_stands_right_beneath_the_library),
        cmocka_unit_test(all_else_is_copied_in_its_order),
        cmocka_unit_test(a_long_preload_is_kept_whole),
        WITH_SCRATCH(it_is_found_in_the_build_tree),
        WITH_SCRATCH(where_it_is_not_the_place_is_named),
        WITH_SCRATCH(a_path_that_cannot_be_preloaded_is_refused),
        cmocka_unit_test(a_path_that_does_not_fit_is_told),
    };
    if (argc == 2 && strcmp(argv[1], FIND) == 0)
        return find_and_print();
    alarm(DEADLINE_S);
    return cmocka_run_group_tests_name("library", tests, NULL, NULL);
}
