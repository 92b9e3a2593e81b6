/* SPDX-License-Identifier: MIT
 *
 * orphans COUNT BATCH: as many processes lose their parent and then end, a batch of them at the same moment. Says so,
 * and ends when its standard input does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static pid_t start(void)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    return pid;
}

/* Blocks until no process has the pipe's other end any more. */
static void wait_for_close(int fd)
{
    char byte;
    while (read(fd, &byte, 1) > 0)
        continue;
}

/* One process a batch is the parent of all, in a session of its own, and ends before them. */
static void make_orphans(long count)
{
    int release[2];
    if (pipe(release))
        fail("pipe");
    pid_t parent = start();
    if (parent == 0) {
        setsid();
        for (long i = 0; i < count; i++) {
            if (start() == 0) {
                close(release[1]);
                wait_for_close(release[0]);
                _exit(0);
            }
        }
        _exit(0);
    }
    int status;
    if (waitpid(parent, &status, 0) != parent || status != 0)
        fail("a batch");
    close(release[0]);
    close(release[1]);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    long batch = strtol(argv[2], NULL, 10);
    for (long left = strtol(argv[1], NULL, 10); left > 0; left -= batch)
        make_orphans(batch < left ? batch : left);
    puts("all have ended or will");
    fflush(stdout);
    wait_for_close(STDIN_FILENO);
    return 0;
}
