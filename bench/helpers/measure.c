/* SPDX-License-Identifier: MIT
 *
 * measure DEADLINE_S FD [NAME=VALUE|@FILE]... -- PROGRAM [ARGUMENT]...
 *
 * Runs a program with these variables added to its environment, and writes one line to FD. Into a FILE the program's
 * process writes 0 before it becomes the program: so it joins a cgroup. The line:
 *     exited|killed|deadline STATUS WALL_NS CPU_US PEAK_RSS_KIB
 * CPU time and peak RSS are those of the program and of all descendants that were waited for.
 *
 * It exists because a process inherits, through exec, the peak RSS of the one that started it: what Python starts has
 * never had less than Python. Nothing that it starts outlives it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(125);
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static uint64_t microseconds(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000U + (uint64_t)time.tv_usec;
}

static void join_group(const char *path)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, "0", 1) == 1)
        return;
    perror(path);
    _exit(127);
}

static void become(char **assignments, char **program, const sigset_t *mask)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    for (; strcmp(*assignments, "--") != 0; assignments++) {
        if (**assignments == '@')
            join_group(*assignments + 1);
        else
            putenv(*assignments);
    }
    execvp(program[0], program);
    perror(program[0]);
    _exit(127);
}

/* Waits for SIGCHLD. False: the time is up, or we are to end. */
static bool ends_within(const sigset_t *awaited, uint64_t begin_ns, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t spent_ns = now_ns() - begin_ns;
        if (spent_ns >= deadline_ns)
            return false;
        uint64_t left_ns = deadline_ns - spent_ns;
        struct timespec left = {(time_t)(left_ns / 1000000000U), (long)(left_ns % 1000000000U)};
        int received = sigtimedwait(awaited, NULL, &left);
        if (received > 0)
            return received == SIGCHLD;
    }
}

int main(int argc, char **argv)
{
    int separator = 3;
    while (separator < argc && strcmp(argv[separator], "--") != 0)
        separator++;
    if (separator + 1 >= argc) {
        fprintf(stderr, "usage: measure DEADLINE_S FD [NAME=VALUE|@FILE]... -- PROGRAM [ARGUMENT]...\n");
        return 125;
    }
    uint64_t deadline_ns = strtoull(argv[1], NULL, 10) * 1000000000U;
    int fd = (int)strtol(argv[2], NULL, 10);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        die("no such descriptor");

    sigset_t awaited, before;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    sigaddset(&awaited, SIGINT);
    sigaddset(&awaited, SIGTERM);
    sigprocmask(SIG_BLOCK, &awaited, &before);

    uint64_t begin_ns = now_ns();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        become(argv + 3, argv + separator + 1, &before);
    bool in_time = ends_within(&awaited, begin_ns, deadline_ns);
    uint64_t wall_ns = now_ns() - begin_ns;
    setpgid(child, child); /* should it not have come to that itself */
    kill(-child, SIGKILL); /* what it left behind, or itself */

    int status;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0) {
        if (errno != EINTR)
            die("wait4");
    }
    dprintf(fd, "%s %d %" PRIu64 " %" PRIu64 " %ld\n",
            !in_time            ? "deadline"
            : WIFEXITED(status) ? "exited"
                                : "killed",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), wall_ns,
            microseconds(usage.ru_utime) + microseconds(usage.ru_stime), usage.ru_maxrss);
    return 0;
}
