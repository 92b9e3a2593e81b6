/* SPDX-License-Identifier: MIT
 *
 * limited PARENT LIMIT_FILE BYTES PROGRAM [ARGUMENT...]: the least that a limit can cost. Makes a cgroup, sets its
 * limit, starts the program in it, waits, and removes it; no signal is passed on, and nothing is found out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(const char *directory, const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        perror(path);
        _exit(125);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    char group[4096];
    int status;
    if (argc < 5)
        return 125;
    snprintf(group, sizeof group, "%s/memwatch-bench-limited-%d", argv[1], (int)getpid());
    if (mkdir(group, 0755)) {
        perror(group);
        return 125;
    }
    put(group, argv[2], argv[3]);
    pid_t pid = fork();
    if (pid == 0) {
        put(group, "cgroup.procs", "0");
        execvp(argv[4], argv + 4);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        status = 125 << 8;
    rmdir(group);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}
