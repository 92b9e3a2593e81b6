/* SPDX-License-Identifier: MIT */
#include "allocator.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#ifdef __aarch64__
#define MULTIARCH "aarch64-linux-gnu"
#else
#define MULTIARCH "x86_64-linux-gnu"
#endif

#define MOST_FILES 4
#define FILE_BYTES (PATH_MAX + 64)

/* Of one directory's files the first is taken. */
static const struct allocator {
    const char *name;
    const char *package; /* Debian 12's */
    const char *files[MOST_FILES];
} allocators[] = {
    [MW_ALLOCATOR_GLIBC] = {.name = "glibc"},
    [MW_ALLOCATOR_JEMALLOC] = {"jemalloc", "libjemalloc2", {"libjemalloc.so.2", "libjemalloc.so.1"}},
    /* The minimal one is the same allocator without gperftools' profilers and the libunwind that they need. */
    [MW_ALLOCATOR_TCMALLOC] = {"tcmalloc", "libtcmalloc-minimal4", {"libtcmalloc_minimal.so.4", "libtcmalloc.so.4"}},
    /* 2 is the one that the tests know; some builds of it carry only the longer name. */
    [MW_ALLOCATOR_MIMALLOC] = {"mimalloc",
                               "libmimalloc2.0",
                               {"libmimalloc.so.2", "libmimalloc.so.2.0", "libmimalloc.so.3", "libmimalloc.so.1"}},
};

/* In the loader's order on Debian, then where other systems have theirs. */
static const char *const directories[] = {
    "/usr/local/lib",   "/usr/local/lib/" MULTIARCH,
    "/lib/" MULTIARCH,  "/usr/lib/" MULTIARCH,
    "/usr/local/lib64", "/usr/lib64",
    "/usr/lib",
};

int mw_allocator_parse(const char *name, enum mw_allocator *out)
{
    for (size_t i = 0; i < COUNT(allocators); i++) {
        if (strcmp(name, allocators[i].name) == 0) {
            *out = (enum mw_allocator)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* Our own, put there by the linker. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Is it for programs of our kind? /usr/lib holds 32-bit libraries on some systems, which the loader passes over too. */
static bool is_loadable(const char *file)
{
    ElfW(Ehdr) header;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, &header, sizeof header);
    close(fd);
    return length == (ssize_t)sizeof header && memcmp(header.e_ident, __ehdr_start.e_ident, EI_VERSION) == 0 &&
           header.e_machine == __ehdr_start.e_machine;
}

/* The path is absolute, for programs change their directory, but the file's own name stays the soname: what that
 * points to may be replaced by an upgrade before the program is started again. */
static bool find_in(const char *directory, const struct allocator *allocator, char file[FILE_BYTES])
{
    char resolved[PATH_MAX];
    if (!realpath(directory, resolved))
        return false;
    for (size_t i = 0; i < MOST_FILES && allocator->files[i]; i++) {
        snprintf(file, FILE_BYTES, "%s/%s", resolved, allocator->files[i]);
        if (is_loadable(file))
            return true;
    }
    return false;
}

/* As the loader reads LD_LIBRARY_PATH: an empty word of it is the current directory, all of it empty is none. */
static bool find_along(const char *library_path, const struct allocator *allocator, char file[FILE_BYTES])
{
    const char *word = library_path && *library_path ? library_path : NULL;
    while (word) {
        char directory[PATH_MAX];
        size_t length = strcspn(word, ":;");
        snprintf(directory, sizeof directory, "%.*s", (int)length, word);
        if (length < sizeof directory && find_in(length ? directory : ".", allocator, file))
            return true;
        word = word[length] ? word + length + 1 : NULL;
    }
    return false;
}

static bool find_below(const char *root, const struct allocator *allocator, char file[FILE_BYTES])
{
    for (size_t i = 0; i < COUNT(directories); i++) {
        char directory[PATH_MAX];
        snprintf(directory, sizeof directory, "%s%s", root, directories[i]);
        if (find_in(directory, allocator, file))
            return true;
    }
    return false;
}

static void list(struct mw_text *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count && words[i]; i++) {
        mw_text_string(text, i ? ", " : "");
        mw_text_string(text, words[i]);
    }
}

bool mw_allocator_find(enum mw_allocator allocator, const char *root, const char *library_path, char *path,
                       size_t capacity_bytes, struct mw_error *error)
{
    const struct allocator *sought = &allocators[allocator];
    char file[FILE_BYTES];
    char files[256];
    char places[512];
    if (find_along(library_path, sought, file) || find_below(root, sought, file))
        return mw_library_take(file, path, capacity_bytes, error);
    struct mw_text files_text = MW_TEXT(files);
    struct mw_text places_text = MW_TEXT(places);
    list(&files_text, sought->files, MOST_FILES);
    list(&places_text, directories, COUNT(directories));
    return mw_error_set(error, 0,
                        "there is no %s to preload: looked for %s in LD_LIBRARY_PATH, %s; Debian 12 has it in the "
                        "package %s",
                        sought->name, files, places, sought->package);
}
