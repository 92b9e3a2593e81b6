/* SPDX-License-Identifier: MIT
 *
 * A single-threaded program that finds out whether it still is one to libc, while it is being watched.
 *
 *     alone libc | strict | filter | setuid | userns
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile unsigned long turns;

static double turn(unsigned long count)
{
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned long i = 0; i < count; i++)
        turns = turns + 1;
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

static unsigned long turns_of_half_a_second(void)
{
    return (unsigned long)(5e6 / turn(10000000));
}

/* Long enough for many of the monitor's steps, and nothing but counting: in strict mode not even the clock is allowed.
 */
static void spin(unsigned long thousands)
{
    for (unsigned long i = 0; i < thousands; i++)
        for (unsigned k = 0; k < 1000; k++)
            turns = turns + 1;
}

static void say_and_end(const char *line)
{
    (void)!write(1, line, strlen(line));
    syscall(SYS_exit, 0); /* strict mode knows no exit_group */
}

/* Only write and exit, for this thread; anything else kills the process. */
static void install_filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "one argument");
    free(malloc(100));
    const unsigned long half_a_second = turns_of_half_a_second() / 1000;
    if (strcmp(argv[1], "libc") == 0) {
        spin(half_a_second);
        say_and_end(__libc_single_threaded ? "single\n" : "multi\n");
    } else if (strcmp(argv[1], "strict") == 0) {
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0, "%s", strerror(errno));
        spin(half_a_second);
        say_and_end("alive\n");
    } else if (strcmp(argv[1], "filter") == 0) {
        install_filter();
        spin(half_a_second);
        say_and_end("alive\n");
    } else if (strcmp(argv[1], "setuid") == 0) {
        CHECK(setgid(12345) == 0 && setuid(12345) == 0, "%s", strerror(errno));
        spin(half_a_second);
        say_and_end("given up\n");
    } else if (strcmp(argv[1], "userns") == 0) {
        CHECK(unshare(CLONE_NEWUSER) == 0, "%s", strerror(errno));
        spin(half_a_second);
        say_and_end("inside\n");
    }
    return 1;
}
