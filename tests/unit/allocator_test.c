/* SPDX-License-Identifier: MIT
 *
 * The system is a scratch directory. What lies there for a library is a link to this very program: it is as good for
 * this machine as a library would be, and is only looked at.
 */
#include "allocator.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

#define PATH_BYTES 4096
#define MOST       3 /* files of a case */

/* Makes a library, and the directories above it. */
static void make_library(const char *root, const char *name)
{
    const char *path = scratch_write(root, name, "");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/proc/self/exe", path), 0);
}

/* A name below a directory, which goes without links in what is found. */
static const char *due_path(const char *dir, const char *name)
{
    char resolved[PATH_BYTES];
    assert_non_null(realpath(dir, resolved));
    return scratch_path(resolved, name);
}

static struct mw_error find_in_vain(enum mw_allocator allocator, const char *root, const char *library_path)
{
    char path[PATH_BYTES];
    struct mw_error error = {0};
    if (mw_allocator_find(allocator, root, library_path, path, sizeof path, &error))
        fail_msg("found: %s", path);
    return error;
}

static void the_best_is_found_where_the_loader_would_look(void **state)
{
    static const struct {
        const char *what;
        enum mw_allocator allocator;
        const char *there[MOST];
        const char *due;
    } cases[] = {
        {"jemalloc", MW_ALLOCATOR_JEMALLOC, {"usr/lib/libjemalloc.so.2"}, "usr/lib/libjemalloc.so.2"},
        {"an old one", MW_ALLOCATOR_JEMALLOC, {"usr/lib64/libjemalloc.so.1"}, "usr/lib64/libjemalloc.so.1"},
        {"the new one first",
         MW_ALLOCATOR_JEMALLOC,
         {"usr/lib/libjemalloc.so.1", "usr/lib/libjemalloc.so.2"},
         "usr/lib/libjemalloc.so.2"},
        {"a directory before a name",
         MW_ALLOCATOR_JEMALLOC,
         {"usr/lib/libjemalloc.so.2", "usr/local/lib/libjemalloc.so.1"},
         "usr/local/lib/libjemalloc.so.1"},
        {"what one compiles before what is installed",
         MW_ALLOCATOR_MIMALLOC,
         {"usr/lib64/libmimalloc.so.3", "usr/local/lib64/libmimalloc.so.3"},
         "usr/local/lib64/libmimalloc.so.3"},
        {"tcmalloc without profilers first",
         MW_ALLOCATOR_TCMALLOC,
         {"usr/lib/libtcmalloc.so.4", "usr/lib/libtcmalloc_minimal.so.4"},
         "usr/lib/libtcmalloc_minimal.so.4"},
        {"tcmalloc with them", MW_ALLOCATOR_TCMALLOC, {"usr/lib/libtcmalloc.so.4"}, "usr/lib/libtcmalloc.so.4"},
        {"mimalloc by its long name",
         MW_ALLOCATOR_MIMALLOC,
         {"usr/lib/libmimalloc.so.2.0", "usr/lib/libmimalloc.so.1"},
         "usr/lib/libmimalloc.so.2.0"},
        {"the mimalloc that is tested first",
         MW_ALLOCATOR_MIMALLOC,
         {"usr/lib/libmimalloc.so.3", "usr/lib/libmimalloc.so.2"},
         "usr/lib/libmimalloc.so.2"},
        {"mimalloc 1", MW_ALLOCATOR_MIMALLOC, {"usr/lib/libmimalloc.so.1"}, "usr/lib/libmimalloc.so.1"},
        {"another's library is none",
         MW_ALLOCATOR_MIMALLOC,
         {"usr/local/lib/libjemalloc.so.2", "usr/lib/libmimalloc.so.2"},
         "usr/lib/libmimalloc.so.2"},
#ifdef __x86_64__
        {"Debian's",
         MW_ALLOCATOR_JEMALLOC,
         {"usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "usr/lib/libjemalloc.so.2"},
         "usr/lib/x86_64-linux-gnu/libjemalloc.so.2"},
#endif
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char number[16];
        char root[PATH_BYTES];
        char path[PATH_BYTES];
        struct mw_error error;
        snprintf(number, sizeof number, "%zu", i);
        snprintf(root, sizeof root, "%s", scratch_path(*state, number));
        assert_int_equal(mkdir(root, 0755), 0);
        for (size_t k = 0; k < MOST && cases[i].there[k]; k++)
            make_library(root, cases[i].there[k]);
        if (!mw_allocator_find(cases[i].allocator, root, NULL, path, sizeof path, &error))
            fail_msg("\"%s\": %s", cases[i].what, error.text);
        CHECK_TEXT(cases[i].what, path, due_path(root, cases[i].due));
    }
}

static void ld_library_path_comes_first(void **state)
{
    static const struct {
        const char *library_path; /* with the scratch directory for each @ */
        const char *due;
    } cases[] = {
        {"", "usr/lib/libjemalloc.so.2"},       {"@/a", "a/libjemalloc.so.1"},     {"@/a/", "a/libjemalloc.so.1"},
        {"@/a:@/b", "a/libjemalloc.so.1"},      {"@/b;@/a", "b/libjemalloc.so.2"}, {"@/none:@/b", "b/libjemalloc.so.2"},
        {"@/none", "usr/lib/libjemalloc.so.2"}, {"@/link", "a/libjemalloc.so.1"},  {"b", "b/libjemalloc.so.2"},
        {"@/none:", "libjemalloc.so.2"},        {":@/b", "libjemalloc.so.2"},
    };
    const char *root = *state;
    char before[PATH_BYTES];
    make_library(root, "usr/lib/libjemalloc.so.2");
    make_library(root, "a/libjemalloc.so.1");
    make_library(root, "b/libjemalloc.so.2");
    make_library(root, "libjemalloc.so.2");
    assert_int_equal(symlink("a", scratch_path(root, "link")), 0);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char library_path[PATH_BYTES] = "";
        char path[PATH_BYTES];
        struct mw_error error;
        size_t length = 0;
        for (const char *c = cases[i].library_path; *c; c++)
            length += (size_t)snprintf(library_path + length, sizeof library_path - length, *c == '@' ? "%s" : "%.1s",
                                       *c == '@' ? root : c);
        CHECK(cases[i].library_path,
              mw_allocator_find(MW_ALLOCATOR_JEMALLOC, root, library_path, path, sizeof path, &error));
        CHECK_TEXT(cases[i].library_path, path, due_path(root, cases[i].due));
    }
    assert_int_equal(chdir(before), 0);
}

/* A word of LD_LIBRARY_PATH that is longer than any path is not to be taken for its beginning. */
static void an_overlong_directory_is_none(void **state)
{
    char library_path[3 * PATH_BYTES];
    size_t length = (size_t)snprintf(library_path, sizeof library_path, "%s", (const char *)*state);
    make_library(*state, "libjemalloc.so.2");
    memset(library_path + length, '/', sizeof library_path - length);
    library_path[sizeof library_path - 1] = '\0';
    find_in_vain(MW_ALLOCATOR_JEMALLOC, scratch_path(*state, "none"), library_path);
}

static void what_the_loader_could_not_load_is_passed_over(void **state)
{
    static const char *const kinds[] = {"another machine's", "of another word size"};
    const char *const root = *state;
    scratch_write(root, "usr/lib/libjemalloc.so.1/file", "");
    scratch_write(root, "usr/lib/libtcmalloc.so.4", "INPUT(-ltcmalloc)");
    scratch_write(root, "usr/lib/libtcmalloc_minimal.so.4", "");
    assert_int_equal(symlink("nowhere", scratch_path(root, "usr/lib/libjemalloc.so.2")), 0);
    find_in_vain(MW_ALLOCATOR_JEMALLOC, root, NULL);
    find_in_vain(MW_ALLOCATOR_TCMALLOC, root, NULL);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        Elf64_Ehdr header;
        FILE *own = fopen("/proc/self/exe", "re");
        assert_non_null(own);
        assert_int_equal(fread(&header, sizeof header, 1, own), 1);
        fclose(own);
        if (i == 0)
            header.e_machine = EM_S390;
        else
            header.e_ident[EI_CLASS] ^= ELFCLASS32 ^ ELFCLASS64;
        FILE *other = fopen(scratch_write(root, "usr/local/lib/libmimalloc.so.2", ""), "we");
        assert_non_null(other);
        assert_int_equal(fwrite(&header, sizeof header, 1, other), 1);
        fclose(other);
        find_in_vain(MW_ALLOCATOR_MIMALLOC, root, NULL);
    }
    make_library(root, "usr/lib/libmimalloc.so.1");
    char path[PATH_BYTES];
    struct mw_error error;
    assert_true(mw_allocator_find(MW_ALLOCATOR_MIMALLOC, root, NULL, path, sizeof path, &error));
    assert_string_equal(path, due_path(root, "usr/lib/libmimalloc.so.1"));
}

static void where_there_is_none_all_is_told(void **state)
{
    static const struct {
        enum mw_allocator allocator;
        const char *told[MOST + 1];
    } cases[] = {
        {MW_ALLOCATOR_JEMALLOC, {"no jemalloc", "libjemalloc.so.2, libjemalloc.so.1 in", "package libjemalloc2"}},
        {MW_ALLOCATOR_TCMALLOC,
         {"no tcmalloc", "libtcmalloc_minimal.so.4, libtcmalloc.so.4 in", "package libtcmalloc-minimal4"}},
        {MW_ALLOCATOR_MIMALLOC,
         {"no mimalloc", "libmimalloc.so.2, libmimalloc.so.2.0, libmimalloc.so.3, libmimalloc.so.1 in",
          "package libmimalloc2.0"}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_error error = find_in_vain(cases[i].allocator, *state, "/nowhere");
        CHECK_I64(cases[i].told[0], error.errno_value, 0);
        CHECK_LACKS(cases[i].told[0], error.text, "\n");
        for (size_t k = 0; cases[i].told[k]; k++)
            CHECK_HAS(cases[i].told[0], error.text, cases[i].told[k]);
        CHECK_HAS(cases[i].told[0], error.text, " in LD_LIBRARY_PATH, /usr/local/lib, ");
        CHECK_HAS(cases[i].told[0], error.text, ", /usr/lib; ");
    }
}

/* The one that the user points to is refused, not replaced by another. */
static void a_path_that_cannot_be_preloaded_is_refused(void **state)
{
    static const char *const directories[] = {"a place", "a:place"};
    const char *const root = *state;
    make_library(root, "usr/lib/libjemalloc.so.2");
    for (size_t i = 0; i < COUNT(directories); i++) {
        char directory[PATH_BYTES];
        char file[64];
        snprintf(file, sizeof file, "%s/libjemalloc.so.2", directories[i]);
        make_library(root, file);
        snprintf(directory, sizeof directory, "%s", scratch_path(root, "link")); /* no word can hold a colon */
        unlink(directory);
        assert_int_equal(symlink(directories[i], directory), 0);
        struct mw_error error = find_in_vain(MW_ALLOCATOR_JEMALLOC, root, directory);
        CHECK_HAS(directories[i], error.text, file);
        CHECK_HAS(directories[i], error.text, "LD_PRELOAD takes no path with a space or a colon");
    }
}

static void a_path_that_does_not_fit_is_told(void **state)
{
    char path[PATH_BYTES];
    struct mw_error error;
    make_library(*state, "usr/lib/libjemalloc.so.2");
    assert_true(mw_allocator_find(MW_ALLOCATOR_JEMALLOC, *state, NULL, path, sizeof path, &error));
    size_t length = strlen(path);
    assert_true(mw_allocator_find(MW_ALLOCATOR_JEMALLOC, *state, NULL, path, length + 1, &error));
    assert_false(mw_allocator_find(MW_ALLOCATOR_JEMALLOC, *state, NULL, path, length, &error));
    assert_int_equal(error.errno_value, ENAMETOOLONG);
}

static void looking_leaves_no_descriptor_open(void **state)
{
    unsigned before = open_descriptors();
    char path[PATH_BYTES];
    struct mw_error error;
    scratch_write(*state, "usr/local/lib/libjemalloc.so.2", "no library");
    make_library(*state, "usr/lib/libjemalloc.so.2");
    assert_true(mw_allocator_find(MW_ALLOCATOR_JEMALLOC, *state, NULL, path, sizeof path, &error));
    assert_int_equal(open_descriptors(), before);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(the_best_is_found_where_the_loader_would_look),
        WITH_SCRATCH(ld_library_path_comes_first),
        WITH_SCRATCH(an_overlong_directory_is_none),
        WITH_SCRATCH(what_the_loader_could_not_load_is_passed_over),
        WITH_SCRATCH(where_there_is_none_all_is_told),
        WITH_SCRATCH(a_path_that_cannot_be_preloaded_is_refused),
        WITH_SCRATCH(a_path_that_does_not_fit_is_told),
        WITH_SCRATCH(looking_leaves_no_descriptor_open),
    };
    return cmocka_run_group_tests_name("allocator", tests, NULL, NULL);
}
