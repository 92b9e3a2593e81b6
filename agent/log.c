/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "journal.h"

#define NAME "memwatch-run"

static int fd = STDERR_FILENO;
static bool is_quiet;

bool mw_log_open(const char *target, bool quiet, struct mw_error *error)
{
    is_quiet = quiet;
    if (strcmp(target, "stderr") == 0)
        return true;
    if (strcmp(target, "journal") == 0) {
        int journal = mw_journal_open(NAME, error);
        if (journal >= 0)
            fd = journal;
        return journal >= 0;
    }
    /* Without O_NONBLOCK a FIFO that nobody reads would hold up the program's start. */
    int file = open(target, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (file < 0)
        return mw_error_set(error, errno, "--log: cannot open %s", target);
    fcntl(file, F_SETFL, O_APPEND);
    fd = file;
    return true;
}

int mw_log_fd(void)
{
    return fd;
}

void mw_log_line(const char *line)
{
    const struct iovec parts[] = {{(void *)line, strlen(line)}, {(void *)"\n", 1}};
    (void)!writev(fd, parts, 2);
}

__attribute__((format(printf, 1, 0))) static void put(const char *format, va_list arguments)
{
    char line[4096] = NAME ": ";
    size_t prefix = strlen(line);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is not
    int length = vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
    if (length < 0)
        return;
    size_t used = strlen(line);
    line[used] = '\n';
    (void)!write(fd, line, used + 1);
}

void mw_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!is_quiet)
        put(format, arguments);
    va_end(arguments);
}

void mw_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put(format, arguments);
    va_end(arguments);
}
