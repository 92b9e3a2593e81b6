/* SPDX-License-Identifier: MIT
 *
 * What programs with several threads do, and a further thread must not hinder.
 *
 *     several last      the main thread ends by itself, and then the last of the others: handlers run, status 0
 *     several userns    all threads have been joined: a user namespace may be entered
 *     several setuid    another user becomes all threads, and says "ready" and sleeps for ever
 *     several exit      what it has built is dropped, and at a byte it exits with 7
 *     several short     2,000 threads come and go; says how many tasks there are then
 *     several fork      a child works, with threads of its own
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define BLOCKS 60000

static void *blocks[BLOCKS];

static void say(const char *line)
{
    (void)!write(1, line, strlen(line));
}

static pthread_t start(void *(*run)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0, "pthread_create");
    return thread;
}

static void *nothing(void *unused)
{
    free(malloc(1000));
    return unused;
}

static void *rest(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void at_exit(void)
{
    for (unsigned i = 0; i < 1000; i++)
        free(malloc(10 + (size_t)i * 10));
    say("handler\n");
}

static void *end_last(void *unused)
{
    usleep(300000);
    say("last\n");
    return unused;
}

static unsigned tasks(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory, "/proc/self/task");
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void build_and_drop(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = memset(malloc(1000), 1, 1000);
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 100)
            free(blocks[i]);
}

static void fork_and_work(void)
{
    start(rest);
    pid_t child = fork();
    if (child == 0) {
        for (unsigned i = 0; i < 20; i++)
            pthread_join(start(nothing), NULL);
        build_and_drop();
        start(rest);
        say("child\n");
        _exit(5);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 5, "status %x", status);
}

int main(int argc, char **argv)
{
    char byte;
    CHECK(argc == 2, "which?");
    const char *name = argv[1];
    if (strcmp(name, "last") == 0) {
        atexit(at_exit);
        start(end_last);
        pthread_exit(NULL);
    } else if (strcmp(name, "userns") == 0) {
        pthread_join(start(nothing), NULL);
        CHECK(unshare(CLONE_NEWUSER) == 0, "%s", strerror(errno));
        say("inside\n");
    } else if (strcmp(name, "setuid") == 0) {
        start(rest);
        CHECK(setgid(12345) == 0 && setuid(12345) == 0, "%s", strerror(errno));
        say("ready\n");
        rest(NULL);
    } else if (strcmp(name, "exit") == 0) {
        atexit(at_exit);
        start(rest);
        build_and_drop();
        say("ready\n");
        (void)!read(0, &byte, 1);
        exit(7);
    } else if (strcmp(name, "short") == 0) {
        for (unsigned i = 0; i < 2000; i++)
            pthread_join(start(nothing), NULL);
        printf("%u\n", tasks());
    } else if (strcmp(name, "fork") == 0) {
        fork_and_work();
        say("parent\n");
    }
    return 0;
}
