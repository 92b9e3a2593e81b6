/* SPDX-License-Identifier: MIT */
#include "run_options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"

#define MOST_WORDS 8

/* A command line without its first word, which is always the launcher's name. */
typedef const char *words[MOST_WORDS];

/* Parses it. *command counts the words that come before the command. */
static bool parse(const char *const *line, struct mw_run_options *options, size_t *before, struct mw_error *error)
{
    char *argv[MOST_WORDS + 2] = {(char *)"memwatch-run"};
    int argc = 1;
    for (size_t i = 0; i < MOST_WORDS && line[i]; i++)
        argv[argc++] = (char *)line[i];
    memset(options, 0xa5, sizeof *options);
    *error = (struct mw_error){0};
    bool done = mw_run_options_parse(options, argc, argv, error);
    if (done && !options->help && !options->version)
        *before = (size_t)(options->command - argv) - 1;
    return done;
}

static struct mw_run_options parse_well(const char *const *line)
{
    struct mw_run_options options;
    struct mw_error error;
    size_t before;
    if (!parse(line, &options, &before, &error))
        fail_msg("%s %s: %s", line[0], line[1] ? line[1] : "", error.text);
    return options;
}

static void defaults_are_those_of_the_table(void **state)
{
    struct mw_run_options options = parse_well((words){"app"});
    (void)state;
    assert_false(options.help || options.version || options.quiet);
    assert_int_equal(options.limit.kind, MW_AMOUNT_NONE);
    assert_int_equal(options.mode, MW_MODE_AUTO);
    assert_int_equal(options.swappiness, MW_PERCENT_NONE);
    assert_int_equal(options.restart, MW_RESTART_ON_OOM);
    assert_int_equal(options.restart_delay_ns, 100000000);
    assert_int_equal(options.start_limit, 5);
    assert_int_equal(options.restart_growth, 2);
    assert_int_equal(options.restart_jitter, 0);
    assert_int_equal(options.restart_delay_max_ns, UINT64_C(30000000000));
    assert_int_equal(options.restart_reset_ns, UINT64_C(60000000000));
    assert_int_equal(options.stop_timeout_ns, MW_DURATION_NONE);
    assert_int_equal(options.high.kind, MW_AMOUNT_NONE);
    assert_int_equal(options.swap.kind, MW_AMOUNT_NONE);
    assert_false(options.oom_group);
    assert_int_equal(options.mode, MW_MODE_AUTO);
    assert_int_equal(options.pdeathsig, 0);
    assert_int_equal(options.report, MW_REPORT_TEXT);
    assert_string_equal(options.log, "stderr");
    assert_string_equal(options.cgroup, "");
    assert_string_equal(options.pidfile, "");
    assert_string_equal(options.keep, "");
    assert_int_equal(options.allocator, MW_ALLOCATOR_GLIBC);
    assert_int_equal(options.attach, 0);
}

static void every_option_is_taken_joined_or_apart(void **state)
{
    const struct mw_run_options options[] = {
        parse_well((words){"--limit=100M", "--swappiness=0", "--restart=always", "--restart-delay=1.5s",
                           "--start-limit=1000000", "app"}),
        parse_well((words){"--start-limit", "1000000", "--restart-delay", "1500ms", "--limit", "100M", "app"}),
        parse_well((words){"--swappiness", "0", "--restart", "always", "app"}),
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(options[i].limit.kind, MW_AMOUNT_BYTES);
        assert_int_equal(options[i].limit.bytes, 104857600);
        assert_int_equal(options[i].restart_delay_ns, 1500000000);
        assert_int_equal(options[i].start_limit, 1000000);
    }
    for (size_t i = 0; i < COUNT(options); i += 2) {
        assert_int_equal(options[i].swappiness, 0);
        assert_int_equal(options[i].restart, MW_RESTART_ALWAYS);
    }
}

static void limits(void **state)
{
    static const struct {
        const char *value;
        enum mw_amount_kind kind;
        uint64_t amount;
    } cases[] = {
        {"1M", MW_AMOUNT_BYTES, 1048576},
        {"1048576", MW_AMOUNT_BYTES, 1048576},
        {"1.5GiB", MW_AMOUNT_BYTES, 1610612736},
        {"9223372036854775807", MW_AMOUNT_BYTES, INT64_MAX},
        {"50%", MW_AMOUNT_SHARE, 500000},
        {"100%", MW_AMOUNT_SHARE, 1000000},
        {"off", MW_AMOUNT_NONE, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_run_options options = parse_well((words){"--limit", cases[i].value, "app"});
        CHECK_I64(cases[i].value, options.limit.kind, cases[i].kind);
        CHECK_U64(cases[i].value, cases[i].kind == MW_AMOUNT_SHARE ? options.limit.share_ppm : options.limit.bytes,
                  cases[i].amount);
    }
}

static void policies(void **state)
{
    static const struct {
        const char *value;
        enum mw_restart_policy policy;
    } cases[] = {
        {"on-oom", MW_RESTART_ON_OOM},
        {"on-failure", MW_RESTART_ON_FAILURE},
        {"always", MW_RESTART_ALWAYS},
        {"no", MW_RESTART_NO},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].value, parse_well((words){"--restart", cases[i].value, "app"}).restart, cases[i].policy);
}

static void allocators(void **state)
{
    static const struct {
        const char *value;
        enum mw_allocator allocator;
    } cases[] = {
        {"glibc", MW_ALLOCATOR_GLIBC},
        {"jemalloc", MW_ALLOCATOR_JEMALLOC},
        {"tcmalloc", MW_ALLOCATOR_TCMALLOC},
        {"mimalloc", MW_ALLOCATOR_MIMALLOC},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].value, parse_well((words){"--allocator", cases[i].value, "app"}).allocator,
                  cases[i].allocator);
}

static void signals(void **state)
{
    static const struct {
        const char *value;
        int signal;
    } cases[] = {{"TERM", SIGTERM}, {"SIGTERM", SIGTERM}, {"15", 15},
                 {"KILL", SIGKILL}, {"SIGUSR1", SIGUSR1}, {"64", 64}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].value, parse_well((words){"--pdeathsig", cases[i].value, "app"}).pdeathsig, cases[i].signal);
}

static void swap_may_be_nothing_or_any(void **state)
{
    (void)state;
    struct mw_run_options none = parse_well((words){"--limit=5M", "--swap=0", "app"});
    assert_int_equal(none.swap.kind, MW_AMOUNT_BYTES);
    assert_int_equal(none.swap.bytes, 0);
    assert_int_equal(parse_well((words){"--limit=5M", "--swap=1G", "app"}).swap.bytes, 1 << 30);
    assert_int_equal(parse_well((words){"--swap=any", "app"}).swap.kind, MW_AMOUNT_NONE);
}

/* With what a running process can be given. */
static void attaching_takes_no_program(void **state)
{
    static const words lines[] = {
        {"--attach=1"},
        {"--attach", "4194304", "--limit=5M", "--high=4M", "--swap=0", "--cgroup=/a"},
        {"--attach=7", "--limit-mode=systemd", "--limit=5M", "--oom-group=yes", "--swappiness=0", "--quiet"},
        {"--attach=7", "--limit-mode=cgroup", "--log=journal", "--report=json", "--keep=/tmp/kept"},
        {"--attach=7", "--"},
    };
    static const int pids[] = {1, 4194304, 7, 7, 7};
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        struct mw_run_options options = parse_well(lines[i]);
        CHECK_I64(lines[i][0], options.attach, pids[i]);
        CHECK(lines[i][0], !*options.command);
    }
}

/* The program's own options are the program's. */
static void the_command_begins_at_the_first_word_that_is_no_option(void **state)
{
    static const struct {
        words line;
        size_t before;
    } cases[] = {
        {{"app"}, 0},
        {{"app", "--limit=1M"}, 0},
        {{"app", "--help"}, 0},
        {{"app", "--", "-x"}, 0},
        {{"--limit=1M", "app", "-h"}, 1},
        {{"--limit", "1M", "app", "-V"}, 2},
        {{"--", "app"}, 1},
        {{"--", "--limit=1M"}, 1},
        {{"--limit=1M", "--", "-app", "--version"}, 2},
        {{""}, 0},
        {{"-"}, 0},
        {{"\xff\x01"}, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_run_options options;
        struct mw_error error;
        size_t before = SIZE_MAX;
        CHECK(cases[i].line[0], parse(cases[i].line, &options, &before, &error));
        CHECK(cases[i].line[0], !options.help && !options.version);
        CHECK_U64(cases[i].line[0], before, cases[i].before);
        CHECK_TEXT(cases[i].line[0], options.command[0], cases[i].line[cases[i].before]);
    }
}

static void help_and_version_need_no_program(void **state)
{
    static const struct {
        words line;
        bool help;
    } cases[] = {
        {{"--help"}, true},           {{"-h"}, true},  {{"--version"}, false}, {{"-V"}, false},
        {{"--limit=1M", "-h"}, true}, {{"-hV"}, true}, {{"-V", "app"}, false}, {{"-qh"}, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_run_options options;
        struct mw_error error;
        size_t before;
        CHECK(cases[i].line[0], parse(cases[i].line, &options, &before, &error));
        CHECK(cases[i].line[0], options.help == cases[i].help && options.version == !cases[i].help);
    }
}

#define OVERLONG_10(s) s s s s s s s s s s
#define OVERLONG_2000  OVERLONG_10(OVERLONG_10(OVERLONG_10("xy")))

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        words line;
        const char *names;
    } cases[] = {
        {{NULL}, "usage: memwatch-run"},
        {{"--"}, "usage: memwatch-run"},
        {{"--limit=1M"}, "usage: memwatch-run"},
        {{"--limit"}, "--limit"},
        {{"--restart-delay"}, "--restart-delay"},
        {{"--limit", "--", "app"}, "--limit"},
        {{"--limit=", "app"}, "--limit takes a size"},
        {{"--limit=0", "app"}, "--limit takes a size"},
        {{"--limit=64K", "app"}, "--limit takes a size of at least 1M"},
        {{"--limit=1048575", "app"}, "--limit takes a size of at least 1M"},
        {{"--limit=8E", "app"}, "--limit takes a size"},
        {{"--limit=16E", "app"}, "--limit takes a size"},
        {{"--limit=-1", "app"}, "--limit takes a size"},
        {{"--limit=101%", "app"}, "--limit takes a size"},
        {{"--limit=100X", "app"}, "not \"100X\""},
        {{"--limit=" OVERLONG_2000, "app"}, "--limit takes a size"},
        {{"--swappiness=101", "app"}, "--swappiness takes a number from 0 to 100"},
        {{"--swappiness=-1", "app"}, "--swappiness takes a number"},
        {{"--swappiness=", "app"}, "--swappiness takes a number"},
        {{"--swappiness=1.5", "app"}, "--swappiness takes a number"},
        {{"--swappiness=5%", "app"}, "--swappiness takes a number"},
        {{"--swappiness=0x5", "app"}, "--swappiness takes a number"},
        {{"--swappiness=4294967296", "app"}, "--swappiness takes a number"},
        {{"--limit-mode=", "app"}, "--limit-mode takes auto, cgroup, systemd or in-process, not \"\""},
        {{"--limit-mode=v2", "app"}, "--limit-mode takes auto, cgroup, systemd or in-process, not \"v2\""},
        {{"--limit-mode=Systemd", "app"}, "--limit-mode takes auto"},
        {{"--restart=", "app"}, "--restart takes on-oom"},
        {{"--restart=never", "app"}, "--restart takes on-oom"},
        {{"--restart=ALWAYS", "app"}, "--restart takes on-oom"},
        {{"--restart-delay=-1s", "app"}, "--restart-delay takes a duration"},
        {{"--restart-delay=99999999999999999999h", "app"}, "--restart-delay takes a duration"},
        {{"--restart-delay=1 day", "app"}, "--restart-delay takes a duration"},
        {{"--start-limit=1000001", "app"}, "--start-limit takes a number from 0 to 1000000"},
        {{"--start-limit=99999999999999999999999", "app"}, "--start-limit takes a number"},
        {{"--start-limit=18446744073709551616", "app"}, "--start-limit takes a number"},
        {{"--start-limit=+5", "app"}, "--start-limit takes a number"},
        {{"--allocator=", "app"}, "--allocator takes glibc, jemalloc, tcmalloc or mimalloc"},
        {{"--allocator=hoard", "app"}, "not \"hoard\""},
        {{"--allocator=jemalloc2", "app"}, "--allocator takes"},
        {{"--allocator=Jemalloc", "app"}, "--allocator takes"},
        {{"--high=5M", "app"}, "--high needs a --limit"},
        {{"--high=50%", "app"}, "--high needs a --limit"},
        {{"--limit=5M", "--high=5M", "app"}, "--high is to be below --limit"},
        {{"--limit=5M", "--high=512K", "app"}, "--high takes a size of at least 1M"},
        {{"--swap=0", "app"}, "--swap needs a --limit"},
        {{"--limit=5M", "--swap=-1", "app"}, "--swap takes a size such as 0 or 512M, or any"},
        {{"--limit=5M", "--swap=16E", "app"}, "--swap takes"},
        {{"--limit=5M", "--swap=off", "app"}, "--swap takes"},
        {{"--oom-group=maybe", "app"}, "--oom-group takes yes or no, not \"maybe\""},
        {{"--limit-mode=in-process", "app"}, "--limit-mode=in-process needs a --limit"},
        {{"--cgroup=", "app"}, "--cgroup takes the path"},
        {{"--cgroup=/a", "--limit-mode=systemd", "app"}, "--cgroup says where"},
        {{"--restart-growth=0", "app"}, "--restart-growth takes a number from 1 to 100"},
        {{"--restart-growth=101", "app"}, "--restart-growth takes"},
        {{"--restart-growth=1.5", "app"}, "--restart-growth takes"},
        {{"--restart-jitter=101", "app"}, "--restart-jitter takes a number from 0 to 100"},
        {{"--restart-delay-max=x", "app"}, "--restart-delay-max takes a duration"},
        {{"--restart-reset=", "app"}, "--restart-reset takes a duration"},
        {{"--stop-timeout=", "app"}, "--stop-timeout takes a duration"},
        {{"--stop-timeout=never", "app"}, "--stop-timeout takes a duration"},
        {{"--pdeathsig=0", "app"}, "--pdeathsig takes the name or number of a signal"},
        {{"--pdeathsig=65", "app"}, "--pdeathsig takes"},
        {{"--pdeathsig=SIG", "app"}, "--pdeathsig takes"},
        {{"--pdeathsig=term", "app"}, "not \"term\""},
        {{"--keep=", "app"}, "--keep takes the path"},
        {{"--pidfile=", "app"}, "--pidfile takes the path"},
        {{"--log=", "app"}, "--log takes stderr, journal or the path"},
        {{"--report=xml", "app"}, "--report takes text or json, not \"xml\""},
        {{"--attach=", "app"}, "--attach takes the process id of a running process, not \"\""},
        {{"--attach=0"}, "--attach takes the process id"},
        {{"--attach=-1"}, "--attach takes the process id"},
        {{"--attach=4194305"}, "--attach takes the process id"},
        {{"--attach=99999999999999999999"}, "--attach takes the process id"},
        {{"--attach=0x7"}, "--attach takes the process id"},
        {{"--attach=self"}, "not \"self\""},
        {{"--attach"}, "--attach needs a value"},
        {{"--attach=7", "app"}, "--attach is for a process that runs already: it takes no program to start, as app is"},
        {{"--attach=7", "--restart=no"}, "--restart is for a program that memwatch-run starts"},
        {{"--restart=on-oom", "--attach=7"}, "--restart is for"}, /* its default, but it was asked for */
        {{"--attach=7", "--restart-delay=1s"}, "--restart-delay is for"},
        {{"--attach=7", "--restart-growth=1"}, "--restart-growth is for"},
        {{"--attach=7", "--restart-delay-max=1s"}, "--restart-delay-max is for"},
        {{"--attach=7", "--restart-jitter=0"}, "--restart-jitter is for"},
        {{"--attach=7", "--restart-reset=1s"}, "--restart-reset is for"},
        {{"--attach=7", "--start-limit=5"}, "--start-limit is for"},
        {{"--attach=7", "--stop-timeout=1s"}, "--stop-timeout is for"},
        {{"--attach=7", "--pdeathsig=9"}, "--pdeathsig is for"},
        {{"--attach=7", "--allocator=glibc"}, "--allocator is for"},
        {{"--attach=7", "--pidfile=/a"}, "--pidfile is for"},
        {{"--attach=7", "--limit=5M", "--limit-mode=in-process"}, "`memwatch set 7 limit=SIZE`"},
        {{"--attach=7", "--swap=0"}, "--swap needs a --limit"},
        {{"--quiet=yes", "app"}, "--quiet takes no value"},
        {{"--no-such", "app"}, "--no-such"},
        {{"--no-such=5", "app"}, "--no-such"},
        {{"--help=5", "app"}, "--help takes no value"},
        {{"--limit=1M", "-x", "app"}, "-x"},
        {{"-x", "app"}, "-x"},
        {{"-xh", "app"}, "-x"},
        {{"--limit=1M", "-xV", "app"}, "-x"},
        {{"-\xff", "app"}, "there is no option"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_run_options options;
        struct mw_error error;
        size_t before;
        char label[64];
        snprintf(label, sizeof label, "%s", cases[i].line[0] ? cases[i].line[0] : "nothing");
        CHECK(label, !parse(cases[i].line, &options, &before, &error));
        CHECK_HAS(label, error.text, cases[i].names);
        CHECK_I64(label, error.errno_value, 0);
        CHECK(label, strlen(error.text) < sizeof error.text);
    }
}

/* execve can start a program without even its name. */
static void an_empty_argument_vector_names_no_program(void **state)
{
    char *argv[] = {NULL};
    struct mw_run_options options;
    struct mw_error error = {0};
    (void)state;
    assert_false(mw_run_options_parse(&options, 0, argv, &error));
    CHECK_HAS("empty", error.text, "usage: memwatch-run");
}

static void the_help_shows_every_option_and_its_default(void **state)
{
    static const char *const shown[] = {
#define OPTION_SHOWN(name, member, type, fallback, argument, accepted, help)                                           \
    "--" name "=" argument, help, fallback, accepted,
        MW_RUN_OPTIONS(OPTION_SHOWN) // NOLINT(bugprone-suspicious-missing-comma)
#undef OPTION_SHOWN
        "--help",
        "--version",
        "125",
        "126",
        "127",
    };
    char text[16384];
    FILE *file = tmpfile();
    (void)state;
    assert_non_null(file);
    fflush(stdout);
    int out = dup(STDOUT_FILENO);
    dup2(fileno(file), STDOUT_FILENO);
    mw_run_options_help();
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    rewind(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    for (size_t i = 0; i < COUNT(shown); i++)
        CHECK_HAS("help", text, shown[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(every_option_is_taken_joined_or_apart),
        cmocka_unit_test(limits),
        cmocka_unit_test(policies),
        cmocka_unit_test(signals),
        cmocka_unit_test(swap_may_be_nothing_or_any),
        cmocka_unit_test(allocators),
        cmocka_unit_test(attaching_takes_no_program),
        cmocka_unit_test(the_command_begins_at_the_first_word_that_is_no_option),
        cmocka_unit_test(help_and_version_need_no_program),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(an_empty_argument_vector_names_no_program),
        cmocka_unit_test(the_help_shows_every_option_and_its_default),
    };
    return cmocka_run_group_tests_name("run_options", tests, NULL, NULL);
}
