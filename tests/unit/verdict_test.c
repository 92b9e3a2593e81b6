/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <signal.h>

#include "check.h"

/* Wait statuses as waitpid tells them. */
#define EXITED(status)   ((status) << 8)
#define KILLED(signal)   (signal)
#define DUMPED(signal)   ((signal) | 0x80)
#define MIB              UINT64_C(1048576)
#define RAN_1_2_S        UINT64_C(1200000000)
#define GROUP(oom, peak) .has_group = true, .limit_bytes = 60 * MIB, .peak_bytes = (peak), .oom_kills = (oom)

static void only_a_sigkill_with_an_oom_kill_counted_is_the_oom_killers(void **state)
{
    static const struct {
        const char *what;
        struct mw_verdict_facts facts;
        enum mw_cause cause;
    } cases[] = {
        {"exit 0", {.wait_status = EXITED(0), GROUP(0, 1)}, MW_CAUSE_EXITED},
        {"exit 1, a child taken", {.wait_status = EXITED(1), GROUP(1, 1)}, MW_CAUSE_EXITED},
        {"exit 137 proves nothing", {.wait_status = EXITED(137), GROUP(1, 1)}, MW_CAUSE_EXITED},
        {"kill -9", {.wait_status = KILLED(SIGKILL), GROUP(0, 1)}, MW_CAUSE_SIGNALLED},
        {"OOM", {.wait_status = KILLED(SIGKILL), GROUP(1, 1)}, MW_CAUSE_OOM_KILLED},
        {"OOM of a whole group", {.wait_status = KILLED(SIGKILL), GROUP(7, 1)}, MW_CAUSE_OOM_KILLED},
        {"counter huge", {.wait_status = KILLED(SIGKILL), GROUP(UINT64_MAX, 1)}, MW_CAUSE_OOM_KILLED},
        {"kill -9, no group", {.wait_status = KILLED(SIGKILL)}, MW_CAUSE_SIGNALLED},
        {"kill -9, figures not known", {.wait_status = KILLED(SIGKILL), .oom_kills = 1}, MW_CAUSE_SIGNALLED},
        {"crash, a child taken", {.wait_status = KILLED(SIGSEGV), GROUP(1, 1)}, MW_CAUSE_SIGNALLED},
        {"crash with core", {.wait_status = DUMPED(SIGABRT), GROUP(0, 1)}, MW_CAUSE_SIGNALLED},
        {"SIGTERM, a child taken", {.wait_status = KILLED(SIGTERM), GROUP(2, 1)}, MW_CAUSE_SIGNALLED},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].what, mw_verdict_cause(&cases[i].facts), cases[i].cause);
}

static void exit_statuses_are_the_programs_own_or_128_plus_the_signal(void **state)
{
    (void)state;
    for (int status = 0; status < 256; status++)
        assert_int_equal(mw_verdict_exit_status(EXITED(status)), status);
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        assert_int_equal(mw_verdict_exit_status(KILLED(signal)), 128 + signal);
        assert_int_equal(mw_verdict_exit_status(DUMPED(signal)), 128 + signal);
    }
}

static void the_sentence_says_who_how_and_with_what(void **state)
{
    static const struct {
        const char *what;
        struct mw_verdict_facts facts;
        const char *has[8];
        const char *lacks[4];
    } cases[] = {
        {"OOM",
         {.wait_status = KILLED(SIGKILL), GROUP(1, 60 * MIB)},
         {"app (pid 7) was killed by the kernel's OOM killer after 1.2 s", "limit 60 MiB", "peak 60 MiB", "1 OOM kill"},
         {"signal", "OOM kills", "started", "\n"}},
        {"OOM of two",
         {.wait_status = KILLED(SIGKILL), GROUP(2, 60 * MIB)},
         {"was killed by the kernel's OOM killer", "2 OOM kills"},
         {"signal", "started"}},
        {"exit 3",
         {.wait_status = EXITED(3), GROUP(0, 5 * MIB)},
         {"app (pid 7) exited with status 3 after 1.2 s", "limit 60 MiB", "peak 5 MiB", "no OOM kill"},
         {"killed", "signal", "started"}},
        {"exit 0, a child taken",
         {.wait_status = EXITED(0), GROUP(1, 60 * MIB)},
         {"exited with status 0", "1 OOM kill", "of a process that it had started"},
         {"OOM killer"}},
        {"crash, a child taken",
         {.wait_status = DUMPED(SIGSEGV), GROUP(3, 60 * MIB)},
         {"killed by signal 11 (SIGSEGV)", "3 OOM kills", "of a process that it had started"},
         {"OOM killer"}},
        {"kill -9 in a group",
         {.wait_status = KILLED(SIGKILL), GROUP(0, 60 * MIB)},
         {"killed by signal 9 (SIGKILL)", "not by the OOM killer", "no OOM kill"},
         {"not known"}},
        {"kill -9 without a group",
         {.wait_status = KILLED(SIGKILL)},
         {"killed by signal 9 (SIGKILL)", "not known", "after 1.2 s"},
         {"not by the OOM killer", "limit", "peak", "OOM kills"}},
        {"no figures",
         {.wait_status = EXITED(0), .has_group = true},
         {"limit none", "peak not known", "no OOM kill"},
         {"0 B"}},
        {"a signal without a name", {.wait_status = KILLED(40)}, {"killed by signal 40", "after 1.2 s"}, {"SIG"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[512];
        struct mw_text text = MW_TEXT(buffer);
        struct mw_verdict_facts facts = cases[i].facts;
        facts.program = "app";
        facts.pid = 7;
        facts.ran_ns = RAN_1_2_S;
        mw_verdict_text(&text, &facts);
        CHECK(cases[i].what, !text.truncated);
        for (size_t k = 0; k < COUNT(cases[i].has) && cases[i].has[k]; k++)
            CHECK_HAS(cases[i].what, buffer, cases[i].has[k]);
        for (size_t k = 0; k < COUNT(cases[i].lacks) && cases[i].lacks[k]; k++)
            CHECK_LACKS(cases[i].what, buffer, cases[i].lacks[k]);
    }
}

/* A person reads "60 MiB", a script the bytes. */
static void figures_are_told_to_the_byte(void **state)
{
    char buffer[512];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    mw_verdict_text(&text, &(struct mw_verdict_facts){.program = "app",
                                                      .wait_status = KILLED(SIGKILL),
                                                      .has_group = true,
                                                      .limit_bytes = UINT64_MAX - 1,
                                                      .peak_bytes = 62914561,
                                                      .oom_kills = UINT64_MAX});
    CHECK_HAS("limit", buffer, "18446744073709551614");
    CHECK_HAS("peak", buffer, "62914561");
    CHECK_HAS("kills", buffer, "18446744073709551615 OOM kills");
}

static void a_long_name_is_cut_and_terminated(void **state)
{
    char name[600];
    char buffer[64];
    struct mw_text text = MW_TEXT(buffer);
    (void)state;
    memset(name, '\xff', sizeof name);
    name[sizeof name - 1] = '\0';
    mw_verdict_text(&text, &(struct mw_verdict_facts){.program = name, .wait_status = EXITED(0)});
    assert_true(text.truncated);
    assert_int_equal(strlen(buffer), sizeof buffer - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_sigkill_with_an_oom_kill_counted_is_the_oom_killers),
        cmocka_unit_test(exit_statuses_are_the_programs_own_or_128_plus_the_signal),
        cmocka_unit_test(the_sentence_says_who_how_and_with_what),
        cmocka_unit_test(figures_are_told_to_the_byte),
        cmocka_unit_test(a_long_name_is_cut_and_terminated),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
