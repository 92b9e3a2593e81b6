/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool mw_error_set(struct mw_error *error, int errno_value, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    // cppcheck-suppress ctuuninitvar ; it is written here, not read
    int length = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->errno_value = errno_value;
    if (errno_value && length >= 0 && (size_t)length < sizeof error->text)
        snprintf(error->text + length, sizeof error->text - (size_t)length, ": %s", strerror(errno_value));
    return false;
}
