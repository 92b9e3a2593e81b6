/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

/* What mw_options_parse complains of. */
struct complaints {
    unsigned count;
    char last[1024];
};

static void note(void *context, const char *line)
{
    struct complaints *complaints = context;
    complaints->count++;
    snprintf(complaints->last, sizeof complaints->last, "%s", line);
    CHECK(line, strlen(line) < sizeof complaints->last);
}

/* Parses an environment of one variable (NULL: of none), between two that are not ours. */
static struct mw_options parse(const char *variable, struct complaints *complaints)
{
    struct mw_options options;
    char home[] = "HOME=/root";
    char path[] = "PATH=/bin";
    char *ours = variable ? strdup(variable) : NULL;
    char *environment[] = {home, ours ? ours : path, ours ? path : NULL, NULL};
    *complaints = (struct complaints){0};
    memset(&options, 0xa5, sizeof options);
    errno = EXDEV;
    mw_options_parse(&options, environment, note, complaints);
    CHECK_I64(variable ? variable : "none", errno, EXDEV);
    if (variable && ours && options.output.kind == MW_OUTPUT_PATH) {
        CHECK(variable, options.output.path > ours && options.output.path < ours + strlen(ours));
        options.output.path = variable + (options.output.path - ours);
    }
    free(ours);
    return options;
}

/* Everything is as the table of options says. */
static void check_defaults(const char *label, const struct mw_options *options)
{
    CHECK_U64(label, options->interval_ns, 1000000000);
    CHECK_I64(label, options->output.kind, MW_OUTPUT_FD);
    CHECK_I64(label, options->output.fd, 2);
    CHECK_I64(label, options->format, MW_FORMAT_TEXT);
    CHECK_I64(label, options->limit.kind, MW_AMOUNT_SHARE);
    CHECK_U64(label, options->limit.share_ppm, 900000);
}

static void what_is_not_ours_changes_nothing(void **state)
{
    static const char *const variables[] = {
        NULL,
        "MEMWATCH",
        "MEMWATCH=1",
        "MEMWATCHER_LIMIT=5",
        "XMEMWATCH_LIMIT=5",
        "memwatch_limit=5M",
        " MEMWATCH_LIMIT=5M",
        "OTHER=MEMWATCH_LIMIT=5M",
        "MEMWATCH_LIMIT", /* no variable: it has no value */
        "",
        "=",
        "\xff\xfe=\x01",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(variables); i++) {
        const char *label = variables[i] ? variables[i] : "none";
        struct complaints complaints;
        struct mw_options options = parse(variables[i], &complaints);
        CHECK_U64(label, complaints.count, 0);
        check_defaults(label, &options);
    }
}

static void an_empty_value_is_as_none(void **state)
{
    static const char *const variables[] = {
        "MEMWATCH_INTERVAL=", "MEMWATCH_OUTPUT=", "MEMWATCH_FORMAT=", "MEMWATCH_LIMIT="};
    (void)state;
    for (size_t i = 0; i < COUNT(variables); i++) {
        struct complaints complaints;
        struct mw_options options = parse(variables[i], &complaints);
        CHECK_U64(variables[i], complaints.count, 0);
        check_defaults(variables[i], &options);
    }
}

static void an_empty_environment_gives_the_defaults(void **state)
{
    char *const environment[] = {NULL};
    struct complaints complaints = {0};
    struct mw_options options;
    (void)state;
    mw_options_parse(&options, environment, note, &complaints);
    assert_int_equal(complaints.count, 0);
    check_defaults("empty", &options);
}

static void intervals_from_10ms_to_24h(void **state)
{
    static const struct {
        const char *variable;
        uint64_t ns;
    } cases[] = {
        {"MEMWATCH_INTERVAL=10ms", 10000000},
        {"MEMWATCH_INTERVAL=250ms", 250000000},
        {"MEMWATCH_INTERVAL=2", UINT64_C(2000000000)},
        {"MEMWATCH_INTERVAL=1.5m", UINT64_C(90000000000)},
        {"MEMWATCH_INTERVAL=24h", UINT64_C(86400000000000)},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct complaints complaints;
        struct mw_options options = parse(cases[i].variable, &complaints);
        CHECK_U64(cases[i].variable, complaints.count, 0);
        CHECK_U64(cases[i].variable, options.interval_ns, cases[i].ns);
    }
}

static void outputs(void **state)
{
    static const struct {
        const char *variable;
        enum mw_output_kind kind;
        int fd;
        const char *path;
    } cases[] = {
        {"MEMWATCH_OUTPUT=stderr", MW_OUTPUT_FD, 2, NULL},
        {"MEMWATCH_OUTPUT=stdout", MW_OUTPUT_FD, 1, NULL},
        {"MEMWATCH_OUTPUT=none", MW_OUTPUT_NONE, 0, NULL},
        {"MEMWATCH_OUTPUT=fd:0", MW_OUTPUT_FD, 0, NULL},
        {"MEMWATCH_OUTPUT=fd:7", MW_OUTPUT_FD, 7, NULL},
        {"MEMWATCH_OUTPUT=fd:2147483647", MW_OUTPUT_FD, 2147483647, NULL},
        {"MEMWATCH_OUTPUT=/var/log/app.mem", MW_OUTPUT_PATH, 0, "/var/log/app.mem"},
        {"MEMWATCH_OUTPUT=./mem=1", MW_OUTPUT_PATH, 0, "./mem=1"},
        {"MEMWATCH_OUTPUT=logs/mem", MW_OUTPUT_PATH, 0, "logs/mem"},
        {"MEMWATCH_OUTPUT=/", MW_OUTPUT_PATH, 0, "/"},
        {"MEMWATCH_OUTPUT=/\xff\x01", MW_OUTPUT_PATH, 0, "/\xff\x01"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct complaints complaints;
        struct mw_options options = parse(cases[i].variable, &complaints);
        CHECK_U64(cases[i].variable, complaints.count, 0);
        CHECK_I64(cases[i].variable, options.output.kind, cases[i].kind);
        if (cases[i].kind == MW_OUTPUT_FD)
            CHECK_I64(cases[i].variable, options.output.fd, cases[i].fd);
        if (cases[i].kind == MW_OUTPUT_PATH)
            CHECK_TEXT(cases[i].variable, options.output.path, cases[i].path);
    }
}

static void formats(void **state)
{
    struct complaints complaints;
    (void)state;
    assert_int_equal(parse("MEMWATCH_FORMAT=json", &complaints).format, MW_FORMAT_JSON);
    assert_int_equal(parse("MEMWATCH_FORMAT=text", &complaints).format, MW_FORMAT_TEXT);
    assert_int_equal(complaints.count, 0);
}

static void limits(void **state)
{
    static const struct {
        const char *variable;
        struct mw_amount limit;
    } cases[] = {
        {"MEMWATCH_LIMIT=100M", {.kind = MW_AMOUNT_BYTES, .bytes = 104857600}},
        {"MEMWATCH_LIMIT=1", {.kind = MW_AMOUNT_BYTES, .bytes = 1}},
        {"MEMWATCH_LIMIT=50%", {.kind = MW_AMOUNT_SHARE, .share_ppm = 500000}},
        {"MEMWATCH_LIMIT=off", {.kind = MW_AMOUNT_NONE}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct complaints complaints;
        struct mw_options options = parse(cases[i].variable, &complaints);
        CHECK_U64(cases[i].variable, complaints.count, 0);
        CHECK_I64(cases[i].variable, options.limit.kind, cases[i].limit.kind);
        CHECK_U64(cases[i].variable, options.limit.bytes, cases[i].limit.bytes);
        CHECK_U64(cases[i].variable, options.limit.share_ppm, cases[i].limit.share_ppm);
    }
}

/* One line, printable, ended: it goes to the program's standard error. */
static void check_line(const char *label, const char *line)
{
    size_t length = strlen(line);
    CHECK(label, length > 1 && line[length - 1] == '\n');
    for (size_t i = 0; i < length - 1; i++)
        CHECK(label, line[i] >= ' ' && line[i] < 0x7f);
}

static void what_is_malformed_is_told_and_its_default_taken(void **state)
{
    static const struct {
        const char *variable;
        const char *name;
        const char *accepted;
    } cases[] = {
        {"MEMWATCH_INTERVAL=0", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL=9.999999ms", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL=24.0001h", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL=-1s", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL=1 day", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL=99999999999999999999h", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_INTERVAL= ", "MEMWATCH_INTERVAL", "10ms to 24h"},
        {"MEMWATCH_OUTPUT=stdrr", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=STDERR", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=file", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:-1", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:+1", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd: 1", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:1x", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:2147483648", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:4294967297", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_OUTPUT=fd:99999999999999999999999", "MEMWATCH_OUTPUT", "fd:N"},
        {"MEMWATCH_FORMAT=JSON", "MEMWATCH_FORMAT", "text or json"},
        {"MEMWATCH_FORMAT=xml", "MEMWATCH_FORMAT", "text or json"},
        {"MEMWATCH_FORMAT=json ", "MEMWATCH_FORMAT", "text or json"},
        {"MEMWATCH_LIMIT=0", "MEMWATCH_LIMIT", "100M"},
        {"MEMWATCH_LIMIT=101%", "MEMWATCH_LIMIT", "100M"},
        {"MEMWATCH_LIMIT=100X", "MEMWATCH_LIMIT", "100M"},
        {"MEMWATCH_LIMIT=16E", "MEMWATCH_LIMIT", "100M"},
        {"MEMWATCH_LIMIT=-5M", "MEMWATCH_LIMIT", "100M"},
        {"MEMWATCH_LIMIT=\x1b[31m\n\xff", "MEMWATCH_LIMIT", "100M"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct complaints complaints;
        struct mw_options options = parse(cases[i].variable, &complaints);
        CHECK_U64(cases[i].variable, complaints.count, 1);
        check_line(cases[i].variable, complaints.last);
        CHECK_HAS(cases[i].variable, complaints.last, cases[i].name);
        CHECK_HAS(cases[i].variable, complaints.last, cases[i].accepted);
        check_defaults(cases[i].variable, &options);
    }
}

static void an_unknown_option_is_told_with_those_there_are(void **state)
{
    static const char *const variables[] = {
        "MEMWATCH_LIMITS=5M", "MEMWATCH_LIMI=5M", "MEMWATCH_=1",    "MEMWATCH_limit=5M",
        "MEMWATCH_LIMIT =5M", "MEMWATCH_\xff=1",  "MEMWATCH_\n=\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(variables); i++) {
        struct complaints complaints;
        struct mw_options options = parse(variables[i], &complaints);
        CHECK_U64(variables[i], complaints.count, 1);
        check_line(variables[i], complaints.last);
        CHECK_HAS(variables[i], complaints.last, "MEMWATCH_INTERVAL");
        CHECK_HAS(variables[i], complaints.last, "MEMWATCH_OUTPUT");
        CHECK_HAS(variables[i], complaints.last, "MEMWATCH_FORMAT");
        CHECK_HAS(variables[i], complaints.last, "MEMWATCH_LIMIT");
        check_defaults(variables[i], &options);
    }
}

static void complaints_of_overlong_variables_are_still_lines(void **state)
{
    static const char *const starts[] = {"MEMWATCH_LIMIT=", "MEMWATCH_OUTPUT=", "MEMWATCH_NO_SUCH_"};
    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        for (size_t more = 1; more < 200000; more = more < 600 ? more + 1 : more * 7) {
            struct complaints complaints;
            size_t start = strlen(starts[i]);
            char *variable = malloc(start + more + 3);
            memcpy(variable, starts[i], start);
            memset(variable + start, 'A', more);
            memcpy(variable + start + more, i == 2 ? "=1" : "", i == 2 ? 3 : 1);
            struct mw_options options = parse(variable, &complaints);
            free(variable);
            CHECK_U64(starts[i], complaints.count, 1);
            check_line(starts[i], complaints.last);
            /* What helps stands behind the value: it must not have been cut off. */
            CHECK_HAS(starts[i], complaints.last, i == 0 ? "90%\n" : i == 1 ? "stderr\n" : "MEMWATCH_LIMIT");
            check_defaults(starts[i], &options);
        }
    }
}

static void each_wrong_variable_is_told_and_right_ones_are_taken(void **state)
{
    char *const environment[] = {
        (char[]){"MEMWATCH_FORMAT=yaml"}, (char[]){"MEMWATCH_INTERVAL=2s"}, (char[]){"MEMWATCH_LIMT=5M"},
        (char[]){"MEMWATCH_LIMIT=64M"},   (char[]){"MEMWATCH_OUTPUT=up"},   NULL,
    };
    struct complaints complaints = {0};
    struct mw_options options;
    (void)state;
    mw_options_parse(&options, environment, note, &complaints);
    assert_int_equal(complaints.count, 3);
    assert_int_equal(options.format, MW_FORMAT_TEXT);
    assert_int_equal(options.interval_ns, 2000000000);
    assert_int_equal(options.limit.bytes, 67108864);
    assert_int_equal(options.output.fd, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_ours_changes_nothing),
        cmocka_unit_test(an_empty_value_is_as_none),
        cmocka_unit_test(an_empty_environment_gives_the_defaults),
        cmocka_unit_test(intervals_from_10ms_to_24h),
        cmocka_unit_test(outputs),
        cmocka_unit_test(formats),
        cmocka_unit_test(limits),
        cmocka_unit_test(what_is_malformed_is_told_and_its_default_taken),
        cmocka_unit_test(an_unknown_option_is_told_with_those_there_are),
        cmocka_unit_test(complaints_of_overlong_variables_are_still_lines),
        cmocka_unit_test(each_wrong_variable_is_told_and_right_ones_are_taken),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
