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
        if (!realpath(joined, resolved))
            continue;
        if (strpbrk(resolved, " :"))
            return mw_error_set(error, 0, "%s cannot be preloaded: LD_PRELOAD takes no path with a space or a colon",
                                resolved);
        if (strlen(resolved) >= capacity_bytes)
            return mw_error_set(error, ENAMETOOLONG, "%s", resolved);
        strcpy(path, resolved); // NOLINT(clang-analyzer-security.insecureAPI.strcpy)
        return true;
    }
    return mw_error_set(error, 0, "libmemwatch.so is not found near %s", directory);
}

/* "NAME=value" on the heap. */
static char *variable(const char *name, const char *value, const char *separator, const char *more)
{
    size_t bytes = strlen(name) + strlen(value) + strlen(separator) + strlen(more) + 2;
    char *text = malloc(bytes);
    if (!text)
        abort(); /* before the program has started, and for want of a hundred bytes */
    struct mw_text out = mw_text_on(text, bytes);
    mw_text_string(&out, name);
    mw_text_char(&out, '=');
    mw_text_string(&out, value);
    mw_text_string(&out, separator);
    mw_text_string(&out, more);
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

char **mw_library_environment(char *const *environment, const char *library, const char *limit)
{
    size_t count = 0;
    size_t kept = 0;
    const char *preloaded = "";
    while (environment[count])
        count++;
    char **copy = calloc(count + 3, sizeof *copy);
    if (!copy)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (library && is_named(environment[i], "LD_PRELOAD")) {
            preloaded = environment[i] + sizeof "LD_PRELOAD=" - 1;
            if (!is_listed(preloaded, library))
                continue;
            library = NULL;
        }
        if (limit && is_named(environment[i], "MEMWATCH_LIMIT"))
            continue;
        copy[kept++] = environment[i];
    }
    if (library)
        copy[kept++] = variable("LD_PRELOAD", library, *preloaded ? ":" : "", preloaded);
    if (limit)
        copy[kept] = variable("MEMWATCH_LIMIT", limit, "", "");
    return copy;
}
