/* SPDX-License-Identifier: MIT
 *
 * memwatch diff A B: what grew and what shrank from one profile to another.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "debugfile.h"
#include "diff.h"
#include "inspect.h"
#include "memory.h"
#include "pprof_read.h"
#include "report.h"

#define DEFAULT_TOP     10
#define MOST_FILE_BYTES (UINT64_C(256) << 20)
#define MOST_FRAMES     6
#define MOST_NAME       44 /* two stand on a line */

/* All of a regular file that begins as a pprof file. False, with no error set: it is something else. */
static bool read_pprof_file(const char *path, void **bytes, size_t *count)
{
    struct stat status;
    unsigned char start[4];
    int fd = mw_debugfile_open(NULL, path);
    if (fd < 0)
        return false;
    bool is_one = pread(fd, start, sizeof start, 0) == sizeof start && mw_pprof_is_one(start, sizeof start) &&
                  fstat(fd, &status) == 0 && (uint64_t)status.st_size <= MOST_FILE_BYTES;
    *count = 0;
    if (is_one) {
        *bytes = mw_memory_new((size_t)status.st_size, 1);
        for (ssize_t n = 1; n > 0 && *count<(size_t)status.st_size; *count += n> 0 ? (size_t)n : 0)
            n = pread(fd, (char *)*bytes + *count, (size_t)status.st_size - *count, (off_t)*count);
    }
    close(fd);
    return is_one;
}

/* One side of the comparison: a file that memwatch profile wrote, a segment, or a process. */
static bool load(const char *word, struct mw_folded *folded, struct mw_error *error)
{
    void *bytes;
    size_t count;
    struct mw_inspect inspect;
    if (read_pprof_file(word, &bytes, &count)) {
        struct mw_pprof_read read;
        struct mw_error what;
        bool done = mw_pprof_read(bytes, count, &read, &what);
        free(bytes);
        if (!done)
            return mw_error_set(error, 0, "%s %s", word, what.text);
        mw_folded_add_profile(folded, &read.profile, read.namer, true);
        mw_pprof_read_free(&read);
        return true;
    }
    if (!mw_inspect_open(word, MW_SYMBOLS_FUNCTIONS, &inspect, error))
        return false;
    mw_folded_add_profile(folded, &inspect.profile, inspect.namer, true);
    mw_inspect_say_other_builds(&inspect);
    mw_inspect_close(&inspect);
    return true;
}

/* The frames of "outer;inner" from the inside out. */
static void print_frames(const char *stack)
{
    const char *end = stack + strlen(stack);
    fputs("        ", stdout);
    for (unsigned i = 0; end > stack && i < MOST_FRAMES; i++) {
        const char *start = memrchr(stack, ';', (size_t)(end - stack));
        start = start ? start + 1 : stack;
        int length = (int)(end - start);
        printf("%s%.*s", i == 0 ? "" : i % 2 ? " <- " : "\n     <- ", length < MOST_NAME ? length : MOST_NAME, start);
        end = start > stack ? start - 1 : stack;
    }
    fputs(end > stack ? " <- ...\n" : "\n", stdout);
}

static void print_change(double change, double error)
{
    printf("%c%s", change < 0 ? '-' : '+', mw_report_size((uint64_t)(change < 0 ? -change : change)));
    if (error >= 1)
        printf(" +- %s", mw_report_size((uint64_t)error));
}

static void print_row(const struct mw_diff_row *row)
{
    print_change(row->change_bytes, row->change_error);
    printf("  (%s -> %s, %" PRIu64 " -> %" PRIu64 " blocks)\n", mw_report_size(row->before.bytes),
           mw_report_size(row->after.bytes), row->before.objects, row->after.objects);
    print_frames(row->stack);
}

static void print_diff(const struct mw_diff *diff, size_t top)
{
    size_t grown = 0;
    while (grown < diff->count && diff->rows[grown].change_bytes > 0)
        grown++;
    size_t shrunk = diff->count - grown;
    fputs("live bytes: ", stdout);
    print_change(diff->change_bytes, diff->change_error);
    printf("; %zu stack%s grew, %zu shrank\n", grown, grown == 1 ? "" : "s", shrunk);
    if (grown)
        puts("\ngrew");
    for (size_t i = 0; i < grown && i < top; i++)
        print_row(&diff->rows[i]);
    if (grown > top)
        printf("and %zu more\n", grown - top);
    if (shrunk)
        puts("\nshrank");
    for (size_t i = 0; i < shrunk && i < top; i++)
        print_row(&diff->rows[diff->count - 1 - i]);
    if (shrunk > top)
        printf("and %zu more\n", shrunk - top);
}

int mw_command_diff(int argc, char **argv)
{
    static const struct option options[] = {{0}};
    struct mw_folded before = {0};
    struct mw_folded after = {0};
    struct mw_error error;
    optind = 0;
    if (getopt_long(argc, argv, ":", options, NULL) != -1)
        return mw_command_bad_option(argv);
    if (argc - optind != 2)
        return mw_command_usage("diff", "two profiles are to be named");
    bool loaded = load(argv[optind], &before, &error) && load(argv[optind + 1], &after, &error);
    if (loaded) {
        struct mw_diff diff = mw_diff_make(&before, &after);
        print_diff(&diff, DEFAULT_TOP);
        mw_diff_free(&diff);
    }
    mw_folded_free(&before);
    mw_folded_free(&after);
    return loaded ? MW_COMMAND_OK : mw_command_failed(&error);
}
