/* SPDX-License-Identifier: MIT
 *
 * startup COUNT [PROGRAM]: starts a program so many times, one after the other.
 */
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload.h"

int main(int argc, char **argv)
{
    char *program[] = {argc > 2 ? argv[2] : "/bin/true", NULL};
    for (uint64_t left = number(argc, argv, 1, 1000); left; left--) {
        pid_t child;
        int status;
        must(posix_spawn(&child, program[0], NULL, NULL, program, environ) == 0, program[0]);
        must(waitpid(child, &status, 0) == child && status == 0, "the program did not succeed");
    }
}
