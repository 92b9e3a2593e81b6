/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define DEADLINE_MS 20000

int run_in_child(int (*body)(void *), void *context)
{
    int status;
    fflush(NULL); /* or it would be printed twice */
    pid_t child = fork();
    if (child == 0)
        _exit(body(context));
    assert_true(child > 0);
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    assert_return_code(ended.fd, 0);
    int in_time = poll(&ended, 1, DEADLINE_MS);
    close(ended.fd);
    if (in_time != 1)
        kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (in_time != 1)
        return CHILD_DEADLINE_PASSED;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
