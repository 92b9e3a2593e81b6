/* SPDX-License-Identifier: MIT
 *
 * Files are made by hand here; the real ones (static, musl, setuid) are in tests/scenarios/program_kinds_test.py.
 */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "elf_file.h"
#include "privilege.h"
#include "scratch.h"

/* ---- an ELF file by hand ---- */

struct image {
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[3];
    ElfW(Dyn) dynamic[4];
    char strings[64];
    char loader[64];
};

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static struct image image_of(const char *loader, const char *needed, const char *soname)
{
    struct image image = {.header = {.e_type = ET_DYN,
                                     .e_machine = __ehdr_start.e_machine,
                                     .e_version = EV_CURRENT,
                                     .e_phoff = offsetof(struct image, segments),
                                     .e_ehsize = sizeof(ElfW(Ehdr)),
                                     .e_phentsize = sizeof(ElfW(Phdr)),
                                     .e_phnum = 3}};
    memcpy(image.header.e_ident, __ehdr_start.e_ident, EI_NIDENT);
    image.segments[0] = (ElfW(Phdr)){.p_type = PT_LOAD, .p_vaddr = 0x1000, .p_filesz = sizeof image};
    image.segments[1] = (ElfW(Phdr)){.p_type = loader ? PT_INTERP : PT_NULL,
                                     .p_offset = offsetof(struct image, loader),
                                     .p_filesz = loader ? strlen(loader) + 1 : 0};
    image.segments[2] = (ElfW(Phdr)){
        .p_type = PT_DYNAMIC, .p_offset = offsetof(struct image, dynamic), .p_filesz = sizeof image.dynamic};
    snprintf(image.loader, sizeof image.loader, "%s", loader ? loader : "");
    snprintf(image.strings + 1, 30, "%s", needed ? needed : "");
    snprintf(image.strings + 32, 30, "%s", soname ? soname : "");
    image.dynamic[0] = (ElfW(Dyn)){.d_tag = needed ? DT_NEEDED : DT_DEBUG, .d_un.d_val = 1};
    image.dynamic[1] = (ElfW(Dyn)){.d_tag = soname ? DT_SONAME : DT_DEBUG, .d_un.d_val = 32};
    image.dynamic[2] = (ElfW(Dyn)){.d_tag = DT_STRTAB, .d_un.d_ptr = 0x1000 + offsetof(struct image, strings)};
    return image;
}

struct buffer {
    const unsigned char *bytes;
    size_t length;
};

static size_t read_buffer(void *context, uint64_t offset, void *out, size_t bytes)
{
    const struct buffer *buffer = context;
    size_t there = offset < buffer->length ? buffer->length - offset : 0;
    memcpy(out, buffer->bytes + (there ? offset : 0), there < bytes ? there : bytes);
    return there < bytes ? there : bytes;
}

static bool read_image(const void *bytes, size_t length, struct mw_elf_file *out)
{
    struct buffer buffer = {bytes, length};
    return mw_elf_file_read(out, read_buffer, &buffer);
}

static void an_elf_file_says_how_it_wants_to_be_started(void **state)
{
    struct mw_elf_file file;
    struct image image = image_of("/lib/ld-x.so", "libc.so.6", NULL);
    (void)state;
    assert_true(read_image(&image, sizeof image, &file));
    assert_true(file.has_loader && file.needs_glibc && !file.has_sanitizer && !file.is_foreign);
    assert_string_equal(file.loader, "/lib/ld-x.so");
    image = image_of(NULL, "libasan.so.8", "libown.so");
    assert_true(read_image(&image, sizeof image, &file));
    assert_true(!file.has_loader && !file.needs_glibc && file.has_sanitizer);
    assert_string_equal(file.soname, "libown.so");
}

static void of_another_kind_of_machine_only_that_is_known(void **state)
{
    static const struct {
        const char *what;
        unsigned char class_, order;
        uint16_t machine;
    } cases[] = {
        {"i386", ELFCLASS32, ELFDATA2LSB, EM_386},
        {"x32", ELFCLASS32, ELFDATA2LSB, EM_X86_64},
        {"another machine", ELFCLASS64, ELFDATA2LSB, EM_RISCV},
        {"big endian", ELFCLASS64, ELFDATA2MSB, EM_S390},
        {"of no class", 77, ELFDATA2LSB, EM_X86_64},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_elf_file file;
        struct image image = image_of("/lib/ld-x.so", NULL, NULL);
        bool is_big = cases[i].order == ELFDATA2MSB;
        image.header.e_ident[EI_CLASS] = cases[i].class_;
        image.header.e_ident[EI_DATA] = cases[i].order;
        image.header.e_machine = is_big ? (uint16_t)(cases[i].machine << 8) : cases[i].machine;
        image.header.e_type = is_big ? ET_DYN << 8 : ET_DYN;
        CHECK(cases[i].what, read_image(&image, 52, &file)); /* a 32-bit file may be that short */
        CHECK(cases[i].what, file.is_foreign);
        CHECK_U64(cases[i].what, file.machine, cases[i].machine);
    }
}

/* Whatever is wrong with it, nothing beyond the buffer is read (the sanitizers look), and each string ends. */
static void a_damaged_file_is_read_without_harm(void **state)
{
    struct mw_elf_file file;
    struct image image = image_of("/lib/ld-x.so", "libc.so.6", "libown.so");
    (void)state;
    for (size_t length = 0; length <= sizeof image; length++)
        (void)read_image(&image, length, &file);
    for (size_t at = EI_NIDENT; at < sizeof image; at++) {
        static const unsigned char values[] = {0x00, 0x7f, 0x80, 0xff};
        for (size_t v = 0; v < COUNT(values); v++) {
            struct image damaged = image;
            ((unsigned char *)&damaged)[at] = values[v];
            if (read_image(&damaged, sizeof damaged, &file)) {
                assert_true(strlen(file.loader) < sizeof file.loader);
                assert_true(strlen(file.soname) < sizeof file.soname);
            }
        }
    }
    image.segments[0].p_filesz = 1;
    assert_true(read_image(&image, sizeof image, &file));
    assert_false(file.needs_glibc); /* its name is not in the file */
    image.header.e_phentsize = 1;
    assert_false(read_image(&image, sizeof image, &file));
    image.header.e_phentsize = sizeof(ElfW(Phdr));
    image.segments[0].p_offset = image.segments[2].p_offset = UINT64_MAX;
    assert_true(read_image(&image, sizeof image, &file));
    assert_false(file.needs_glibc);
    image.header.e_phoff = UINT64_MAX - 8;
    assert_false(read_image(&image, sizeof image, &file));
    image.header.e_phnum = 0;
    assert_false(read_image(&image, sizeof image, &file));
    assert_false(read_image("\177ELF", 4, &file));
    image.header.e_type = ET_CORE;
    assert_false(read_image(&image, sizeof image, &file));
}

/* ---- files ---- */

static const char *make_file(const char *dir, const char *name, const void *content, size_t bytes, mode_t mode)
{
    const char *path = scratch_write(dir, name, "");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(fd, content, bytes), bytes);
    close(fd);
    assert_return_code(chmod(path, mode), 0);
    return path;
}

static const char *make_script(const char *dir, const char *name, const char *format, const char *word)
{
    char content[1024];
    snprintf(content, sizeof content, format, word);
    return make_file(dir, name, content, strlen(content), 0755);
}

static struct mw_program examine(const char *name, const char *path_variable)
{
    struct mw_program program;
    struct mw_error error;
    if (!mw_program_examine(name, path_variable, &program, &error))
        fail_msg("%s", error.text);
    return program;
}

static int refusal(const char *name, const char *path_variable)
{
    struct mw_program program;
    struct mw_error error;
    return mw_program_examine(name, path_variable, &program, &error) ? 0 : error.errno_value;
}

static void it_is_found_as_execvp_finds_it(void **state)
{
    const char *dir = *state;
    char along[8192];
    char own[4096];
    make_script(dir, "a/prog", "#!%s\n", "/bin/sh");
    chmod(scratch_path(dir, "a/prog"), 0644);
    mkdir(scratch_path(dir, "b"), 0755);
    mkdir(scratch_path(dir, "b/prog"), 0755);
    snprintf(along, sizeof along, "/nowhere:%s:%s", scratch_path(dir, "a"), scratch_path(dir, "b"));
    assert_int_equal(refusal("prog", along), EACCES);
    make_script(dir, "c/prog", "#!%s\n", "/bin/sh");
    snprintf(along + strlen(along), sizeof along - strlen(along), ":%s", scratch_path(dir, "c"));
    assert_int_equal(refusal("prog", along), 0);
    assert_int_equal(refusal("nonsense", along), ENOENT);
    assert_int_equal(refusal("", along), ENOENT);
    assert_int_equal(refusal("/", NULL), EACCES);
    assert_int_equal(refusal("/etc/passwd/x", NULL), ENOTDIR);
    assert_int_equal(refusal("sh", NULL), 0);
    assert_non_null(getcwd(own, sizeof own));
    assert_return_code(chdir(scratch_path(dir, "c")), 0);
    assert_int_equal(refusal("prog", ""), 0);
    assert_int_equal(refusal("prog", "/nowhere:"), 0);
    assert_int_equal(refusal("./prog", NULL), 0);
    assert_return_code(chdir(own), 0);
}

static void its_loader_and_libraries_decide(void **state)
{
    static const struct {
        const char *what, *loader, *needed, *soname;
        enum mw_program_verdict due;
    } cases[] = {
        {"glibc", "/lib64/ld-linux-x86-64.so.2", NULL, NULL, MW_PROGRAM_WATCHED},
        {"glibc elsewhere", "/nix/glibc/lib/ld-linux-x86-64.so.2", NULL, NULL, MW_PROGRAM_WATCHED},
        {"glibc under another name", "/opt/loader", "libc.so.6", NULL, MW_PROGRAM_WATCHED},
        {"musl", "/lib/ld-musl-x86_64.so.1", "libc.so", NULL, MW_PROGRAM_MUSL},
        {"another", "/system/bin/linker64", "libc.so", NULL, MW_PROGRAM_LOADER},
        {"static", NULL, NULL, NULL, MW_PROGRAM_STATIC},
        {"the loader itself", NULL, NULL, "ld-linux-x86-64.so.2", MW_PROGRAM_WATCHED},
        {"musl's itself", NULL, NULL, "libc.musl-x86_64.so.1", MW_PROGRAM_MUSL},
        {"a library that runs", NULL, NULL, "libown.so", MW_PROGRAM_STATIC},
        {"gcc's sanitizer", "/lib64/ld-linux-x86-64.so.2", "libasan.so.8", NULL, MW_PROGRAM_SANITIZER},
        {"clang's", "/lib64/ld-linux-x86-64.so.2", "libclang_rt.asan-x86_64.so", NULL, MW_PROGRAM_SANITIZER},
        {"one that leaves malloc alone", "/lib64/ld-linux-x86-64.so.2", "libubsan.so.1", NULL, MW_PROGRAM_WATCHED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct image image = image_of(cases[i].loader, cases[i].needed, cases[i].soname);
        struct mw_program program = examine(make_file(*state, "prog", &image, sizeof image, 0755), NULL);
        CHECK_U64(cases[i].what, program.verdict, cases[i].due);
        CHECK(cases[i].what, !program.is_interpreted);
    }
    struct image image = image_of("/nowhere/ld-linux.so.9", NULL, NULL);
    struct mw_program program = examine(make_file(*state, "prog", &image, sizeof image, 0755), NULL);
    assert_string_equal(program.missing, "/nowhere/ld-linux.so.9");
}

static void a_script_is_its_interpreter(void **state)
{
    const char *dir = *state;
    struct image image = image_of(NULL, NULL, NULL);
    char along[4096];
    snprintf(along, sizeof along, "%s:/usr/bin:/bin", dir);
    make_file(dir, "static", &image, sizeof image, 0755);
    const struct {
        const char *format, *word;
        enum mw_program_verdict due;
    } cases[] = {
        {"#!%s\n", scratch_path(dir, "static"), MW_PROGRAM_STATIC},
        {"#! \t%s -x y \n", scratch_path(dir, "static"), MW_PROGRAM_STATIC},
        {"#!%s", scratch_path(dir, "static"), MW_PROGRAM_STATIC},
        {"#!/usr/bin/env %s\n", "static", MW_PROGRAM_STATIC},
        {"#!/usr/bin/env -S %s -u\n", "static", MW_PROGRAM_STATIC},
        {"#!/usr/bin/env -SA=b %s -u\n", "static", MW_PROGRAM_STATIC},
        {"#!/usr/bin/env -i %s\n", "static", MW_PROGRAM_WATCHED}, /* env, as far as is plain to see */
        {"#!/usr/bin/env %s\n", "nonsense-nowhere", MW_PROGRAM_WATCHED},
        {"#!/bin/%s\n", "sh", MW_PROGRAM_WATCHED},
        {"echo no first line %s\n", "at all", MW_PROGRAM_WATCHED},
        {"%s", "", MW_PROGRAM_WATCHED},
        {"#!%s\n", "", MW_PROGRAM_WATCHED},
        {"#!%s", " ", MW_PROGRAM_WATCHED},
        {"\177ELF%s", "", MW_PROGRAM_WATCHED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_program program = examine(make_script(dir, "script", cases[i].format, cases[i].word), along);
        CHECK_U64(cases[i].format, program.verdict, cases[i].due);
        CHECK_TEXT(cases[i].format, program.missing, "");
    }
    assert_string_equal(examine(make_script(dir, "s", "#!%s -x\n", "/nowhere/sh"), NULL).missing, "/nowhere/sh");
    make_script(dir, "around", "#!%s\n", scratch_path(dir, "around"));
    assert_int_equal(examine(scratch_path(dir, "around"), NULL).verdict, MW_PROGRAM_WATCHED);
    char line[600];
    memset(line, 'x', sizeof line);
    line[0] = '#';
    line[1] = '!';
    line[2] = '/';
    assert_int_equal(examine(make_file(dir, "long", line, sizeof line, 0755), NULL).is_interpreted, false);
}

static void what_is_no_regular_file_is_not_opened(void **state)
{
    const char *fifo = scratch_path(*state, "fifo");
    assert_return_code(mkfifo(fifo, 0777), 0);
    unsigned before = open_descriptors();
    assert_int_equal(refusal(fifo, NULL), EACCES);
    assert_int_equal(refusal("/dev/zero", NULL), EACCES);
    struct mw_program program = examine(make_script(*state, "s", "#!%s\n", fifo), NULL); /* would wait for a writer */
    assert_int_equal(program.verdict, MW_PROGRAM_WATCHED);
    assert_int_equal(open_descriptors(), before);
}

static void what_is_said_and_whether_the_preload_stays(void **state)
{
    struct mw_program program = {.verdict = MW_PROGRAM_STATIC, .path = "/bin/x"};
    char sentence[512];
    struct mw_text text = MW_TEXT(sentence);
    (void)state;
    mw_program_text(&text, &program, "./app");
    assert_string_equal(sentence, "./app is statically linked");
    assert_true(mw_program_keeps_preload(&program, "a.so"));
    program.is_interpreted = true;
    program.verdict = MW_PROGRAM_FOREIGN;
    strcpy(program.machine, "32-bit x86");
    text = MW_TEXT(sentence);
    mw_program_text(&text, &program, "./app");
    assert_string_equal(sentence, "./app is run by /bin/x, which is made for another machine (32-bit x86)");
    assert_false(mw_program_keeps_preload(&program, NULL));
    static const struct {
        const char *preloaded;
        bool stays;
    } cases[] = {{NULL, true},
                 {"", true},
                 {"/lib/libasan.so.8", false},
                 {"x.so libtsan.so.2", false},
                 {"x.so:/a/liblsan.so", false},
                 {"/libasan.so/x.so", true},
                 {": libubsan.so.1 :", true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        program.verdict = MW_PROGRAM_WATCHED;
        CHECK_U64(cases[i].preloaded ? cases[i].preloaded : "none",
                  mw_program_keeps_preload(&program, cases[i].preloaded), cases[i].stays);
    }
}

/* ---- privileges ---- */

/* As the kernel (6.18) answered by AT_SECURE, each tried. */
static void privileges_are_gained_as_the_kernel_says(void **state)
{
    enum { ROOT = 0, NOBODY = 65534 };
    static const struct {
        const char *what;
        uid_t who, owner;
        gid_t group;
        mode_t mode;
        bool no_new, nosuid, due;
    } cases[] = {
        {"root runs root's", ROOT, ROOT, ROOT, 04755, false, false, false},
        {"nobody runs root's", NOBODY, ROOT, ROOT, 04755, false, false, true},
        {"not with no_new_privs", NOBODY, ROOT, ROOT, 04755, true, false, false},
        {"not on nosuid", NOBODY, ROOT, ROOT, 04755, false, true, false},
        {"root runs nobody's", ROOT, NOBODY, NOBODY, 04755, false, false, true},
        {"nobody runs its own", NOBODY, NOBODY, NOBODY, 06755, false, false, false},
        {"another group", NOBODY, NOBODY, ROOT, 02755, false, false, true},
        {"its own group", NOBODY, ROOT, NOBODY, 02755, false, false, false},
        {"mandatory locking", NOBODY, NOBODY, ROOT, 02745, false, false, false},
        {"no bit", NOBODY, ROOT, ROOT, 0755, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_privilege_identity who = {.real_uid = cases[i].who,
                                            .effective_uid = cases[i].who,
                                            .real_gid = cases[i].who,
                                            .effective_gid = cases[i].who,
                                            .no_new_privileges = cases[i].no_new};
        struct mw_privilege_file file = {
            .mode = cases[i].mode, .uid = cases[i].owner, .gid = cases[i].group, .is_on_nosuid = cases[i].nosuid};
        CHECK_U64(cases[i].what, mw_privilege_is_gained(&who, &file), cases[i].due);
    }
}

static void a_files_capabilities_are_weighed_as_the_kernel_weighs_them(void **state)
{
#define V1  "\x00\x00\x00\x01"
#define V2  "\x00\x00\x00\x02"
#define V2E "\x01\x00\x00\x02"
#define V3E "\x01\x00\x00\x03"
#define NO  "\0\0\0\0"
#define RAW "\x00\x20\0\0" /* CAP_NET_RAW is 13 */
    static const struct {
        const char *what;
        const char *bytes;
        size_t length;
        uint64_t uid;
        uint64_t inheritable;
        bool no_new, due;
    } cases[] = {
        {"ep", V2E RAW NO NO NO, 20, 1000, 0, false, true},
        {"ep, root", V2E RAW NO NO NO, 20, 0, 0, false, false},
        {"ep, no_new_privs", V2E RAW NO NO NO, 20, 1000, 0, true, true},
        {"p", V2 RAW NO NO NO, 20, 1000, 0, false, true},
        {"p, no_new_privs", V2 RAW NO NO NO, 20, 1000, 0, true, false},
        {"i, not held", V2 NO RAW NO NO, 20, 1000, 0, false, false},
        {"i, held", V2 NO RAW NO NO, 20, 1000, 0x2000, false, true},
        {"none in it", V2 NO NO NO NO, 20, 1000, 0, false, false},
        {"the high half", V2 NO NO "\1\0\0\0" NO, 20, 1000, 0, false, true},
        {"of 32 bits", V1 RAW NO, 12, 1000, 0, false, true},
        {"of another namespace", V3E RAW NO NO NO "\xe8\x03\0\0", 24, 1000, 0, false, false},
        {"cut off", V2E RAW NO NO, 16, 1000, 0, false, false},
        {"too short", V2E, 4, 1000, 0, false, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_privilege_identity who = {.real_uid = (uid_t)cases[i].uid,
                                            .effective_uid = (uid_t)cases[i].uid,
                                            .bounding = UINT64_MAX,
                                            .inheritable = cases[i].inheritable,
                                            .no_new_privileges = cases[i].no_new};
        struct mw_privilege_file file = {.mode = 0755, .capability_bytes = cases[i].length};
        memcpy(file.capability, cases[i].bytes, cases[i].length);
        CHECK_U64(cases[i].what, mw_privilege_is_gained(&who, &file), cases[i].due);
    }
}

static void who_we_are_is_read_from_status(void **state)
{
    struct mw_privilege_identity who;
    (void)state;
    assert_true(mw_privilege_identity_parse("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapInh:\t0000000000002000\n"
                                            "CapPrm:\t00000000000000ff\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t1\n",
                                            &who));
    assert_true(who.real_uid == 1 && who.effective_uid == 2 && who.real_gid == 5 && who.effective_gid == 6);
    assert_true(who.inheritable == 0x2000 && who.permitted == 0xff && who.bounding == 0x1ffffffffff);
    assert_true(who.no_new_privileges);
    assert_false(mw_privilege_identity_parse("", &who));
    assert_false(mw_privilege_identity_parse("Name:\tx\nUid:\tx\n", &who));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_elf_file_says_how_it_wants_to_be_started),
        cmocka_unit_test(of_another_kind_of_machine_only_that_is_known),
        cmocka_unit_test(a_damaged_file_is_read_without_harm),
        cmocka_unit_test_setup_teardown(it_is_found_as_execvp_finds_it, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(its_loader_and_libraries_decide, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(a_script_is_its_interpreter, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_regular_file_is_not_opened, scratch_setup, scratch_teardown),
        cmocka_unit_test(what_is_said_and_whether_the_preload_stays),
        cmocka_unit_test(privileges_are_gained_as_the_kernel_says),
        cmocka_unit_test(a_files_capabilities_are_weighed_as_the_kernel_weighs_them),
        cmocka_unit_test(who_we_are_is_read_from_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
