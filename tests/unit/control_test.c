/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "segment_builder.h"
#include "syscall.h"

#define MS UINT64_C(1000000)

/* A segment in a file, its view, and its control section, shared with whoever asks. */
struct asked {
    struct mw_segment_view view;
    struct mw_segment_control *control;
    int fd;
};

static int setup(void **state)
{
    static struct asked asked;
    struct segment_builder builder;
    struct mw_error error;
    segment_builder_start(&builder, &segment_builder_tiny);
    asked.fd = segment_builder_file(&builder, builder.length);
    uint64_t offset = builder.header->sections[MW_SEGMENT_CONTROL].offset_bytes;
    segment_builder_free(&builder);
    asked.control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, asked.fd, (off_t)offset);
    *state = &asked;
    return asked.control != MAP_FAILED && mw_segment_read(asked.fd, &asked.view, &error) ? 0 : -1;
}

static int teardown(void **state)
{
    struct asked *asked = *state;
    munmap(asked->control, 4096);
    mw_segment_view_free(&asked->view);
    close(asked->fd);
    return 0;
}

/* A monitor that answers once, as segment.h has it. */
static pid_t start_monitor(struct mw_segment_control *control, int64_t result)
{
    pid_t monitor = fork();
    if (monitor)
        return monitor;
    uint32_t seen = __atomic_load_n(&control->answered, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; __atomic_load_n(&control->asked, __ATOMIC_ACQUIRE) == seen && i < 10000; i++)
        mw_sys_sleep_until(mw_clock_ns(CLOCK_MONOTONIC) + MS);
    control->result = result;
    control->pause_ns = 9 * MS;
    control->spare[0] = control->interval_ns;
    control->spare[1] = control->what;
    __atomic_store_n(&control->answered, control->asked, __ATOMIC_RELEASE);
    mw_syscall6(SYS_futex, (long)&control->answered, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
    _exit(0);
}

static void an_answer_comes_back(void **state)
{
    struct asked *asked = *state;
    for (int i = 1; i <= 3; i++) {
        const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM | MW_SEGMENT_ASK_INTERVAL,
                                                   .interval_ns = 100 * MS};
        struct mw_control_answer answer;
        struct mw_error error;
        pid_t monitor = start_monitor(asked->control, i * 1000);
        assert_true(monitor > 0);
        uint64_t before_ns = mw_clock_ns(CLOCK_MONOTONIC);
        assert_true(mw_control_ask(asked->fd, &asked->view, &request, 20000 * MS, &answer, &error));
        assert_true(mw_clock_ns(CLOCK_MONOTONIC) - before_ns < 10000 * MS); /* woken, not timed out */
        assert_int_equal(answer.result, i * 1000);
        assert_int_equal(answer.pause_ns, 9 * MS);
        assert_int_equal(asked->control->asked, i);
        assert_int_equal(asked->control->owner, 0);
        assert_int_equal(asked->control->spare[0], 100 * MS);
        assert_int_equal(asked->control->spare[1], request.what);
        waitpid(monitor, NULL, 0);
    }
}

/* The process wakes its monitor by the same word that asks. */
static void an_answer_to_more_than_was_asked(void **state)
{
    struct asked *asked = *state;
    const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
    struct mw_control_answer answer;
    struct mw_error error;
    asked->control->asked = UINT32_MAX - 1;
    asked->control->answered = 1; /* past what we are about to ask, and past 0 */
    asked->control->result = 7;
    assert_true(mw_control_ask(asked->fd, &asked->view, &request, 1000 * MS, &answer, &error));
    assert_int_equal(answer.result, 7);
}

static void nobody_answers(void **state)
{
    struct asked *asked = *state;
    const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
    struct mw_control_answer answer;
    struct mw_error error;
    assert_false(mw_control_ask(asked->fd, &asked->view, &request, 1000 * MS, &answer, &error));
    assert_string_equal(error.text, "does not answer within 1 s");
    assert_int_equal(asked->control->owner, 0); /* let go of, for the next */
}

static void another_is_asking(void **state)
{
    struct asked *asked = *state;
    const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
    struct mw_control_answer answer;
    struct mw_error error;
    asked->control->owner = (uint32_t)getppid();
    assert_false(mw_control_ask(asked->fd, &asked->view, &request, 50 * MS, &answer, &error));
    assert_non_null(strstr(error.text, "is being asked by process "));
    assert_int_equal(asked->control->owner, getppid());
    assert_int_equal(asked->control->asked, 0);
}

static void one_that_was_killed_while_asking(void **state)
{
    struct asked *asked = *state;
    const uint32_t owners[] = {UINT32_MAX, 0x7ffffffe}; /* no pid is as large */
    for (size_t i = 0; i < COUNT(owners); i++) {
        const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
        struct mw_control_answer answer;
        struct mw_error error;
        asked->control->owner = owners[i];
        pid_t monitor = start_monitor(asked->control, -ENOTSUP);
        assert_true(mw_control_ask(asked->fd, &asked->view, &request, 20000 * MS, &answer, &error));
        assert_int_equal(answer.result, -ENOTSUP);
        waitpid(monitor, NULL, 0);
    }
}

static int ask_what_is_cut_off(void *context)
{
    struct asked *asked = context;
    const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
    struct mw_control_answer answer;
    struct mw_error error;
    if (ftruncate(asked->fd, 4096))
        return 2;
    return mw_control_ask(asked->fd, &asked->view, &request, 1000 * MS, &answer, &error) ? 3 : 4;
}

static void a_file_that_is_cut_off_meanwhile(void **state)
{
    assert_int_equal(run_in_child(ask_what_is_cut_off, *state), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_comes_back), TEST(an_answer_to_more_than_was_asked), TEST(nobody_answers),
        TEST(another_is_asking),    TEST(one_that_was_killed_while_asking), TEST(a_file_that_is_cut_off_meanwhile),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
