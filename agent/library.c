/* SPDX-License-Identifier: MIT */
#include "library.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

/* Relative to the directory of this program. */
static const char *const places[] = {
    MEMWATCH_LIBRARY_FROM_BIN,   /* installed */
    "../preload/libmemwatch.so", /* build tree */
};

bool mw_library_take(const char *file, char *path, size_t capacity_bytes, struct mw_error *error)
{
    if (strpbrk(file, " :"))
        return mw_error_set(error, 0, "%s cannot be preloaded: LD_PRELOAD takes no path with a space or a colon", file);
    if (strlen(file) >= capacity_bytes)
        return mw_error_set(error, ENAMETOOLONG, "%s", file);
    strcpy(path, file); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
    return true;
}

bool mw_library_find(char *path, size_t capacity_bytes, struct mw_error *error)
{
    char directory[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    if (length < 0)
        return mw_error_set(error, errno, "cannot read /proc/self/exe");
    directory[length] = '\0';
    *strrchr(directory, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char joined[2 * PATH_MAX];
        char resolved[PATH_MAX];
        snprintf(joined, sizeof joined, "%s/%s", directory, places[i]);
        if (realpath(joined, resolved))
            return mw_library_take(resolved, path, capacity_bytes, error);
    }
    return mw_error_set(error, 0, "libmemwatch.so is not found near %s", directory);
}

#define MOST_WORDS 3

/* "NAME=word:word" on the heap, of the words that hold something. */
static char *variable(const char *name, const char *const words[MOST_WORDS])
{
    size_t bytes = strlen(name) + 1;
    for (unsigned i = 0; i < MOST_WORDS; i++)
        bytes += words[i] ? strlen(words[i]) + 1 : 0;
    char *text = malloc(bytes);
    if (!text)
        abort(); /* before the program has started, and for want of a hundred bytes */
    struct mw_text out = mw_text_on(text, bytes);
    mw_text_string(&out, name);
    char separator = '=';
    for (unsigned i = 0; i < MOST_WORDS; i++) {
        if (!words[i] || !*words[i])
            continue;
        mw_text_char(&out, separator);
        mw_text_string(&out, words[i]);
        separator = ':';
    }
    return text;
}

static bool is_named(const char *assignment, const char *name)
{
    size_t length = strlen(name);
    return strncmp(assignment, name, length) == 0 && assignment[length] == '=';
}

/* Is it one of the words of an LD_PRELOAD, which spaces and colons part? */
static bool is_listed(const char *list, const char *library)
{
    size_t length = strlen(library);
    for (; *list; list += strspn(list, " :")) {
        size_t word = strcspn(list, " :");
        if (word == length && strncmp(list, library, length) == 0)
            return true;
        list += word;
    }
    return false;
}

char **mw_library_environment(char *const *environment, const char *library, const char *allocator)
{
    size_t count = 0;
    size_t kept = 0;
    const char *preloaded = NULL;
    while (environment[count])
        count++;
    char **copy = calloc(count + 2, sizeof *copy);
    if (!copy)
        abort();
    for (size_t i = 0; i < count; i++) {
        if ((library || allocator) && is_named(environment[i], "LD_PRELOAD")) {
            preloaded = environment[i] + sizeof "LD_PRELOAD=" - 1;
            if (allocator || !is_listed(preloaded, library))
                continue;
            library = NULL;
        }
        copy[kept++] = environment[i];
    }
    if (library || allocator)
        copy[kept] = variable("LD_PRELOAD", (const char *const[]){library, allocator, preloaded});
    return copy;
}
