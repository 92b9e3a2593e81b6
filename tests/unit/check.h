/* SPDX-License-Identifier: MIT
 *
 * cmocka with the headers that it wants in front of it, and checks that name the case of a table that failed.
 */
#ifndef MW_CHECK_H
#define MW_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define CHECK(label, condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("\"%s\": not so: %s", label, #condition);                                                         \
    } while (0)

#define CHECK_I64(label, actual, expected)                                                                             \
    do {                                                                                                               \
        long long is_ = (long long)(actual), due_ = (long long)(expected);                                             \
        if (is_ != due_)                                                                                               \
            fail_msg("\"%s\": %s is %lld, not %lld", label, #actual, is_, due_);                                       \
    } while (0)

#define CHECK_U64(label, actual, expected)                                                                             \
    do {                                                                                                               \
        unsigned long long is_ = (unsigned long long)(actual), due_ = (unsigned long long)(expected);                  \
        if (is_ != due_)                                                                                               \
            fail_msg("\"%s\": %s is %llu, not %llu", label, #actual, is_, due_);                                       \
    } while (0)

#define CHECK_TEXT(label, actual, expected)                                                                            \
    do {                                                                                                               \
        const char *is_ = (actual), *due_ = (expected);                                                                \
        if (strcmp(is_, due_) != 0)                                                                                    \
            fail_msg("\"%s\": %s is \"%s\", not \"%s\"", label, #actual, is_, due_);                                   \
    } while (0)

#define CHECK_HAS(label, actual, part)                                                                                 \
    do {                                                                                                               \
        const char *is_ = (actual), *due_ = (part);                                                                    \
        if (!strstr(is_, due_))                                                                                        \
            fail_msg("\"%s\": no \"%s\" in \"%s\"", label, due_, is_);                                                 \
    } while (0)

#define CHECK_LACKS(label, actual, part)                                                                               \
    do {                                                                                                               \
        const char *is_ = (actual), *due_ = (part);                                                                    \
        if (strstr(is_, due_))                                                                                         \
            fail_msg("\"%s\": \"%s\" in \"%s\"", label, due_, is_);                                                    \
    } while (0)

#endif
