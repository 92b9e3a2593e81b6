/* SPDX-License-Identifier: MIT
 *
 * What went wrong, as a sentence for a person. Functions that can fail take a struct mw_error * last, return false
 * and set it. The struct is the caller's; nothing is allocated.
 */
#ifndef MW_ERROR_H
#define MW_ERROR_H

#include <stdbool.h>

struct mw_error {
    int errno_value; /* 0 where no system call is to blame */
    char text[1024];
};

/* Sets the error, with ": " and the errno's description where errno_value is not 0. Returns false. */
bool mw_error_set(struct mw_error *error, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
