/* SPDX-License-Identifier: MIT
 *
 * prctl: the calling thread puts a filter on its system calls, or is about to (who has no privilege must first give up
 * gaining any). From then on it is not made to do what it would not have done by itself.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>

#include "real.h"
#include "trim.h"

#define EXPORT __attribute__((visibility("default")))

static int (*real_prctl)(int, unsigned long, unsigned long, unsigned long, unsigned long);

/* At the start: the call is made between fork and exec, where the loader's lock may be held for ever. */
__attribute__((constructor)) static void find(void)
{
    void *found = mw_real_find("prctl");
    memcpy(&real_prctl, &found, sizeof found); /* ISO C has no cast from object to function */
}

EXPORT int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list list;
    va_start(list, option);
    for (unsigned i = 0; i < 4; i++)
        arguments[i] = va_arg(list, unsigned long); // NOLINT(clang-analyzer-valist.Uninitialized)
    va_end(list);
    if (option == PR_SET_SECCOMP || option == PR_SET_NO_NEW_PRIVS)
        mw_trim_withdraw(option == PR_SET_SECCOMP);
    if (!real_prctl) /* a library's constructor, before ours */
        find();
    return real_prctl(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}
