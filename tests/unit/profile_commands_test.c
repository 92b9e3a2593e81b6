/* SPDX-License-Identifier: MIT
 *
 * The commands about memory's holders as a person calls them, on a segment whose addresses lie in a program that the
 * symbolizer knows. PROGRAMS is the directory of that.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "commands.h"
#include "debugfile.h"
#include "scratch.h"
#include "segment_builder.h"

#define BIAS       UINT64_C(0x7f0000000000)
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
    } commands[] = {{"profile", mw_command_profile},
                    {"report", mw_command_report},
                    {"diff", mw_command_diff},
                    {"leaks", mw_command_leaks}};
    struct call *call = context;
    char *argv[MOST_WORDS + 1] = {0};
    int argc = 0;
    for (; argc < MOST_WORDS && call->words[argc]; argc++)
        argv[argc] = (char *)call->words[argc];
    if (chdir(call->dir) < 0 || dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO) < 0 ||
        dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO) < 0)
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

/* Runs it in dir. The outputs are in dir/out and dir/err. */
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

/* A segment of a dead process that ran the program that says where its calls are. blocks: how many live. */
static void leave_segment(const char *dir, const char *name, unsigned blocks, bool other_build)
{
    struct segment_builder builder;
    struct mw_debugfile_facts facts;
    uint64_t frames[2] = {0};
    unsigned long address;
    char label[64];
    FILE *says = popen(PROGRAMS "/symbols", "r"); // NOLINT(cert-env33-c)
    assert_non_null(says);
    while (fscanf(says, "%63s %lx %*u", label, &address) == 2) // NOLINT(cert-err34-c)
        frames[strcmp(label, "main") == 0] = BIAS + address;
    pclose(says);
    int fd = mw_debugfile_open(NULL, PROGRAMS "/symbols");
    assert_true(mw_debugfile_inspect(fd, &facts));
    close(fd);
    segment_builder_start(&builder, &segment_builder_tiny);
    builder.header->state = MW_SEGMENT_ENDED;
    segment_builder_module(&builder, BIAS, BIAS + 0x100000, PROGRAMS "/symbols");
    builder.modules[0].bias = BIAS;
    builder.modules[0].build_id_bytes = facts.build_id_bytes;
    memcpy(builder.modules[0].build_id, facts.build_id, facts.build_id_bytes);
    builder.modules[0].build_id[0] ^= other_build;
    uint32_t stack = segment_builder_stack(&builder, 0, 2, frames);
    for (unsigned i = 0; i < blocks; i++)
        segment_builder_sample(&builder, stack, 1000, 500 * MW_SEGMENT_OBJECT);
    segment_builder_write(&builder, scratch_path(dir, name));
    segment_builder_free(&builder);
}

static void wrong_command_lines(void **state)
{
    static const struct {
        const char *words[MOST_WORDS];
        const char *said;
    } cases[] = {
        {{"report"}, "memwatch report: no process is named; usage: memwatch report PID|SEGMENT"},
        {{"report", "1", "2"}, "one process at a time; usage: "},
        {{"report", "1", "--top"}, "memwatch report: --top needs a number; usage: "},
        {{"report", "1", "--top", "0"}, "--top takes a number from 1 to 1000000, not \"0\"; usage: "},
        {{"report", "1", "--top", "-3"}, "not \"-3\"; usage: "},
        {{"report", "1", "--top=ten"}, "not \"ten\"; usage: "},
        {{"report", "1", "--bottom"}, "memwatch report: there is no option --bottom; usage: "},
        {{"profile", "1"}, "memwatch profile: one of -o FILE, --folded and --text"},
        {{"profile", "--text"}, "memwatch profile: no process is named; usage: "},
        {{"profile", "1", "--text", "--folded"}, "one of -o FILE, --folded and --text"},
        {{"profile", "1", "-o"}, "memwatch profile: -o needs the path of a file; usage: "},
        {{"profile", "1", "-o", "x", "--alloc"}, "--alloc and --objects are for texts; usage: "},
        {{"diff", "1"}, "memwatch diff: two profiles are to be named; usage: "},
        {{"diff", "1", "2", "3"}, "memwatch diff: two profiles are to be named; usage: "},
        {{"leaks"}, "memwatch leaks: no process is named; usage: memwatch leaks PID|SEGMENT\n"},
        {{"leaks", "-x", "1"}, "memwatch leaks: there is no option -x; usage: "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_I64(cases[i].said, run(*state, cases[i].words), MW_COMMAND_USAGE);
        const char *said = output(*state, "err");
        CHECK_HAS(cases[i].said, said, cases[i].said);
        CHECK(cases[i].said, strchr(said, '\n') == said + strlen(said) - 1);
        CHECK_TEXT(cases[i].said, output(*state, "out"), "");
    }
}

static void what_cannot_be_done(void **state)
{
    static const struct {
        const char *words[MOST_WORDS];
        const char *said;
    } cases[] = {
        {{"report", "/nowhere"}, "memwatch: cannot open /nowhere: No such file or directory\n"},
        {{"leaks", "text"}, "text is not a memwatch segment\n"},
        {{"profile", "segment", "-o", "nowhere/heap.pb.gz"}, "memwatch: cannot write nowhere/heap.pb.gz: No such file"},
        {{"diff", "segment", "text"}, "text is not a memwatch segment\n"},
        {{"diff", "gzip", "segment"}, "memwatch: gzip is damaged, or too large\n"},
        {{"report", "unsampled"}, " has no heap profile: it runs with MEMWATCH_SAMPLE=off\n"},
    };
    struct segment_builder builder;
    leave_segment(*state, "segment", 1, false);
    scratch_write(*state, "text", "no segment");
    scratch_write(*state, "gzip", "\x1f\x8b\x08 and so on");
    segment_builder_start(&builder, &segment_builder_tiny);
    builder.header->sample_mean_bytes = 0;
    segment_builder_write(&builder, scratch_path(*state, "unsampled"));
    segment_builder_free(&builder);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_I64(cases[i].said, run(*state, cases[i].words), MW_COMMAND_FAILED);
        CHECK_HAS(cases[i].said, output(*state, "err"), cases[i].said);
        CHECK_TEXT(cases[i].said, output(*state, "out"), "");
    }
}

static void commands_name_what_held_the_memory(void **state)
{
    static const struct {
        const char *words[MOST_WORDS];
        const char *printed[4];
    } cases[] = {
        {{"report", "few"}, {"inlined_inner symbols.c:", "hidden symbols.c:", "By function", "of up to 1008 B each"}},
        {{"report", "few", "--post-mortem"}, {"inlined_inner symbols.c:", " <- inlined_outer symbols.c:"}},
        {{"profile", "few", "--folded"}, {"main;hidden;inlined_outer;inlined_inner 1000000\n"}},
        {{"profile", "few", "--folded", "--objects"}, {"main;hidden;inlined_outer;inlined_inner 1000\n"}},
        {{"profile", "few", "--folded", "--no-symbols"}, {"symbols+0x"}},
        {{"profile", "few", "--text", "--alloc"}, {"live 976.6 KiB", "    inlined_inner symbols.c:"}},
        {{"profile", "-o", "few.pb.gz", "few"}, {""}},
        {{"diff", "few.pb.gz", "many"},
         {"live bytes: +976.6 KiB", "(976.6 KiB -> 1.9 MiB, 1000 -> 2000 blocks)", "1 stack grew, 0 shrank",
          "inlined_inner <- inlined_outer\n     <- hidden <- main\n"}},
        {{"diff", "many", "few"}, {"live bytes: -976.6 KiB", "0 stacks grew, 1 shrank"}},
        {{"diff", "few", "few"}, {"live bytes: +0 B; 0 stacks grew, 0 shrank"}},
        {{"leaks", "few"}, {"Too little of its past is known"}},
    };
    leave_segment(*state, "few", 2, false);
    leave_segment(*state, "many", 4, false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char what[64];
        snprintf(what, sizeof what, "case %zu: %s %s", i, cases[i].words[0], cases[i].words[1]);
        CHECK_I64(what, run(*state, cases[i].words), MW_COMMAND_OK);
        CHECK_TEXT(what, output(*state, "err"), "");
        for (size_t k = 0; k < COUNT(cases[i].printed) && cases[i].printed[k]; k++)
            CHECK_HAS(what, output(*state, "out"), cases[i].printed[k]);
    }
}

static void a_changed_program_is_mentioned_once(void **state)
{
    leave_segment(*state, "segment", 2, true);
    assert_int_equal(run(*state, (const char *const[MOST_WORDS]){"report", "segment"}), MW_COMMAND_OK);
    assert_string_equal(output(*state, "err"), "memwatch: " PROGRAMS "/symbols is another build now than the one that "
                                               "ran: its functions have no names\n");
    CHECK_HAS("offsets", output(*state, "out"), "symbols+0x");
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(wrong_command_lines),
        WITH_SCRATCH(what_cannot_be_done),
        WITH_SCRATCH(commands_name_what_held_the_memory),
        WITH_SCRATCH(a_changed_program_is_mentioned_once),
    };
    unsetenv("DEBUGINFOD_URLS"); // NOLINT(concurrency-mt-unsafe)
    return cmocka_run_group_tests_name("profile_commands", tests, NULL, NULL);
}
