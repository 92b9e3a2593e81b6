/* SPDX-License-Identifier: MIT
 *
 * The commands as a person calls them: words in; status, output and what is said out.
 */
#include "commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "json.h"
#include "scratch.h"
#include "segment_builder.h"

#define MOST_WORDS 8

struct call {
    const char *words[MOST_WORDS];
    const char *dir;
};

static int run_call(void *context)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"ps", mw_command_ps},
        {"stats", mw_command_stats},
        {"trim", mw_command_trim},
        {"set", mw_command_set},
    };
    struct call *call = context;
    char *argv[MOST_WORDS + 1] = {0};
    int argc = 0;
    for (; argc < MOST_WORDS && call->words[argc]; argc++)
        argv[argc] = (char *)call->words[argc];
    setenv("MEMWATCH_DIR", call->dir, 1);
    if (dup2(open(scratch_path(call->dir, "out"), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO) < 0 ||
        dup2(open(scratch_path(call->dir, "err"), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO) < 0)
        return 99;
    for (size_t i = 0; argc && i < COUNT(commands); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        int status = commands[i].run(argc, argv);
        fflush(NULL);
        return status;
    }
    return 98;
}

/* Runs it. The outputs are in dir/out and dir/err. */
static int run(const char *dir, const char *const words[MOST_WORDS])
{
    struct call call = {.dir = dir};
    memcpy(call.words, words, sizeof call.words);
    return run_in_child(run_call, &call);
}

static const char *output(const char *dir, const char *name)
{
    return scratch_read(scratch_path(dir, name));
}

static void wrong_command_lines(void **state)
{
    static const struct {
        const char *words[MOST_WORDS];
        const char *said;
    } cases[] = {
        {{"ps", "1"}, "memwatch ps: it takes no argument, such as 1; usage: memwatch ps ["},
        {{"ps", "--alll"}, "memwatch ps: there is no option --alll; usage: "},
        {{"ps", "-a"}, "memwatch ps: there is no option -a; usage: "},
        {{"ps", "--json=yes"}, "memwatch ps: --json takes no value; usage: "},
        {{"stats"}, "memwatch stats: no process is named; usage: memwatch stats PID|SEGMENT"},
        {{"stats", "1", "2"}, "memwatch stats: one process at a time; usage: "},
        {{"stats", "1", "--watch=0"}, "memwatch stats: --watch takes a duration from 10ms to 24h, "},
        {{"stats", "1", "--watch=soon"}, ", not \"soon\"; usage: "},
        {{"trim"}, "memwatch trim: no process is named; usage: memwatch trim PID\n"},
        {{"trim", "--hard", "1"}, "memwatch trim: there is no option --hard; usage: "},
        {{"set"}, "memwatch set: no process is named; usage: memwatch set PID KEY=VALUE...\n"},
        {{"set", "1"}, "memwatch set: nothing is to be set; usage: "},
        {{"set", "1", "limit"}, "memwatch set: limit= takes a size such as "},
        {{"set", "1", "limits=1"},
         "memwatch set: the keys are interval, limit, trim_percent and sample, not \"limits\"; "},
        {{"set", "1", "=1"}, "not \"\"; usage: "},
        {{"set", "1", "limit=0"}, "memwatch set: limit takes "},
        {{"set", "1", "limit=8E"}, ", not \"8E\"; usage: "},
        {{"set", "1", "interval=9ms"}, "memwatch set: interval takes a duration from 10ms to 24h, "},
        {{"set", "1", "trim_percent=-1"},
         "trim_percent takes a number of per cent from 0 to 100000, or off, not \"-1\""},
        {{"set", "1", "interval=25h"}, ", not \"25h\"; usage: "},
        {{"set", "1", "sample=1"},
         "memwatch set: sample takes a size from 2 bytes on, such as 512K, or off, not \"1\""},
        {{"set", "1", "limit=1M", "sample="}, "not \"\"; usage: "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *label = cases[i].said;
        CHECK_I64(label, run(*state, cases[i].words), MW_COMMAND_USAGE);
        const char *said = output(*state, "err");
        CHECK_HAS(label, said, cases[i].said);
        CHECK(label, strchr(said, '\n') == said + strlen(said) - 1);
        CHECK_TEXT(label, output(*state, "out"), "");
    }
}

static void what_cannot_be_done(void **state)
{
    char segment[1024];
    char text[1024];
    struct segment_builder builder;
    snprintf(segment, sizeof segment, "%s", scratch_write(*state, "segment", ""));
    snprintf(text, sizeof text, "%s", scratch_write(*state, "text", "no segment"));
    segment_builder_start(&builder, &segment_builder_tiny);
    builder.header->state = MW_SEGMENT_ENDED;
    segment_builder_write(&builder, segment);
    segment_builder_free(&builder);
    const struct {
        const char *words[MOST_WORDS];
        const char *said;
    } cases[] = {
        {{"stats", "999999999"}, "memwatch: there is no process 999999999\n"},
        {{"stats", "999999999", "--watch"}, "memwatch: there is no process 999999999\n"},
        {{"stats", text}, "/text is not a memwatch segment\n"},
        {{"stats", "/nowhere"}, "memwatch: cannot open /nowhere: No such file or directory\n"},
        {{"trim", segment}, " is not alive\n"},
        {{"set", segment, "limit=1M"}, " is not alive\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_I64(cases[i].said, run(*state, cases[i].words), MW_COMMAND_FAILED);
        CHECK_HAS(cases[i].said, output(*state, "err"), cases[i].said);
        CHECK_TEXT(cases[i].said, output(*state, "out"), "");
    }
}

/* A dead process's segment, in the directory where the commands look for it. Returns its path, in static memory. */
static const char *leave_segment(const char *dir, const char *name)
{
    char below[256];
    char own[64];
    struct memwatch_stats stats = {
        .RSS = 60 << 20,
        .NumTrim = 2,
        .HeapRetained = 5 << 20,
        .NextTrim = 100 << 20,
        .PauseTotalNs = 12300000,
        .TrimCPUFraction = 0.125,
        .LastTrim = UINT64_C(1060) * 1000000000,
        .NumQuietTrim = 2,
        .Allocators = {{"glibc", UINT64_C(1060) * 1000000000, 9 << 20, 6 << 20, 3 << 20, UINT64_MAX, UINT64_MAX}}};
    struct segment_builder builder;
    uint64_t namespace = 0;
    ssize_t length = readlink("/proc/self/ns/pid", own, sizeof own - 1);
    assert_in_range(length, 6, sizeof own - 1);
    own[length] = '\0';
    namespace = strtoull(own + 5, NULL, 10);
    snprintf(below, sizeof below, "memwatch-%u/%s-%llu.mw", geteuid(), name, (unsigned long long)namespace);
    static char path[1024];
    snprintf(path, sizeof path, "%s", scratch_write(dir, below, ""));
    segment_builder_start(&builder, &segment_builder_tiny);
    builder.header->pid = 999999999;
    builder.header->pid_namespace = namespace;
    builder.header->pressure_source = MW_SEGMENT_PRESSURE_GROUP_LEVELS;
    builder.header->arenas_cap = 8;
    builder.slots[0].counters.allocated_others = (struct mw_others){.count = {[80] = 1}, .bytes = 8 << 20};
    segment_builder_snapshot(&builder, UINT64_C(1090) * 1000000000, &stats);
    segment_builder_write(&builder, path);
    segment_builder_free(&builder);
    return path;
}

static void the_statistics_of_a_dead_process(void **state)
{
    static const char *const lines[] = {
        "process 999999999 (app): dead\n",
        "\nage               90 s\n",
        "\nlast tick         0 us ago\n",
        "\nAlloc             8 MiB\n",
        "\nHeapObjects       1\n",
        "\nPauseTotalNs      12.3 ms\n",
        "\nTrimCPUFraction   12.50 %\n",
        "\nLastTrim          30 s ago\n",
        "\nRSS               60 MiB\n",
        "\nNumQuietTrim      2\n",
        "\npressure from     memory.pressure_level\narenas            at most 8, by the CPU quota\n",
        "\nglibc             after the trim 30 s ago, by its own books:\n  Sys             9 MiB\n",
        "\n  Inuse           6 MiB\n  Idle            3 MiB\n  Released        not told\n",
    };
    uint64_t number;
    const char *path = leave_segment(*state, "999999999-5678");
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"stats", path}), 0);
    for (size_t i = 0; i < COUNT(lines); i++)
        CHECK_HAS(lines[i], output(*state, "out"), lines[i]);
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"stats", "999999999", "--json"}), 0); /* by its pid too */
    const char *json = output(*state, "out");
    assert_true(json_is_valid(json));
    assert_true(json_u64(json_member(json, "Alloc"), &number));
    assert_int_equal(number, 8 << 20);
    assert_true(json_u64(json_member(json, "RSS"), &number));
    assert_int_equal(number, 60 << 20);
    assert_non_null(strstr(json, "\"Time\":\"1970-01-01T00:18:10.000Z\""));
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"stats", "--watch=1h", path}), 0); /* and ends at once */
    assert_non_null(strstr(output(*state, "out"), "memwatch[999999999]: Alloc = 8.0 MiB"));
}

static void ps_lists_and_sweeps(void **state)
{
    char name[64];
    const char *path = leave_segment(*state, "999999999-5678");
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"ps"}), 0);
    assert_null(strstr(output(*state, "out"), "999999999"));
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"ps", "--all"}), 0);
    assert_non_null(strstr(output(*state, "out"),
                           "999999999  app                   8 MiB      60 MiB       5 MiB     100 MiB     90 s"
                           "       2  dead\n"));
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"ps", "--all", "--json"}), 0);
    const char *json = strstr(output(*state, "out"), "{\"Pid\":999999999");
    assert_non_null(json);
    assert_true(json_is_valid(json));
    assert_true(json_string(json_member(json, "State"), name, sizeof name) == 4);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(run(*state, (const char *[MOST_WORDS]){"ps", "--sweep"}), 0);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
    const struct CMUnitTest tests[] = {
        TEST(wrong_command_lines),
        TEST(what_cannot_be_done),
        TEST(the_statistics_of_a_dead_process),
        TEST(ps_lists_and_sweeps),
    };
    return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
