/* SPDX-License-Identifier: MIT
 *
 * Processes that this one may or may not have started: what /proc says of them, and how they ended.
 */
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adopt.h"
#include "check.h"
#include "scratch.h"

/* Fields 5 to 8, 10 to 21, 23 to 27 and 29 to 51 of a line as kernels print them. */
#define TO_8   " 7 6 0 -1"
#define TO_21  " 0 0 0 0 0 0 0 0 20 0 1 0"
#define TO_27  " 10 20 30 40 50"
#define TO_51  " 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0"
#define WHOLE  TO_8 " 4194304" TO_21 " 1234" TO_27 " 140000" TO_51 " 9\n"
#define WORKER TO_8 " 2129984" TO_21 " 5" TO_27 " 0" TO_51 " 0\n"

static void a_stat_line_is_read_whatever_the_name_holds(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        char state;
        int parent;
    } cases[] = {
        {"7 (app) S 1" WHOLE, "app", 'S', 1},
        {"7 () Z 41" WHOLE, "", 'Z', 41},
        {"7 (a b) R 1) R 1" WHOLE, "a b) R 1", 'R', 1},
        {"7 ()) R 1" WHOLE, ")", 'R', 1},
        {"7 (\x1b[2J\n\xff) R 1" WHOLE, "?[2J??", 'R', 1},
        {"7 ((sd-pam)) S 1" WHOLE, "(sd-pam)", 'S', 1},
        {"7 (0123456789012345678901234567890123456789012345678901234567890123456789) S 0" WHOLE,
         "012345678901234567890123456789012345678901234567890123456789012", 'S', 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_process_stat stat;
        char *text = strdup(cases[i].text); /* so that a read behind its end is seen by the address sanitizer */
        CHECK(cases[i].name, mw_process_stat_parse(text, &stat));
        free(text);
        CHECK_TEXT(cases[i].name, stat.name, cases[i].name);
        CHECK_I64(cases[i].name, stat.state, cases[i].state);
        CHECK_I64(cases[i].name, stat.parent, cases[i].parent);
        CHECK_I64(cases[i].name, stat.session, 6);
        CHECK_U64(cases[i].name, stat.start_ticks, 1234);
        CHECK_U64(cases[i].name, stat.stack_start, 140000);
        CHECK_I64(cases[i].name, stat.wait_status, 9);
        CHECK(cases[i].name, !mw_process_is_kernels(&stat));
    }
}

static void what_is_no_stat_line_is_refused(void **state)
{
    static const char *const cases[] = {"",
                                        "7",
                                        "7 (app",
                                        "7 app) S 1",
                                        ")(",
                                        "7 (app)",
                                        "7 (app) ",
                                        "7 (app) S",
                                        "7 (app) S ",
                                        "7 (app) S x" WHOLE,
                                        "()",
                                        "7 (app)S 1" WHOLE,
                                        "7 (app) SS 1" WHOLE,
                                        "7 (app) S 1" TO_8 " 4194304" TO_21};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_process_stat stat;
        char *text = strdup(cases[i]);
        CHECK(cases[i], !mw_process_stat_parse(text, &stat));
        free(text);
    }
}

/* Linux before 3.5 told no exit status. */
static void a_shorter_line_has_zeros(void **state)
{
    struct mw_process_stat stat;
    (void)state;
    assert_true(mw_process_stat_parse("7 (app) S 1" TO_8 " 4194304" TO_21 " 1234", &stat));
    assert_int_equal(stat.start_ticks, 1234);
    assert_int_equal(stat.stack_start, 0);
    assert_int_equal(stat.wait_status, 0);
}

static void a_kernels_thread_is_known(void **state)
{
    struct mw_process_stat stat;
    (void)state;
    assert_true(mw_process_stat_parse("2 (kworker/0:1) I 2" WORKER, &stat));
    assert_true(mw_process_is_kernels(&stat));
}

/* ---- real ones ---- */

static void one_that_has_not_become_a_program_is_known_and_what_it_holds(void **state)
{
    struct mw_process_stat stat;
    uint64_t bytes = 0;
    int status;
    (void)state;
    assert_true(mw_process_read_stat(getpid(), &stat));
    assert_false(mw_process_is_before_exec(&stat));
    pid_t pid = fork();
    if (pid == 0)
        _exit(!mw_process_read_stat(getpid(), &stat) || !mw_process_is_before_exec(&stat));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(mw_process_resident(getpid(), &bytes));
    assert_true(bytes > 100 * 1024);
    assert_false(mw_process_resident(pid, &bytes));
}

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    assert_true(pid > 0);
    return pid;
}

static void stop_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void await_end(const struct mw_process *process)
{
    struct pollfd ended = {.fd = process->fd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 10000), 1);
}

static void check_refused(const char *what, int pid, const char *why)
{
    struct mw_process process;
    struct mw_error error = {0};
    unsigned open_before = open_descriptors();
    CHECK(what, !mw_process_open(&process, pid, &error));
    CHECK_HAS(what, error.text, why);
    CHECK(what, !strchr(error.text, '\n'));
    CHECK_U64(what, open_descriptors(), open_before);
}

_Noreturn static void *tell_number(void *context)
{
    pid_t *number = context;
    __atomic_store_n(number, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    for (;;)
        pause();
}

static void what_cannot_be_supervised_is_named(void **state)
{
    pthread_t thread;
    pid_t tid = 0;
    pid_t pid = start_sleeper();
    (void)state;
    check_refused("itself", getpid(), "is memwatch-run itself");
    assert_int_equal(pthread_create(&thread, NULL, tell_number, &tid), 0);
    while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
        sched_yield();
    check_refused("thread", tid, "is a thread of the process ");
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    check_refused("zombie", pid, "has ended already");
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    check_refused("gone", pid, "there is no process ");
}

/* Root's first process is of another user to everybody else. */
static void another_users_is_refused(void **state)
{
    (void)state;
    if (geteuid() == 0) { /* so that this is tried there too */
        pid_t root = start_sleeper();
        pid_t pid = fork();
        if (pid == 0) {
            struct mw_process process;
            struct mw_error error = {0};
            bool is_refused = setuid(65534) == 0 && !mw_process_open(&process, root, &error) &&
                              strstr(error.text, "is of another user (0): that takes root");
            _exit(is_refused ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        stop_and_reap(root);
        assert_int_equal(status, 0);
    } else {
        check_refused("root's", 1, "is of another user (0)");
    }
}

static void a_process_is_known_until_it_ends(void **state)
{
    struct mw_process process;
    struct mw_error error;
    pid_t pid = start_sleeper();
    unsigned open_before = open_descriptors();
    (void)state;
    assert_true(mw_process_open(&process, pid, &error));
    assert_string_equal(process.name, "process_test");
    assert_false(mw_process_has_ended(&process));
    assert_true(mw_process_age_ns(&process) < UINT64_C(60000000000));
    kill(pid, SIGKILL);
    await_end(&process);
    assert_true(mw_process_has_ended(&process));
    waitpid(pid, NULL, 0);
    assert_true(mw_process_has_ended(&process));
    mw_process_close(&process);
    assert_int_equal(open_descriptors(), open_before);
}

/* While it waits for its parent. */
static void the_status_is_known_of_one_that_is_not_reaped(void **state)
{
    static const int signals[] = {SIGKILL, SIGTERM};
    (void)state;
    for (size_t i = 0; i < COUNT(signals); i++) {
        struct mw_process process;
        struct mw_error error;
        int status = -1;
        pid_t pid = start_sleeper();
        assert_true(mw_process_open(&process, pid, &error));
        kill(pid, signals[i]);
        await_end(&process);
        assert_true(mw_process_wait_status(&process, &status));
        assert_int_equal(status, signals[i]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        mw_process_close(&process);
    }
}

/* After it has: by the descriptor where the kernel tells, else not at all; never a wrong one. */
static void the_status_of_one_that_is_reaped_is_right_or_not_known(void **state)
{
    struct mw_process process;
    struct mw_error error;
    int status = -1;
    pid_t pid = fork();
    (void)state;
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_true(mw_process_open(&process, pid, &error));
    stop_and_reap(pid);
    if (mw_process_wait_status(&process, &status))
        assert_int_equal(status, SIGKILL);
    else
        print_message("this kernel does not tell the status of processes that have been reaped\n");
    mw_process_close(&process);
}

/* A child of a child descends; neither a parent nor a sibling does. */
static void descent_is_by_parents(void **state)
{
    int ends[2];
    pid_t grandchild;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        grandchild = start_sleeper();
        (void)!write(ends[1], &grandchild, sizeof grandchild);
        for (;;)
            pause();
    }
    pid_t sibling = start_sleeper();
    assert_int_equal(read(ends[0], &grandchild, sizeof grandchild), sizeof grandchild);
    assert_true(mw_adopt_descends(child, child));
    assert_true(mw_adopt_descends(grandchild, child));
    assert_true(mw_adopt_descends(grandchild, getpid()));
    assert_false(mw_adopt_descends(getpid(), child));
    assert_false(mw_adopt_descends(child, grandchild));
    assert_false(mw_adopt_descends(sibling, child));
    assert_false(mw_adopt_descends(0, child));
    assert_false(mw_adopt_descends(-1, child));
    kill(grandchild, SIGKILL);
    stop_and_reap(child);
    stop_and_reap(sibling);
    close(ends[0]);
    close(ends[1]);
}

/* Tells of a grandchild, and then that its parent has gone. */
_Noreturn static void leave_orphan(bool leads, int telling)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (leads)
        setsid();
    if (fork() == 0) {
        pid_t orphan = fork();
        if (orphan > 0)
            _exit(write(telling, &orphan, sizeof orphan) != sizeof orphan);
        alarm(50); /* should the test fail before it is killed */
        for (;;)
            pause();
    }
    pid_t reaped = wait(NULL);
    (void)!write(telling, &reaped, sizeof reaped);
    for (;;)
        pause();
}

/* One whose parent has ended is known by its session, if that is the ancestor's. */
static void an_orphan_descends_by_its_session(void **state)
{
    (void)state;
    for (int leads = 0; leads < 2; leads++) {
        int ends[2];
        pid_t orphan;
        pid_t reaped;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0)
            leave_orphan(leads, ends[1]);
        assert_int_equal(read(ends[0], &orphan, sizeof orphan), sizeof orphan);
        assert_int_equal(read(ends[0], &reaped, sizeof reaped), sizeof reaped);
        assert_int_equal(mw_adopt_descends(orphan, child), leads);
        kill(orphan, SIGKILL);
        stop_and_reap(child);
        close(ends[0]);
        close(ends[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stat_line_is_read_whatever_the_name_holds),
        cmocka_unit_test(what_is_no_stat_line_is_refused),
        cmocka_unit_test(a_shorter_line_has_zeros),
        cmocka_unit_test(a_kernels_thread_is_known),
        cmocka_unit_test(one_that_has_not_become_a_program_is_known_and_what_it_holds),
        cmocka_unit_test(what_cannot_be_supervised_is_named),
        cmocka_unit_test(another_users_is_refused),
        cmocka_unit_test(a_process_is_known_until_it_ends),
        cmocka_unit_test(the_status_is_known_of_one_that_is_not_reaped),
        cmocka_unit_test(the_status_of_one_that_is_reaped_is_right_or_not_known),
        cmocka_unit_test(descent_is_by_parents),
        cmocka_unit_test(an_orphan_descends_by_its_session),
    };
    alarm(50); /* it waits for processes */
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
