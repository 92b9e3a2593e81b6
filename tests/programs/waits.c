/* SPDX-License-Identifier: MIT
 *
 * What the calls in which a program sleeps do, told on standard output: the same with the library and without. That a
 * wait lasts as long as it should is checked here.
 *
 *     waits NAME|errors|small|handler|sandbox [forked]
 *
 * NAME: poll, epoll_wait, select, nanosleep, clock_nanosleep, absolute (clock_nanosleep), sleep, usleep. errors: what
 * is wrong with the arguments. small: sets of select with room for what it looks at, and no more. handler: a signal
 * handler sleeps that has interrupted malloc. sandbox: a filter kills the program for any call but its own. forked: in
 * the child of a process that has a second thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define LATE_MS 900 /* on a busy machine */

static int never;       /* a descriptor that is never readable */
static int never_taken; /* and one that is never writable */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct timespec timespec_of(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* ---- the calls ---- */

/* Waits for so long, or for `ready` (-1: for nothing); returns what the call does, with what it says in errno.
 * *left_ms: what it says is left; -1: nothing. */
typedef int wait_function(int64_t ms, int ready, int64_t *left_ms);

static int wait_poll(int64_t ms, int ready, int64_t *left_ms)
{
    struct pollfd fds[] = {{.fd = never, .events = POLLIN, .revents = -1},
                           {.fd = ready, .events = POLLIN | POLLPRI, .revents = -1},
                           {.fd = never_taken, .events = POLLOUT, .revents = -1}};
    (void)left_ms;
    int result = poll(fds, 3, (int)ms);
    int saved = errno;
    if (result >= 0)
        printf("revents %d %d %d, ", fds[0].revents, fds[1].revents, fds[2].revents);
    errno = saved;
    return result;
}

static int wait_epoll_wait(int64_t ms, int ready, int64_t *left_ms)
{
    struct epoll_event events[2] = {{.events = 77}, {.events = 77}};
    int epoll = epoll_create1(0);
    (void)left_ms;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, never, &(struct epoll_event){.events = EPOLLIN, .data.u64 = 5}) == 0, "add");
    if (ready >= 0)
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ready,
                        &(struct epoll_event){.events = EPOLLIN, .data.u64 = UINT64_MAX}) == 0,
              "add");
    int result = epoll_wait(epoll, events, 2, (int)ms);
    int saved = errno;
    if (result > 0)
        printf("event %u data %llx, next %u, ", events[0].events, (unsigned long long)events[0].data.u64,
               events[1].events);
    close(epoll);
    errno = saved;
    return result;
}

static int wait_select(int64_t ms, int ready, int64_t *left_ms)
{
    fd_set in;
    fd_set out;
    struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(never, &in);
    FD_SET(never_taken, &out);
    if (ready >= 0)
        FD_SET(ready, &in);
    int result = select(FD_SETSIZE, &in, &out, NULL, ms < 0 ? NULL : &timeout);
    int saved = errno;
    printf("sets %d%d%d, ", FD_ISSET(never, &in), ready >= 0 && FD_ISSET(ready, &in), FD_ISSET(never_taken, &out));
    *left_ms = ms < 0 ? -1 : timeout.tv_sec * 1000 + timeout.tv_usec / 1000;
    errno = saved;
    return result;
}

static int wait_nanosleep(int64_t ms, int ready, int64_t *left_ms)
{
    struct timespec wait = timespec_of(ms);
    struct timespec left = {.tv_sec = -1};
    (void)ready;
    int result = nanosleep(&wait, &left);
    *left_ms = left.tv_sec < 0 ? -1 : left.tv_sec * 1000 + left.tv_nsec / 1000000;
    return result;
}

static int wait_clock_nanosleep(int64_t ms, int ready, int64_t *left_ms)
{
    struct timespec wait = timespec_of(ms);
    struct timespec left = {.tv_sec = -1};
    (void)ready;
    int result = clock_nanosleep(CLOCK_REALTIME, 0, &wait, &left);
    *left_ms = left.tv_sec < 0 ? -1 : left.tv_sec * 1000 + left.tv_nsec / 1000000;
    return result;
}

static int wait_absolute(int64_t ms, int ready, int64_t *left_ms)
{
    struct timespec now;
    struct timespec left = {.tv_sec = -1};
    (void)ready;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct timespec until = timespec_of(ms + now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1);
    int result = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left);
    *left_ms = left.tv_sec < 0 ? -1 : left.tv_sec * 1000 + left.tv_nsec / 1000000;
    return result;
}

static int wait_sleep(int64_t ms, int ready, int64_t *left_ms)
{
    (void)ready;
    errno = 99; /* which it keeps */
    unsigned left = sleep((unsigned)(ms / 1000));
    *left_ms = left ? (int64_t)left * 1000 : -1;
    return (int)left;
}

static int wait_usleep(int64_t ms, int ready, int64_t *left_ms)
{
    (void)ready;
    (void)left_ms;
    return usleep((useconds_t)ms * 1000);
}

static const struct {
    const char *name;
    wait_function *wait;
    bool has_descriptors;
    bool in_seconds;
} waits[] = {
    {"poll", wait_poll, .has_descriptors = true},
    {"epoll_wait", wait_epoll_wait, .has_descriptors = true},
    {"select", wait_select, .has_descriptors = true},
    {"nanosleep", wait_nanosleep, .has_descriptors = false},
    {"clock_nanosleep", wait_clock_nanosleep, .has_descriptors = false},
    {"absolute", wait_absolute, .has_descriptors = false},
    {"sleep", wait_sleep, .in_seconds = true},
    {"usleep", wait_usleep, .has_descriptors = false},
};

/* ---- one wait ---- */

/* What is left is told in steps of 2 s: that is exact enough to tell what is left of the wait from what is left of a
 * slice. */
static void one(wait_function *wait, int64_t ms, int ready, int64_t expected_ms)
{
    int64_t left_ms = -1;
    int64_t start_ms = now_ms();
    errno = 0;
    int result = wait(ms, ready, &left_ms);
    int error = errno;
    int64_t took_ms = now_ms() - start_ms;
    CHECK(took_ms >= expected_ms - 1, "%d ms, not %d", (int)took_ms, (int)expected_ms);
    CHECK(took_ms <= expected_ms + LATE_MS, "%d ms, not %d", (int)took_ms, (int)expected_ms);
    if (left_ms > 0)
        CHECK(left_ms <= ms - took_ms + 2 && left_ms >= ms - took_ms - 1500, "%d of %d left", (int)left_ms, (int)ms);
    printf("%d ms: %d, errno %d, %s\n", (int)ms, result, error,
           left_ms < 0    ? "untouched"
           : left_ms == 0 ? "nothing left"
                          : "the rest is left");
}

static void on_signal(int number)
{
    (void)number;
}

static void signal_in(int ms, int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static int ready_in(int ms)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec when = {.it_value = timespec_of(ms)};
    CHECK(fd >= 0 && timerfd_settime(fd, 0, &when, NULL) == 0, "timerfd");
    return fd;
}

static void tell(const char *name)
{
    unsigned i = 0;
    while (i < sizeof waits / sizeof waits[0] && strcmp(waits[i].name, name) != 0)
        i++;
    CHECK(i < sizeof waits / sizeof waits[0], "no such wait: %s", name);
    wait_function *wait = waits[i].wait;
    one(wait, 0, -1, 0);
    if (!waits[i].in_seconds) {
        one(wait, 10, -1, 10);
        one(wait, 1200, -1, 1200);
        one(wait, 2500, -1, 2500);
    } else {
        one(wait, 2000, -1, 2000);
    }
    /* once in the first slice, once in the second */
    signal_in(300, 0);
    one(wait, 5000, -1, 300);
    signal_in(1400, SA_RESTART);
    one(wait, 5000, -1, 1400);
    if (!waits[i].has_descriptors)
        return;
    one(wait, 5000, ready_in(1500), 1500);
    one(wait, -1, ready_in(2200), 2200);
    one(wait, 0, ready_in(1000), 0);
    signal_in(1400, 0);
    one(wait, -1, -1, 1400);
}

/* ---- what is wrong ---- */

static void said(const char *what, int result)
{
    printf("%s: %d, errno %d\n", what, result, errno);
    errno = 0;
}

static void *volatile nothing; /* for the compiler, that warns of it */

static void tell_errors(void)
{
    const struct timespec wrong[] = {
        {.tv_sec = 3, .tv_nsec = -1}, {.tv_sec = 3, .tv_nsec = 1000000000}, {.tv_sec = -3}};
    const struct timespec right = {.tv_sec = 3};
    const struct timespec past = {.tv_sec = 1};
    struct timespec left = {.tv_sec = 7, .tv_nsec = 7};
    struct epoll_event event;
    fd_set set;
    int epoll = epoll_create1(0);
    int closed = dup(0);
    close(closed);
    for (unsigned i = 0; i < 3; i++) {
        said("nanosleep", nanosleep(&wrong[i], &left));
        said("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &wrong[i], &left));
        said("absolute", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wrong[i], &left));
    }
    said("nanosleep NULL", nanosleep(nothing, &left));
    said("clock_nanosleep NULL", clock_nanosleep(CLOCK_MONOTONIC, 0, nothing, &left));
    said("clock_nanosleep of no clock", clock_nanosleep(77, 0, &right, &left));
    said("clock_nanosleep of the thread's CPU clock", clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &right, &left));
    said("in the past", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, &left));
    said("in the past of day", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, &left));
    printf("left %d %d\n", (int)left.tv_sec, (int)left.tv_nsec);
    said("poll NULL", poll(nothing, 3, 3000));
    said("poll of too many", poll(nothing, 1U << 30, 3000));
    struct pollfd polled = {.fd = closed, .events = POLLIN};
    said("poll of a closed one", poll(&polled, 1, 3000));
    printf("revents %d\n", polled.revents);
    said("epoll_wait of a closed one", epoll_wait(closed, &event, 1, 3000));
    said("epoll_wait of another", epoll_wait(0, &event, 1, 3000));
    said("epoll_wait for nothing", epoll_wait(epoll, &event, 0, 3000));
    FD_ZERO(&set);
    FD_SET(closed, &set);
    said("select of a closed one", select(closed + 1, &set, NULL, NULL, &(struct timeval){.tv_sec = 3}));
    printf("set %d\n", FD_ISSET(closed, &set));
    said("select of less than none", select(-1, NULL, NULL, NULL, &(struct timeval){.tv_sec = 3}));
    said("select for less than no time", select(0, NULL, NULL, NULL, &(struct timeval){.tv_sec = -3}));
    struct timeval odd = {.tv_sec = 1, .tv_usec = 1500000};
    int64_t start_ms = now_ms();
    said("select with many microseconds", select(0, NULL, NULL, NULL, &odd));
    CHECK(now_ms() - start_ms >= 2499, "too short");
    said("usleep of none", usleep(0));
    said("sleep of none", (int)sleep(0));
}

/* ---- what needs care ---- */

static void small(void)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0, "mmap");
    fd_set *set = (fd_set *)(void *)(pages + 4096 - sizeof(fd_mask));
    struct timeval timeout = {.tv_sec = 2, .tv_usec = 200000};
    ((fd_mask *)set)[0] = (fd_mask)1 << never;
    printf("%d\n", select(never + 1, set, NULL, NULL, &timeout));
    printf("%lx\n", (unsigned long)((fd_mask *)set)[0]);
}

#define BLOCKS 60000

static char *blocks[BLOCKS];

/* Every hundredth stays. */
static void build_and_drop(void)
{
    for (unsigned i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(1000);
        memset(blocks[i], 1, 1000);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (i % 100)
            free(blocks[i]);
}

static void sleep_in_handler(int number)
{
    (void)number;
    sleep(5);
    (void)!write(1, "survived\n", 9);
    _exit(0);
}

/* Nearly all the time in glibc's consolidation, with no lock: whoever trims in between finds a heap in pieces. */
_Noreturn static void handler(void)
{
    const struct itimerval timer = {.it_value = {.tv_usec = 20000}};
    build_and_drop();
    signal(SIGALRM, sleep_in_handler);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (;;) {
        void *large[64];
        for (unsigned i = 0; i < 64; i++)
            large[i] = malloc(2000 + 500 * i);
        for (unsigned i = 0; i < 64; i++)
            free(large[i]);
    }
}

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void enter_sandbox(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(poll),
        ALLOW(write),
        ALLOW(futex),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs: %s", strerror(errno));
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: %s", strerror(errno));
}

/* There is enough time before it for the monitor to ask for a trim that nobody comes by to do. */
static void sandbox(void)
{
    struct pollfd fd = {.fd = never, .events = POLLIN};
    build_and_drop();
    for (int64_t end_ms = now_ms() + 1500; now_ms() < end_ms;) {
    }
    enter_sandbox();
    int result = poll(&fd, 1, 4000);
    (void)!write(1, result == 0 ? "alive\n" : "other\n", 6);
    syscall(SYS_exit_group, 0);
}

static int full_pipe(void)
{
    static const char junk[4096];
    int fds[2];
    CHECK(pipe2(fds, O_NONBLOCK) == 0, "pipe2");
    while (write(fds[1], junk, sizeof junk) > 0) {
    }
    return fds[1];
}

static void *rest(void *unused)
{
    for (;;)
        pause();
    return unused;
}

/* In the child, which is alone. */
static void be_forked(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, rest, NULL) == 0, "pthread_create");
    pid_t child = fork();
    if (child) {
        int status;
        CHECK(waitpid(child, &status, 0) == child, "waitpid");
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
    }
}

int main(int argc, char **argv)
{
    int fds[2];
    CHECK(argc > 1, "which?");
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(pipe(fds) == 0, "pipe");
    never = fds[0];
    never_taken = full_pipe();
    if (argc > 2)
        be_forked();
    if (strcmp(argv[1], "errors") == 0)
        tell_errors();
    else if (strcmp(argv[1], "small") == 0)
        small();
    else if (strcmp(argv[1], "handler") == 0)
        handler();
    else if (strcmp(argv[1], "sandbox") == 0)
        sandbox();
    else
        tell(argv[1]);
    return 0;
}
