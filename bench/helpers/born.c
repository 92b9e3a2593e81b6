/* SPDX-License-Identifier: MIT
 *
 * What launchers are given to start: it says when it began, and ends; or sleeps, when an argument is given. Linked
 * statically main is as good as the first instruction, so that what a launcher does is told from what a loader does.
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static void end(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    struct timespec now;
    char line[32];
    (void)argv;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        return 1;
    signal(SIGTERM, end); /* the first process of a namespace is not ended by what it does not handle */
    while (argc > 1)      // NOLINT(bugprone-infinite-loop): the signal ends it
        pause();
    return 0;
}
