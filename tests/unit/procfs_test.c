/* SPDX-License-Identifier: MIT */
#include "procfs.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define KIB UINT64_C(1024)

/* As a 6.1 kernel prints it, cut to what matters and what looks like it. */
static const char sample[] = "Name:\tpostgres\n"
                             "Umask:\t0022\n"
                             "State:\tS (sleeping)\n"
                             "Pid:\t4321\n"
                             "FDSize:\t256\n"
                             "VmPeak:\t  300000 kB\n"
                             "VmSize:\t  299999 kB\n"
                             "VmLck:\t       0 kB\n"
                             "VmHWM:\t   50004 kB\n"
                             "VmRSS:\t   40004 kB\n"
                             "RssAnon:\t   30000 kB\n"
                             "RssFile:\t   10000 kB\n"
                             "VmData:\t  123456 kB\n"
                             "VmStk:\t     132 kB\n"
                             "VmExe:\t    5000 kB\n"
                             "VmSwap:\t      12 kB\n"
                             "HugetlbPages:\t       0 kB\n"
                             "Threads:\t17\n"
                             "SigQ:\t0/63432\n";

static struct mw_proc_status parse(const char *text)
{
    struct mw_proc_status status;
    char *exact = strdup(text); /* so that a read behind its end is seen by the address sanitizer */
    memset(&status, 0xa5, sizeof status);
    mw_proc_status_parse(exact, &status);
    free(exact);
    return status;
}

static void a_status_is_read(void **state)
{
    struct mw_proc_status status = parse(sample);
    (void)state;
    assert_string_equal(status.comm, "postgres");
    assert_int_equal(status.vm_rss_bytes, 40004 * KIB);
    assert_int_equal(status.vm_hwm_bytes, 50004 * KIB);
    assert_int_equal(status.vm_swap_bytes, 12 * KIB);
    assert_int_equal(status.vm_data_bytes, 123456 * KIB);
    assert_int_equal(status.vm_stk_bytes, 132 * KIB);
    assert_int_equal(status.rss_anon_bytes, 30000 * KIB);
    assert_int_equal(status.threads, 17);
}

/* A zombie and a kernel thread have no Vm lines; a text may break off anywhere. */
static void what_the_text_does_not_hold_is_0(void **state)
{
    const struct mw_proc_status none = {0};
    struct mw_proc_status status = parse("");
    (void)state;
    assert_memory_equal(&status, &none, sizeof none);
    status = parse("\n\n:\n\tVmRSS:\t5 kB\n VmRSS: 5 kB\nXVmRSS:\t5 kB\nvmrss:\t5 kB\nVmRSSX:\t5 kB\nVmRSS\n");
    assert_memory_equal(&status, &none, sizeof none);
    for (size_t length = 0; length < sizeof sample; length++) {
        char *text = strdup(sample);
        text[length] = '\0';
        struct mw_proc_status cut = parse(text);
        free(text);
        const char *threads = strstr(sample, "Threads:\t17");
        if (sample + length < threads + sizeof "Threads:\t" - 1)
            assert_int_equal(cut.threads, 0);
        assert_true(cut.vm_hwm_bytes <= 50004 * KIB);
    }
}

static void names_of_every_shape(void **state)
{
    static const struct {
        const char *text;
        const char *comm;
    } cases[] = {
        {"Name:\ta\n", "a"},
        {"Name:\ta b:c\n", "a b:c"},
        {"Name:\ta\\nb\\\\\n", "a\\nb\\\\"}, /* the kernel's escapes stay */
        {"Name:\t\n", ""},
        {"Name:\t", ""},
        {"Name:", ""},
        {"Name:\tno newline", "no newline"},
        {"Name:\t\xff\x01\n", "\xff\x01"},
        {"Name:\tVmRSS:\t5 kB\nVmRSS:\t7 kB\n", "VmRSS:\t5 kB"},
        {"Name:\t0123456789012345678901234567890123456789012345678901234567890123456789\n",
         "012345678901234567890123456789012345678901234567890123456789012"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_proc_status status = parse(cases[i].text);
        CHECK_TEXT(cases[i].text, status.comm, cases[i].comm);
        CHECK(cases[i].text, strlen(status.comm) < MW_COMM_BYTES);
    }
    assert_int_equal(parse(cases[8].text).vm_rss_bytes, 7 * KIB); /* a name cannot forge a line */
}

static void keys_and_values(void **state)
{
    static const struct {
        const char *text;
        const char *key;
        bool found;
        uint64_t value;
    } cases[] = {
        {"oom_kill 3\n", "oom_kill", true, 3},
        {"oom_kill 3", "oom_kill", true, 3},
        {"a 1\noom_kill 3\nb 2\n", "oom_kill", true, 3},
        {"oom_kill_disable 1\nunder_oom 0\noom_kill 3\n", "oom_kill", true, 3},
        {"oom_group_kill 9\noom_kill 3\n", "oom_kill", true, 3},
        {"total_inactive_file 1\ninactive_file 2\n", "inactive_file", true, 2},
        {"VmRSS:\t   12 kB\n", "VmRSS", true, 12 * KIB},
        {"VmRSS: 12\n", "VmRSS", true, 12},
        {"limit max\n", "limit", true, UINT64_MAX},
        {"n 18446744073709551615\n", "n", true, UINT64_MAX},
        {"n 18014398509481983 kB\n", "n", true, UINT64_MAX - 1023},
        {"n 1\nn 2\n", "n", true, 1}, /* the first counts */
        {"n x\nn 2\n", "n", false, 0},
        {"", "n", false, 0},
        {"\n", "n", false, 0},
        {"n", "n", false, 0},
        {"n\n", "n", false, 0},
        {"n \n", "n", false, 0},
        {"n:\n5\n", "n", false, 0},
        {"n \n5\n", "n", false, 0},
        {"m 1\n", "n", false, 0},
        {" n 1\n", "n", false, 0},
        {"n5\n", "n", false, 0},
        {"n=5\n", "n", false, 0},
        {"N 5\n", "n", false, 0},
        {"n -1\n", "n", false, 0},
        {"n +1\n", "n", false, 0},
        {"n 1.5\n", "n", false, 0},
        {"n 0x10\n", "n", false, 0},
        {"n 1e3\n", "n", false, 0},
        {"n 5 MB\n", "n", false, 0},
        {"n 5 kBx\n", "n", false, 0},
        {"n 5 6\n", "n", false, 0},
        {"n maximum\n", "n", false, 0},
        {"n ma\n", "n", false, 0},
        {"n max kB\n", "n", false, 0},
        {"n 18446744073709551616\n", "n", false, 0},
        {"n 99999999999999999999999999999999\n", "n", false, 0},
        {"n 18014398509481984 kB\n", "n", false, 0}, /* 2^64 */
        {"n \xff\n", "n", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *exact = strdup(cases[i].text);
        uint64_t value = 0;
        errno = EXDEV;
        bool found = mw_key_value(exact, cases[i].key, &value);
        free(exact);
        CHECK_I64(cases[i].text, errno, EXDEV);
        CHECK_I64(cases[i].text, found, cases[i].found);
        CHECK_U64(cases[i].text, value, cases[i].value);
    }
}

static void single_values(void **state)
{
    static const struct {
        const char *text;
        bool found;
        uint64_t value;
    } cases[] = {
        {"0\n", true, 0},
        {"104857600\n", true, 104857600},
        {"104857600", true, 104857600},
        {"max\n", true, UINT64_MAX},
        {"9223372036854771712\n", true, UINT64_C(9223372036854771712)},
        {"18446744073709551615\n", true, UINT64_MAX},
        {"18446744073709551616\n", false, 0},
        {"", false, 0},
        {"\n", false, 0},
        {"-1\n", false, 0},
        {"+1\n", false, 0},
        {" 1\n", false, 0},
        {"1 2\n", false, 0},
        {"1x\n", false, 0},
        {"0x1\n", false, 0},
        {"MAX\n", false, 0},
        {"maxi\n", false, 0},
        {"ma", false, 0},
        {"\xff\n", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *exact = strdup(cases[i].text);
        uint64_t value = 0;
        bool found = mw_single_value(exact, &value);
        free(exact);
        CHECK_I64(cases[i].text, found, cases[i].found);
        CHECK_U64(cases[i].text, value, cases[i].value);
    }
}

static void pressures(void **state)
{
    static const struct {
        const char *text;
        bool found;
        double ratio;
    } cases[] = {
        {"some avg10=1.23 avg60=0.50 avg300=0.10 total=12345\nfull avg10=9.99 avg60=0.00 avg300=0.00 total=1\n", true,
         0.0123},
        {"some avg10=0.00 avg60=50.00 avg300=50.00 total=0\n", true, 0},
        {"some avg10=0.05 avg60=0.00 avg300=0.00 total=0\n", true, 0.0005},
        {"some avg10=99.99 avg60=0.00 avg300=0.00 total=0\n", true, 0.9999},
        {"some avg10=100.00 avg60=0.00 avg300=0.00 total=0\n", true, 1},
        {"full avg10=9.99 avg60=0.00 avg300=0.00 total=1\nsome avg10=1.00 avg60=0.00 avg300=0.00 total=1\n", true,
         0.01},
        {"full avg10=9.99 avg60=0.00 avg300=0.00 total=1\n", false, 0},
        {"", false, 0},
        {"some\n", false, 0},
        {"some \n", false, 0},
        {"some avg60=1.00 avg10=2.00\n", false, 0},
        {"some avg10=\n", false, 0},
        {"some avg10=-1.00\n", false, 0},
        {"some avg10=x\n", false, 0},
        {"some avg10=nan\n", false, 0},
        {"some avg10=max\n", false, 0},
        {"some avg10=101.00\n", false, 0},
        {"some avg10=99999999999999999999.00\n", false, 0},
        {"something avg10=1.00\n", false, 0},
        {"\xff\xfe", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *exact = strdup(cases[i].text);
        double ratio = 0;
        bool found = mw_pressure_parse(exact, &ratio);
        free(exact);
        CHECK_I64(cases[i].text, found, cases[i].found);
        CHECK(cases[i].text, fabs(ratio - cases[i].ratio) < 1e-9);
    }
}

/* Whatever the text says, the answer is none or a ratio. */
static void a_pressure_is_never_above_1(void **state)
{
    static const char *const texts[] = {"some avg10=100.01 avg60=0.00\n", "some avg10=100.99\n", "some avg10=100.5\n"};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        double ratio = 0;
        CHECK(texts[i], !mw_pressure_parse(texts[i], &ratio) || (ratio >= 0 && ratio <= 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_is_read),
        cmocka_unit_test(what_the_text_does_not_hold_is_0),
        cmocka_unit_test(names_of_every_shape),
        cmocka_unit_test(keys_and_values),
        cmocka_unit_test(single_values),
        cmocka_unit_test(pressures),
        cmocka_unit_test(a_pressure_is_never_above_1),
    };
    return cmocka_run_group_tests_name("procfs", tests, NULL, NULL);
}
