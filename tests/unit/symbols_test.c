/* SPDX-License-Identifier: MIT
 *
 * Programs that tell where their calls are are taken apart in the ways in which they are shipped, and looked up.
 * PROGRAMS is the directory in which they were built.
 */
#include "symbols.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "debugfile.h"
#include "scratch.h"

#define BIAS       UINT64_C(0x7f0000000000)
#define SPAN       UINT64_C(0x10000000)
#define DEADLINE_S 50
#define FUNCTIONS  MW_SYMBOLS_FUNCTIONS

/* libdw forgets some of what it has allocated for damaged files. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:libdw.so\n";
}

static struct mw_debugfile_facts facts_of(const char *path)
{
    struct mw_debugfile_facts facts;
    int fd = mw_debugfile_open(NULL, path);
    assert_return_code(fd, -fd);
    assert_true(mw_debugfile_inspect(fd, &facts));
    close(fd);
    return facts;
}

/* A command in the shell, {} in it being the scratch directory. */
static void run(const char *dir, const char *command)
{
    char line[16384] = "exec 2>&1; cd '";
    size_t length = strlen(line);
    length += (size_t)snprintf(line + length, sizeof line - length, "%s' && %s", dir, command);
    assert_in_range(length, 0, sizeof line - 1);
    if (system(line) != 0) // NOLINT(cert-env33-c): a test, and words of its own
        fail_msg("failed: %s", line);
}

/* What a program says of itself: the file's own address after a labelled call, and the line of that. */
static uint64_t ask(const char *program, const char *label, unsigned *line)
{
    char name[64];
    unsigned long address;
    FILE *says = popen(program, "r"); // NOLINT(cert-env33-c)
    assert_non_null(says);
    while (fscanf(says, "%63s %lx %u", name, &address, line) == 3) { // NOLINT(cert-err34-c)
        if (strcmp(name, label) == 0) {
            pclose(says);
            return address;
        }
    }
    pclose(says);
    fail_msg("%s says nothing of %s", program, label);
    return 0;
}

/* A profile of one module. */
struct one_module {
    struct mw_profile profile;
    struct mw_profile_module module;
    struct mw_debugfile_facts facts;
};

static void take_module(struct one_module *one, const char *path, const char *real_path, uint64_t bias)
{
    one->facts = facts_of(real_path);
    one->module = (struct mw_profile_module){.start = bias,
                                             .end = bias + SPAN,
                                             .bias = bias,
                                             .path = path,
                                             .build_id = one->facts.build_id,
                                             .build_id_bytes = one->facts.build_id_bytes};
    one->profile = (struct mw_profile){.modules = &one->module, .module_count = 1};
}

static const char *const programs[] = {PROGRAMS "/symbols", PROGRAMS "/symbols-no-pie", PROGRAMS "/symbols-cxx"};

/* ---- as it was built ---- */

static void inlined_functions_are_frames_of_their_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct one_module one;
        unsigned line;
        uint64_t bias = i == 0 ? BIAS : 0; /* a program at a fixed address has none */
        uint64_t address = ask(programs[i], "inlined", &line);
        take_module(&one, programs[i], programs[i], bias);
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
        const struct mw_symbol *symbol = mw_symbols_find(symbols, bias + address);
        CHECK(programs[i], symbol->is_known);
        CHECK_U64(programs[i], symbol->module, 0);
        CHECK_U64(programs[i], symbol->offset, address - 1);
        CHECK_U64(programs[i], symbol->count, 3);
        CHECK_TEXT(programs[i], symbol->frames[0].function, "inlined_inner");
        CHECK_TEXT(programs[i], symbol->frames[1].function, "inlined_outer");
        CHECK_TEXT(programs[i], symbol->frames[2].function, "hidden");
        CHECK_U64(programs[i], symbol->frames[0].line, line);
        CHECK(programs[i], symbol->frames[0].is_inlined && symbol->frames[1].is_inlined);
        CHECK(programs[i], !symbol->frames[2].is_inlined);
        CHECK(programs[i], symbol->frames[1].line > symbol->frames[0].line);
        CHECK(programs[i], symbol->frames[2].line > symbol->frames[1].line);
        for (unsigned k = 0; k < 3; k++)
            CHECK_TEXT(programs[i], mw_symbols_base_name(symbol->frames[k].file), "symbols.c");
        assert_ptr_equal(mw_symbols_find(symbols, bias + address), symbol); /* kept */
        mw_symbols_free(symbols);
    }
}

static void names_of_cxx_are_plain_and_without_parameters(void **state)
{
    struct one_module one;
    unsigned line;
    uint64_t address = ask(programs[2], "method", &line);
    (void)state;
    take_module(&one, programs[2], programs[2], BIAS);
    struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
    const struct mw_symbol *symbol = mw_symbols_find(symbols, BIAS + address);
    assert_string_equal(symbol->frames[0].function, "shop::Shelf<std::string >::put");
    assert_int_equal(strncmp(symbol->frames[0].linkage, "_ZN4shop5Shelf", 14), 0);
    assert_string_equal(mw_symbols_base_name(symbol->frames[0].file), "symbols_cxx.cpp");
    assert_int_equal(symbol->frames[0].line, line);
    mw_symbols_free(symbols);
}

static void addresses_that_nobody_knows_keep_their_offsets(void **state)
{
    struct one_module one;
    (void)state;
    take_module(&one, programs[0], programs[0], BIAS);
    struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
    assert_string_equal(mw_symbols_find(symbols, BIAS + 0xabcde + 1)->frames[0].function, "symbols+0xabcde");
    assert_string_equal(mw_symbols_find(symbols, 0x1235)->frames[0].function, "0x1234");
    assert_int_equal(mw_symbols_find(symbols, 0x1235)->module, MW_SYMBOL_NO_MODULE);
    assert_string_equal(mw_symbols_find(symbols, 0)->frames[0].function, "0x0");
    assert_string_equal(mw_symbols_find(symbols, UINT64_MAX)->frames[0].function, "0xfffffffffffffffe");
    for (uint64_t i = 1; i < 5000; i++) /* the table grows, and forgets nothing */
        assert_false(mw_symbols_find(symbols, i)->is_known);
    assert_string_equal(mw_symbols_find(symbols, 0x1235)->frames[0].function, "0x1234");
    mw_symbols_free(symbols);
}

static void of_modules_that_overlap_the_later_is_meant(void **state)
{
    static struct mw_profile_module modules[] = {{.start = 0x1000, .end = 0x9000, .bias = 0x1000, .path = "/gone"},
                                                 {.start = 0x4000, .end = 0x5000, .bias = 0x4000, .path = "[vdso]"}};
    const struct mw_profile profile = {.modules = modules, .module_count = COUNT(modules)};
    (void)state;
    struct mw_symbols *symbols = mw_symbols_new(&profile, NULL, FUNCTIONS);
    assert_string_equal(mw_symbols_find(symbols, 0x4001)->frames[0].function, "[vdso]+0x0");
    assert_string_equal(mw_symbols_find(symbols, 0x5000)->frames[0].function, "[vdso]+0xfff");
    assert_string_equal(mw_symbols_find(symbols, 0x5001)->frames[0].function, "gone+0x4000");
    assert_string_equal(mw_symbols_find(symbols, 0x9001)->frames[0].function, "0x9000");
    mw_symbols_free(symbols);
}

static void where_code_is_mapped_is_read_from_the_file(void **state)
{
    struct one_module one;
    unsigned line;
    uint64_t address = ask(programs[0], "main", &line);
    (void)state;
    take_module(&one, programs[0], programs[0], BIAS);
    struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, MW_SYMBOLS_OFFSETS);
    struct mw_symbols_code code = mw_symbols_code(symbols, 0);
    assert_in_range(BIAS + address, code.start, code.end);
    assert_int_equal(code.start % 4096, 0);
    assert_int_equal(code.file_offset % 4096, 0);
    assert_true(code.end < BIAS + SPAN);
    char name[64];
    snprintf(name, sizeof name, "symbols+0x%llx", (unsigned long long)address - 1);
    assert_string_equal(mw_symbols_find(symbols, BIAS + address)->frames[0].function, name);
    mw_symbols_free(symbols);
}

/* ---- as it is shipped ---- */

#define STRIP   "cp " PROGRAMS "/symbols app && objcopy --only-keep-debug app app.debug && strip app && "
#define ID      "$(readelf -n app | sed -n 's/.*Build ID: //p')"
#define ID_PATH "usr/lib/debug/.build-id/$(echo " ID " | cut -c1-2)/$(echo " ID " | cut -c3-).debug"
#define NO_ID   "objcopy --remove-section .note.gnu.build-id " PROGRAMS "/symbols app && "
#define SPLIT   "objcopy --only-keep-debug app app.debug && strip app && "
#define SHARED                                                                                                         \
    STRIP ADD_LINK " && objcopy --only-keep-debug " PROGRAMS "/symbols-no-pie other && dwz -m shared app.debug other"
#define ADD_LINK "objcopy --add-gnu-debuglink=app.debug app"

static void it_is_found_however_it_is_shipped(void **state)
{
    enum expected { ALL, NAME_ONLY, NOTHING };
    static const struct {
        const char *what;
        const char *commands; /* make app; paths are seen from the directory as root */
        const char *path;
        enum expected expected;
    } cases[] = {
        {"whole", "cp " PROGRAMS "/symbols app", "/app", ALL},
        {"without an index of addresses", "objcopy --remove-section .debug_aranges " PROGRAMS "/symbols app", "/app",
         ALL},
        {"compressed", "objcopy --compress-debug-sections " PROGRAMS "/symbols app", "/app", ALL},
        {"without debug information", "strip --strip-debug -o app " PROGRAMS "/symbols", "/app", NAME_ONLY},
        {"stripped", STRIP "rm app.debug", "/app", NOTHING},
        {"debug file beside it", STRIP ADD_LINK, "/app", ALL},
        {"debug file in .debug", STRIP ADD_LINK " && mkdir .debug && mv app.debug .debug", "/app", ALL},
        {"debug file under /usr/lib/debug",
         STRIP ADD_LINK " && mkdir -p bin usr/lib/debug/bin && mv app bin && mv app.debug usr/lib/debug/bin",
         "/bin/app", ALL},
        {"debug file by build id", STRIP "mkdir -p $(dirname " ID_PATH ") && mv app.debug " ID_PATH, "/app", ALL},
        {"debug file of another build",
         STRIP ADD_LINK " && objcopy --only-keep-debug " PROGRAMS "/symbols-no-pie app.debug", "/app", NOTHING},
        {"debug file by checksum", NO_ID SPLIT ADD_LINK, "/app", ALL},
        {"debug file with another checksum", NO_ID SPLIT ADD_LINK " && echo >> app.debug", "/app", NOTHING},
        {"a FIFO for a debug file", STRIP ADD_LINK " && rm app.debug && mkfifo app.debug", "/app", NOTHING},
        {"a directory for a debug file", STRIP ADD_LINK " && rm app.debug && mkdir app.debug", "/app", NOTHING},
        {"debug files that share one", SHARED, "/app", ALL},
        {"a FIFO for the shared one", SHARED " && rm shared && mkfifo shared", "/app", NAME_ONLY},
        {"a link inside the root", "cp " PROGRAMS "/symbols real && ln -s /real app", "/app", ALL},
        {"a link that climbs", "mkdir bin && cp " PROGRAMS "/symbols real && ln -s ../../../../real bin/app",
         "/bin/app", ALL},
    };
    unsigned line;
    uint64_t address = ask(programs[0], "inlined", &line);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct one_module one;
        char dir[4096];
        char real_path[8192];
        const char *what = cases[i].what;
        if (strstr(cases[i].commands, "dwz") && system("command -v dwz >/dev/null")) { // NOLINT(cert-env33-c)
            print_message("NOT RUN HERE: %s: dwz is not installed\n", what);
            continue;
        }
        snprintf(dir, sizeof dir, "%s/%zu", (const char *)*state, i);
        assert_return_code(mkdir(dir, 0755), 0);
        run(dir, cases[i].commands);
        snprintf(real_path, sizeof real_path, "%s/%s", dir, strcmp(cases[i].path, "/bin/app") ? "app" : "bin/app");
        if (strstr(what, "a link"))
            snprintf(real_path, sizeof real_path, "%s/real", dir);
        take_module(&one, cases[i].path, real_path, BIAS);
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, dir, FUNCTIONS);
        const struct mw_symbol *symbol = mw_symbols_find(symbols, BIAS + address);
        CHECK_U64(what, mw_symbols_module(symbols, 0), MW_SYMBOLS_FOUND);
        CHECK_U64(what, symbol->is_known, cases[i].expected != NOTHING);
        CHECK_U64(what, symbol->count, cases[i].expected == ALL ? 3 : 1);
        if (symbol->is_known)
            CHECK_TEXT(what, symbol->frames[symbol->count - 1].function, "hidden");
        CHECK_U64(what, symbol->frames[0].line, cases[i].expected == ALL ? line : 0);
        CHECK_U64(what, symbol->frames[0].file != NULL, cases[i].expected == ALL);
        mw_symbols_free(symbols);
    }
}

/* ---- what is not believed, and what is not opened ---- */

static void another_build_is_not_believed(void **state)
{
    struct one_module one;
    unsigned line;
    uint64_t address = ask(programs[0], "main", &line);
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        take_module(&one, programs[0], programs[0], BIAS);
        one.module.build_id_bytes = i == 0 ? one.module.build_id_bytes : i == 1 ? one.module.build_id_bytes - 1 : 0;
        one.facts.build_id[3] ^= i == 0;
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
        const struct mw_symbol *symbol = mw_symbols_find(symbols, BIAS + address);
        assert_int_equal(mw_symbols_module(symbols, 0), MW_SYMBOLS_OTHER_BUILD);
        assert_false(symbol->is_known);
        assert_int_equal(strncmp(symbol->frames[0].function, "symbols+0x", 10), 0);
        assert_int_equal(mw_symbols_code(symbols, 0).start, one.module.start);
        mw_symbols_free(symbols);
    }
}

/* Deleted or built anew while it runs: the link to what runs leads on, and is believed by its build id alone. */
static void a_program_that_was_replaced_is_still_named(void **state)
{
    static const char *const after[] = {"rm app", "cp " PROGRAMS "/symbols-no-pie app"};
    unsigned line;
    uint64_t address = ask(programs[0], "main", &line);
    const char *path = scratch_path(*state, "app");
    for (size_t i = 0; i < 2 * COUNT(after); i++) {
        struct one_module one;
        char running[64];
        bool is_it = i % 2 == 0;
        run(*state, is_it ? "cp " PROGRAMS "/symbols app" : "cp " PROGRAMS "/symbols-cxx app");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        snprintf(running, sizeof running, "/proc/self/fd/%d", fd);
        run(*state, "mv app gone && cp gone app"); /* another file */
        run(*state, after[i / 2]);
        take_module(&one, path, programs[0], BIAS);
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
        mw_symbols_set_running(symbols, running);
        const struct mw_symbol *symbol = mw_symbols_find(symbols, BIAS + address);
        assert_int_equal(symbol->is_known, is_it);
        assert_int_equal(mw_symbols_module(symbols, 0), is_it ? MW_SYMBOLS_FOUND : MW_SYMBOLS_OTHER_BUILD);
        assert_int_equal(symbol->frames[0].line, is_it ? line : 0);
        mw_symbols_free(symbols);
        close(fd);
    }
}

static void hostile_paths_are_left_alone(void **state)
{
    static const char *const made[] = {"mkfifo it",
                                       "mkdir it",
                                       ": > it",
                                       "echo text > it",
                                       "ln -s it it",
                                       "head -c 4096 " PROGRAMS "/symbols > it",
                                       "printf '\\177ELF' > it",
                                       "cp " PROGRAMS "/symbols there && ln -s \"$PWD/there\" it",
                                       "true"};
    static const char *const real[] = {"/dev/zero", "/dev/null", "/proc/self/mem", "/", "", "[vdso]", "relative"};
    char path[8192];
    unsigned before = open_descriptors();
    for (size_t i = 0; i < COUNT(made) + COUNT(real); i++) {
        struct one_module one;
        char dir[4096];
        const char *root = NULL;
        snprintf(dir, sizeof dir, "%s/%zu", (const char *)*state, i);
        take_module(&one, programs[0], programs[0], BIAS);
        if (i < COUNT(made)) {
            assert_return_code(mkdir(dir, 0755), 0);
            run(dir, made[i]);
            root = dir;
            one.module.path = "/it";
        } else {
            one.module.path = real[i - COUNT(made)];
        }
        snprintf(path, sizeof path, "case %zu, %s", i, one.module.path);
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, root, FUNCTIONS);
        CHECK(path, !mw_symbols_find(symbols, BIAS + 0x1100)->is_known);
        CHECK(path, mw_symbols_module(symbols, 0) != MW_SYMBOLS_NOT_ASKED);
        mw_symbols_code(symbols, 0);
        mw_symbols_free(symbols);
    }
    assert_int_equal(open_descriptors(), before);
}

/* Every byte of the ELF header, and every 31st of what follows, spoilt: there is no telling what it is called then,
 * but it must come to an end. */
static void damaged_files_do_no_harm(void **state)
{
    struct one_module one;
    static char bytes[1 << 20];
    int fd = open(programs[0], O_RDONLY | O_CLOEXEC);
    assert_return_code(fd, 0);
    ssize_t length = read(fd, bytes, sizeof bytes);
    close(fd);
    assert_in_range(length, 1000, sizeof bytes - 1);
    take_module(&one, "/app", programs[0], BIAS);
    const char *path = scratch_path(*state, "app");
    for (ssize_t at = 0; at < length; at += at < 64 ? 1 : 31) {
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
        bytes[at] ^= 0x55;
        assert_int_equal(write(fd, bytes, (size_t)length), length);
        bytes[at] ^= 0x55;
        close(fd);
        struct mw_symbols *symbols = mw_symbols_new(&one.profile, *state, FUNCTIONS);
        for (uint64_t address = 0x1000; address < 0x1300; address += 0x40)
            assert_in_range(mw_symbols_find(symbols, BIAS + address)->count, 1, 64);
        mw_symbols_free(symbols);
    }
}

/* Names come to stand on terminals. */
static void control_characters_in_names_are_replaced(void **state)
{
    struct one_module one;
    unsigned line;
    const char *path = scratch_path(*state, "app");
    run(*state, "strip --strip-debug -o plain " PROGRAMS "/symbols && "
                "objcopy --redefine-sym hidden=\"$(printf '\\033[31mred')\" plain app");
    uint64_t address = ask(programs[0], "inlined", &line);
    take_module(&one, path, path, BIAS);
    struct mw_symbols *symbols = mw_symbols_new(&one.profile, NULL, FUNCTIONS);
    assert_string_equal(mw_symbols_find(symbols, BIAS + address)->frames[0].function, "?[31mred");
    mw_symbols_free(symbols);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inlined_functions_are_frames_of_their_own),
        cmocka_unit_test(names_of_cxx_are_plain_and_without_parameters),
        cmocka_unit_test(addresses_that_nobody_knows_keep_their_offsets),
        cmocka_unit_test(of_modules_that_overlap_the_later_is_meant),
        cmocka_unit_test(where_code_is_mapped_is_read_from_the_file),
        WITH_SCRATCH(it_is_found_however_it_is_shipped),
        cmocka_unit_test(another_build_is_not_believed),
        WITH_SCRATCH(a_program_that_was_replaced_is_still_named),
        WITH_SCRATCH(hostile_paths_are_left_alone),
        WITH_SCRATCH(damaged_files_do_no_harm),
        WITH_SCRATCH(control_characters_in_names_are_replaced),
    };
    alarm(DEADLINE_S);
    unsetenv("DEBUGINFOD_URLS"); // NOLINT(concurrency-mt-unsafe)
    return cmocka_run_group_tests_name("symbols", tests, NULL, NULL);
}
