/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "elf_file.h"
#include "fileio.h"
#include "privilege.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The kernel's: of a first line it reads so much, and follows so many interpreters. */
#define FIRST_LINE_BYTES  256
#define MOST_INTERPRETERS 5

/* ---- finding ---- */

/* 0, or why execve would not start it. */
static int executable(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return errno;
    if (!S_ISREG(st.st_mode))
        return EACCES;
    return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? errno : 0;
}

/* As execvp: a name with a slash is a path; an empty word of PATH is the current directory; what may not be executed is
 * passed over, but remembered. */
static int find(const char *name, const char *path_variable, char path[PATH_MAX])
{
    int result = ENOENT;
    if (!*name)
        return ENOENT;
    if (strchr(name, '/')) {
        if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
            return ENAMETOOLONG;
        return executable(path);
    }
    for (const char *word = path_variable ? path_variable : "/bin:/usr/bin"; word;) {
        size_t length = strcspn(word, ":");
        int written = snprintf(path, PATH_MAX, "%.*s%s%s", (int)length, word, length ? "/" : "", name);
        int error = written < PATH_MAX ? executable(path) : ENAMETOOLONG;
        if (!error)
            return 0;
        if (error == EACCES)
            result = EACCES;
        word = word[length] ? word + length + 1 : NULL;
    }
    return result;
}

/* ---- looking ---- */

static size_t read_file(void *context, uint64_t offset, void *buffer, size_t bytes)
{
    ssize_t n = offset > INT64_MAX ? 0 : pread(*(int *)context, buffer, bytes, (off_t)offset);
    return n > 0 ? (size_t)n : 0;
}

/* A regular file, or -1. Not even a pipe that takes the file's place now can make us wait. */
static int open_regular(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Of the caller, and this file. What is not privileged (nearly all) costs two system calls. */
static bool is_secure(const char *path)
{
    struct mw_privilege_file file = {0};
    struct mw_privilege_identity who;
    struct statvfs filesystem;
    struct stat st;
    char status[4096];
    if (stat(path, &st))
        return false;
    ssize_t length = getxattr(path, "security.capability", file.capability, sizeof file.capability);
    bool is_plain = !(st.st_mode & (S_ISUID | S_ISGID)) && length <= 0;
    if (is_plain && getuid() == geteuid() && getgid() == getegid())
        return false;
    file.mode = st.st_mode;
    file.uid = st.st_uid;
    file.gid = st.st_gid;
    file.is_on_nosuid = statvfs(path, &filesystem) == 0 && filesystem.f_flag & ST_NOSUID;
    file.capability_bytes = length > 0 ? (size_t)length : 0;
    return mw_file_read_whole("/proc/self/status", status, sizeof status) > 0 &&
           mw_privilege_identity_parse(status, &who) && mw_privilege_is_gained(&who, &file);
}

static void name_machine(const struct mw_elf_file *file, char *name, size_t capacity_bytes)
{
    static const struct {
        uint16_t machine;
        uint8_t class_; /* 0: any */
        const char *name;
    } names[] = {
        {EM_386, 0, "32-bit x86"},      {EM_X86_64, ELFCLASS32, "x86_64 with 32-bit pointers"},
        {EM_X86_64, 0, "x86_64"},       {EM_AARCH64, 0, "64-bit ARM"},
        {EM_ARM, 0, "32-bit ARM"},      {EM_RISCV, ELFCLASS64, "64-bit RISC-V"},
        {EM_RISCV, 0, "32-bit RISC-V"}, {EM_PPC64, 0, "64-bit PowerPC"},
        {EM_S390, 0, "S/390"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        if (names[i].machine == file->machine && (!names[i].class_ || names[i].class_ == file->class_)) {
            snprintf(name, capacity_bytes, "%s", names[i].name);
            return;
        }
    }
    snprintf(name, capacity_bytes, "machine number %u", file->machine);
}

static bool begins(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* By the name of the loader, which is the same wherever it lies; of another name, by the C library. */
static enum mw_program_verdict loader_verdict(const struct mw_elf_file *file, const char *loader)
{
    const char *slash = strrchr(loader, '/');
    const char *name = slash ? slash + 1 : loader;
    if (begins(name, "ld-musl-") || begins(name, "libc.musl-"))
        return MW_PROGRAM_MUSL;
    if (begins(name, "ld-linux") || begins(name, "ld64.so") || file->needs_glibc)
        return MW_PROGRAM_WATCHED;
    return MW_PROGRAM_LOADER;
}

static enum mw_program_verdict judge(const struct mw_elf_file *file, struct mw_program *out)
{
    if (file->is_foreign) {
        name_machine(file, out->machine, sizeof out->machine);
        return MW_PROGRAM_FOREIGN;
    }
    /* A loader is static itself, and may be started with a program to load. */
    if (!file->has_loader)
        return *file->soname && (begins(file->soname, "ld-") || begins(file->soname, "libc.musl-"))
                   ? loader_verdict(file, file->soname)
                   : MW_PROGRAM_STATIC;
    if (*file->loader && access(file->loader, F_OK) && errno == ENOENT)
        snprintf(out->missing, sizeof out->missing, "%s", file->loader);
    enum mw_program_verdict verdict = loader_verdict(file, file->loader);
    if (verdict == MW_PROGRAM_WATCHED && file->has_sanitizer)
        verdict = MW_PROGRAM_SANITIZER;
    /* Where the loader would complain, it does not if it preloads nothing. */
    return is_secure(out->path) ? MW_PROGRAM_SECURE : verdict;
}

/* ---- scripts ---- */

/* The words behind #!, as the kernel takes them: the interpreter, and all the rest as one argument. False: the kernel
 * would not run it as a script. */
static bool take_first_line(char *line, size_t length, bool is_whole, char **interpreter, char **argument)
{
    char *end = memchr(line, '\n', length);
    bool is_cut_off = !end && !is_whole;
    if (!end)
        end = line + length;
    *end = '\0';
    char *word = line + 2 + strspn(line + 2, " \t");
    char *behind = word + strcspn(word, " \t");
    if (behind == word || (is_cut_off && !*behind))
        return false;
    *interpreter = word;
    *argument = behind + strspn(behind, " \t");
    *behind = '\0';
    for (char *last = end; last > *argument && (last[-1] == ' ' || last[-1] == '\t');)
        *--last = '\0';
    return true;
}

/* What `env` would start, by its words; NULL where that is not plain to see. Cuts `argument` into pieces. */
static const char *behind_env(const char *interpreter, char *argument)
{
    const char *slash = strrchr(interpreter, '/');
    if (strcmp(slash ? slash + 1 : interpreter, "env") != 0)
        return NULL;
    if (!begins(argument, "-"))
        return *argument && !strchr(argument, '=') ? argument : NULL;
    if (!begins(argument, "-S"))
        return NULL;
    for (char *word = strtok(argument + 2, " \t"); word; word = strtok(NULL, " \t")) {
        if (strpbrk(word, "-\"'$\\#") == word)
            return NULL;
        if (!strchr(word, '='))
            return word;
    }
    return NULL;
}

/* Looks at one file, out->path. Where it is a script, its interpreter is in next[] and what env is to start in behind[]
 * ("": neither). */
static void look(struct mw_program *out, char next[FIRST_LINE_BYTES], char behind[FIRST_LINE_BYTES])
{
    struct mw_elf_file file;
    char line[FIRST_LINE_BYTES + 1];
    char *interpreter;
    char *argument;
    next[0] = behind[0] = '\0';
    out->verdict = MW_PROGRAM_WATCHED;
    int fd = open_regular(out->path);
    if (fd < 0) {
        if (is_secure(out->path))
            out->verdict = MW_PROGRAM_SECURE;
        return;
    }
    size_t length = read_file(&fd, 0, line, FIRST_LINE_BYTES);
    bool is_whole = length < FIRST_LINE_BYTES;
    if (mw_elf_file_read(&file, read_file, &fd)) {
        out->verdict = judge(&file, out);
    } else if (length < 2 || line[0] != '#' || line[1] != '!') {
        /* The kernel refuses it, and execvp has the shell run it. */
        strcpy(next, _PATH_BSHELL); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
    } else if (take_first_line(line, length, is_whole, &interpreter, &argument)) {
        strcpy(next, interpreter); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
        const char *program = behind_env(interpreter, argument);
        snprintf(behind, FIRST_LINE_BYTES, "%s", program ? program : "");
    }
    close(fd);
}

bool mw_program_examine(const char *name, const char *path_variable, struct mw_program *out, struct mw_error *error)
{
    char next[FIRST_LINE_BYTES];
    char behind[FIRST_LINE_BYTES];
    char started[FIRST_LINE_BYTES] = "";
    *out = (struct mw_program){.verdict = MW_PROGRAM_WATCHED};
    int result = find(name, path_variable, out->path);
    if (result)
        return mw_error_set(error, result, "cannot execute %s", name);
    for (unsigned depth = 0; depth <= MOST_INTERPRETERS; depth++) {
        look(out, next, behind);
        if (*behind)
            memcpy(started, behind, sizeof started);
        if (*next) {
            snprintf(out->path, sizeof out->path, "%s", next);
        } else {
            /* env itself has to take the library along before what it starts can have it */
            bool goes_on =
                *started && out->verdict == MW_PROGRAM_WATCHED && find(started, path_variable, out->path) == 0;
            if (!goes_on)
                return true;
            started[0] = '\0';
        }
        out->is_interpreted = true;
        if (access(out->path, F_OK)) {
            memcpy(out->missing, out->path, sizeof out->missing);
            return true;
        }
    }
    return true; /* more interpreters than the kernel follows */
}

/* ---- saying ---- */

static const struct {
    bool keeps;
    const char *predicate;
} verdicts[] = {
#define VERDICT(NAME, keeps, predicate) {keeps, predicate},
    MW_PROGRAM_VERDICTS(VERDICT)
#undef VERDICT
};

bool mw_program_keeps_preload(struct mw_program *program, const char *preloaded)
{
    while (preloaded && *preloaded) {
        size_t length = strcspn(preloaded, " :");
        const char *name = preloaded + length;
        while (name > preloaded && name[-1] != '/')
            name--;
        if (mw_elf_is_sanitizer(name, (size_t)(preloaded + length - name)))
            program->verdict = MW_PROGRAM_SANITIZER;
        preloaded += length + strspn(preloaded + length, " :");
    }
    return verdicts[program->verdict].keeps;
}

void mw_program_text(struct mw_text *text, const struct mw_program *program, const char *name)
{
    mw_text_string(text, name);
    if (program->is_interpreted) {
        mw_text_string(text, " is run by ");
        mw_text_string(text, program->path);
        mw_text_string(text, ", which");
    }
    mw_text_char(text, ' ');
    mw_text_string(text, verdicts[program->verdict].predicate);
    if (program->verdict == MW_PROGRAM_FOREIGN) {
        mw_text_string(text, " (");
        mw_text_string(text, program->machine);
        mw_text_char(text, ')');
    }
}
