/* SPDX-License-Identifier: MIT
 *
 * Programs that build 60 MiB of small blocks, drop all but a hundredth of them, say "dropped", and go to sleep until a
 * signal ends them.
 *
 *     idlers WAIT            one thread, in poll, epoll_wait, select, nanosleep, clock_nanosleep, absolute, sleep,
 *                            usleep
 *     idlers trimmed         which has called malloc_trim
 *     idlers threads|pause   eight threads, which built the blocks, and wait for a condition or in pause
 *     idlers joins           the main thread waits for the thread that idlers-early has had from the beginning
 *     idlers child           the child of a process with several threads, in poll
 *     idlers child-threads   which starts threads of its own
 *     idlers closed          eight threads, and all descriptors closed but that which it speaks to
 */
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define THREADS 8
#define BLOCKS  60000 /* divisible by them */
#define BYTES   1000

static void *blocks[BLOCKS];

static void build(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        blocks[i] = malloc(BYTES);
        CHECK(blocks[i], "malloc");
        memset(blocks[i], 1, BYTES);
    }
}

static void drop(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        if (i % 100)
            free(blocks[i]);
}

static void say(const char *line)
{
    (void)!write(1, line, strlen(line));
}

/* ---- one thread ---- */

static void wait_in(const char *name)
{
    const struct timespec wait = {.tv_sec = 100};
    struct timespec until;
    struct epoll_event event;
    int fds[2];
    CHECK(pipe(fds) == 0, "pipe");
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 100;
    say("dropped\n");
    if (strcmp(name, "poll") == 0) {
        poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, -1);
    } else if (strcmp(name, "epoll_wait") == 0) {
        epoll_wait(epoll_create1(0), &event, 1, 100000);
    } else if (strcmp(name, "select") == 0) {
        fd_set in;
        FD_ZERO(&in);
        FD_SET(fds[0], &in);
        select(fds[0] + 1, &in, NULL, NULL, NULL);
    } else if (strcmp(name, "nanosleep") == 0) {
        nanosleep(&wait, NULL);
    } else if (strcmp(name, "clock_nanosleep") == 0) {
        clock_nanosleep(CLOCK_REALTIME, 0, &wait, NULL);
    } else if (strcmp(name, "absolute") == 0) {
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    } else if (strcmp(name, "sleep") == 0) {
        sleep(100);
    } else if (strcmp(name, "usleep") == 0) {
        usleep(100000000);
    } else {
        pause();
    }
}

/* ---- several ---- */

static pthread_barrier_t barrier;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int is_for_condition;

static void *work(void *number)
{
    unsigned share = BLOCKS / THREADS;
    unsigned first = *(unsigned *)number * share;
    build(first, share);
    pthread_barrier_wait(&barrier);
    drop(first, share);
    pthread_barrier_wait(&barrier);
    if (is_for_condition) {
        pthread_mutex_lock(&mutex);
        for (;;)
            pthread_cond_wait(&condition, &mutex);
    }
    for (;;)
        pause();
    return NULL;
}

static void burst(void)
{
    static unsigned numbers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0, "pthread_create");
    }
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *rest(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void become_child(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, rest, NULL) == 0, "pthread_create");
    pid_t parent = getpid();
    if (fork()) {
        for (;;)
            pause();
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK(getppid() == parent, "an orphan");
}

int main(int argc, char **argv)
{
    CHECK(argc == 2, "which?");
    const char *name = argv[1];
    if (strncmp(name, "child", 5) == 0)
        become_child();
    is_for_condition = strcmp(name, "pause") != 0;
    if (strcmp(name, "threads") == 0 || strcmp(name, "pause") == 0 || strcmp(name, "child-threads") == 0) {
        burst();
        say("dropped\n");
        rest(NULL);
    }
    if (strcmp(name, "closed") == 0) {
        for (int fd = 2; fd < 1024; fd++)
            close(fd);
        close(0);
        burst();
        say("dropped\n");
        rest(NULL);
    }
    build(0, BLOCKS);
    drop(0, BLOCKS);
    if (strcmp(name, "trimmed") == 0)
        malloc_trim(0);
    wait_in(strcmp(name, "child") == 0 ? "poll" : name);
    return 0;
}
