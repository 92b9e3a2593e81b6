/* SPDX-License-Identifier: MIT
 *
 * _exit and _Exit: the process ends by itself, past all handlers, as forked workers do. Its segment is not one of a
 * process that was killed.
 */
#include <unistd.h>

#include "record.h"
#include "syscall.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT _Noreturn void _exit(int status)
{
    mw_record_end(status);
    for (;;) /* what libc does */
        mw_syscall6(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

// NOLINTNEXTLINE(bugprone-reserved-identifier)
EXPORT _Noreturn void _Exit(int status)
{
    _exit(status);
}
