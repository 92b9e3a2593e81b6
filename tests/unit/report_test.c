/* SPDX-License-Identifier: MIT
 *
 * What a person reads: the texts made of profiles by hand, and the commands on a segment whose addresses lie in a
 * program that the symbolizer knows. PROGRAMS is the directory of that.
 */
#include "report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "commands.h"
#include "debugfile.h"
#include "profile_builder.h"
#include "scratch.h"
#include "segment_builder.h"

#define MIB        UINT64_C(1048576)
#define S          UINT64_C(1000000000)
#define BIAS       UINT64_C(0x7f0000000000)
#define MOST_WORDS 8
#define WIDEST     100

/* ---- texts ---- */

static struct mw_profile_module modules[] = {{.path = "/usr/bin/app"}, {.path = "/usr/lib/libc.so.6"}};

static const struct built_name names[] = {
    {1, 1, "malloc", NULL, 0, NULL},
    {2, 0, "cache_insert", "/src/app/cache.c", 88, NULL},
    {3, 0, "handle_request", "/src/app/server.c", 210, NULL},
    {4, 0, "main", "/src/app/server.c", 400, NULL},
    {5, 1, "__libc_start_call_main", NULL, 0, NULL},
    {6, 0, "a_function_of_so_long_a_name_that_it_would_fill_the_line_and_more_of_it_than_anybody_reads", "f.c", 1,
     NULL},
    {7, 0, "without_a_file", NULL, 0, NULL},
    {8, 0, "f1", "f.c", 1, NULL},
    {9, 0, "f2", "f.c", 2, NULL},
    {10, 0, "f3", "f.c", 3, NULL},
};

static const uint64_t cached[] = {1, 2, 3, 4, 5, 0};
static const uint64_t requested[] = {1, 3, 4, 5, 0};
static const uint64_t mapped[] = {6, 6, 6, 6, 6, 6, 6, 6, 4, 5, 0};
static const uint64_t fileless[] = {7, 0};
static const uint64_t others[][2] = {{8, 0}, {9, 0}, {10, 0}, {6, 0}};

struct scene {
    struct profile_builder builder;
    struct mw_segment_view view;
    struct mw_segment_row rows[20];
    struct mw_report report;
};

static int setup(void **state)
{
    static struct scene scene;
    struct profile_builder *builder = &scene.builder;
    scene = (struct scene){0};
    profile_builder_start(builder, names, COUNT(names), modules, COUNT(modules));
    profile_builder_stack(builder, requested, 100, 10 * MIB);
    struct mw_profile_stack *stack = profile_builder_stack(builder, cached, 43110, 80 * MIB);
    stack->live_bytes_error = 2.0 * MIB;
    stack->live.samples = 160;
    profile_builder_stack(builder, mapped, 1, 5 * MIB)->is_mmap = true;
    profile_builder_stack(builder, fileless, 1, 2 * MIB)->is_truncated = true;
    for (unsigned i = 0; i < COUNT(others); i++)
        profile_builder_stack(builder, others[i], 1, MIB / (i + 1));
    builder->profile.history_used = 4;
    for (unsigned i = 0; i < 4; i++) {
        builder->profile.history_ns[i] = 15 * i * S;
        stack->history_bytes[i] = 20 * i * MIB;
    }
    for (unsigned i = 0; i < COUNT(scene.rows); i++)
        scene.rows[i] =
            (struct mw_segment_row){.time_unix_ns = (1000 + i) * S, .Alloc = (i + 1) * MIB, .RSS = 30 * MIB};
    scene.view.seconds = scene.rows;
    scene.view.second_count = COUNT(scene.rows);
    scene.view.moment_unix_ns = 1020 * S;
    scene.view.totals.allocated_bytes = 100 * MIB;
    scene.view.snapshot.stats.RSS = 120 * MIB;
    scene.view.snapshot.stats.CgroupUsage = 150 * MIB;
    scene.view.snapshot.stats.CgroupLimit = 200 * MIB;
    snprintf(scene.view.header.program, sizeof scene.view.header.program, "/usr/bin/app");
    scene.report = (struct mw_report){.name = "process 7 (app)",
                                      .state = "dead",
                                      .view = &scene.view,
                                      .profile = &builder->profile,
                                      .namer = profile_builder_namer(builder),
                                      .top = 3};
    *state = &scene;
    return 0;
}

static int teardown(void **state)
{
    profile_builder_free(&((struct scene *)*state)->builder);
    return 0;
}

/* Closes the stream and returns what came, in memory of the caller's; lines are counted. */
struct out {
    char *text;
    size_t length;
    FILE *stream;
    unsigned lines;
};

static struct out *open_out(void)
{
    static struct out out;
    out = (struct out){0};
    out.stream = open_memstream(&out.text, &out.length);
    assert_non_null(out.stream);
    return &out;
}

static void close_out(struct out *out)
{
    size_t width = 0;
    fclose(out->stream);
    for (const char *c = out->text; *c; c++) {
        width = *c == '\n' ? 0 : width + 1;
        out->lines += *c == '\n';
        if (width > WIDEST)
            fail_msg("wider than %d columns: %s", WIDEST, out->text);
    }
}

static void the_report_names_holders_with_their_lines(void **state)
{
    static const char *const has[] = {
        "process 7 (app), dead, after 60 s, ",
        "live heap 100 MiB",
        "RSS 120 MiB, cgroup 150 MiB of 200 MiB",
        "sampled every 512 KiB",
        " 80.7 %  80 MiB +- 2 MiB in 43110 blocks (160 samples)\n"
        "         cache_insert cache.c:88\n"
        "         handle_request server.c:210\n"
        "         main server.c:400\n"
        "         before: 0 B 60 s ago, 20 MiB 45 s ago, 40 MiB 30 s ago, 60 MiB 15 s ago\n",
        ", mmap\n",
        "... 3 more\n",
        " in 5 more stacks\n",
        "  cache_insert\n",
        "  /usr/bin/app\n",
        "20 s ago  live      1 MiB",
        "1 s ago  live     20 MiB  RSS     30 MiB  ##############################\n",
    };
    static const char *const lacks[] = {"malloc", "__libc_start", "more stack\n"};
    struct out *out = open_out();
    mw_report_print(&((struct scene *)*state)->report, out->stream);
    close_out(out);
    for (size_t i = 0; i < COUNT(has); i++)
        CHECK_HAS("report", out->text, has[i]);
    for (size_t i = 0; i < COUNT(lacks); i++)
        CHECK_LACKS("report", out->text, lacks[i]);
    free(out->text);
}

static void the_post_mortem_is_short(void **state)
{
    struct out *out = open_out();
    mw_report_post_mortem(&((struct scene *)*state)->report, out->stream);
    close_out(out);
    CHECK_HAS("post-mortem", out->text, "held at the end: 99.1 MiB +- 2 MiB (estimated)\n");
    CHECK_HAS("post-mortem", out->text,
              " 80.7 %  80 MiB +- 2 MiB in 43110 blocks (160 samples)\n"
              "         cache_insert cache.c:88 <- handle_request server.c:210\n");
    CHECK_HAS("post-mortem", out->text, "         without_a_file (app)\n");
    CHECK_HAS("post-mortem", out->text, " in 3 more places\n");
    assert_in_range(out->lines, 5, 15);
    free(out->text);
}

static void all_stacks_are_listed_by_what_is_asked(void **state)
{
    static const struct {
        bool allocated;
        bool objects;
        const char *first;
    } cases[] = {{false, false, "live 80 MiB"}, {true, false, "live 80 MiB"}, {false, true, "live 80 MiB"}};
    struct scene *scene = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct out *out = open_out();
        mw_report_stacks(&scene->report, cases[i].allocated, cases[i].objects, out->stream);
        close_out(out);
        const char *first = strstr(out->text, "\n\n");
        assert_non_null(first);
        CHECK_I64(cases[i].first, strncmp(first + 2, cases[i].first, strlen(cases[i].first)), 0);
        CHECK_HAS("all", out->text,
                  "    without_a_file (app)\n    ... and what is outside of that, which was not kept\n");
        CHECK_HAS("all", out->text, "live 10 MiB in 100 blocks, allocated 20 MiB in 200\n");
        free(out->text);
    }
}

static void exact_figures_are_called_so(void **state)
{
    struct scene *scene = *state;
    scene->builder.profile.sample_mean_bytes = 1;
    for (size_t i = 0; i < scene->builder.profile.stack_count; i++)
        scene->builder.stacks[i].live_bytes_error = 0;
    scene->view.totals.by_size[3] = (struct memwatch_size_class){.Size = 64, .Mallocs = 10, .Frees = 4};
    struct out *out = open_out();
    mw_report_print(&scene->report, out->stream);
    mw_report_post_mortem(&scene->report, out->stream);
    close_out(out);
    CHECK_HAS("exact", out->text, "at most 384 B in 6 blocks, of up to 64 B each\n");
    CHECK_HAS("exact", out->text, "the profile's figures are exact");
    CHECK_HAS("exact", out->text, "(exact)");
    CHECK_LACKS("exact", out->text, "+-");
    CHECK_LACKS("exact", out->text, "sample");
    free(out->text);
}

static void what_was_dropped_and_what_is_not_there_is_said(void **state)
{
    struct scene *scene = *state;
    scene->builder.profile.dropped_samples = 12;
    scene->builder.profile.stack_count = 0;
    scene->view.second_count = 0;
    struct out *out = open_out();
    mw_report_print(&scene->report, out->stream);
    mw_report_post_mortem(&scene->report, out->stream);
    mw_report_stacks(&scene->report, false, false, out->stream);
    close_out(out);
    CHECK_HAS("dropped", out->text, "missing for want of room: 12 sampled blocks");
    CHECK_HAS("empty", out->text, "profile: 0 B live in 0 stacks");
    CHECK_LACKS("empty", out->text, "nan");
    free(out->text);
}

/* ---- commands ---- */

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

#define WITH_SCENE(test)   cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCENE(the_report_names_holders_with_their_lines),
        WITH_SCENE(the_post_mortem_is_short),
        WITH_SCENE(all_stacks_are_listed_by_what_is_asked),
        WITH_SCENE(exact_figures_are_called_so),
        WITH_SCENE(what_was_dropped_and_what_is_not_there_is_said),
        WITH_SCRATCH(wrong_command_lines),
        WITH_SCRATCH(what_cannot_be_done),
        WITH_SCRATCH(commands_name_what_held_the_memory),
        WITH_SCRATCH(a_changed_program_is_mentioned_once),
    };
    unsetenv("DEBUGINFOD_URLS"); // NOLINT(concurrency-mt-unsafe)
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
