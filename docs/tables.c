/* SPDX-License-Identifier: MIT
 *
 * Prints the reference tables of docs/ from the lists that the code itself expands: `tables statistics`, `tables
 * options`; and `tables man` a manual page of the Markdown on standard input, where the line "@LIST" is one of them.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "memwatch_statistics.h"
#include "metrics.h"
#include "options.h"
#include "roff.h"
#include "run_options.h"

/* A pipe would end the cell. */
static void cell(const char *text)
{
    for (; *text; text++)
        printf(*text == '|' ? "\\|" : "%c", *text);
}

static void row(const char *const *cells, unsigned count)
{
    putchar('|');
    for (unsigned i = 0; i < count; i++) {
        putchar(' ');
        cell(cells[i]);
        fputs(" |", stdout);
    }
    putchar('\n');
}

#define ROW(...)                                                                                                       \
    row((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* Of a statistic that is the same as another there is no metric. */
static void statistic_row(const char *name, const char *kind, const char *unit, const char *metric, const char *help)
{
    char quoted_name[64];
    char called[128] = "";
    struct mw_text text = MW_TEXT(called);
    snprintf(quoted_name, sizeof quoted_name, "`%s`", name);
    if (*metric) {
        mw_text_char(&text, '`');
        mw_metrics_name(&text, metric, unit, kind);
        mw_text_char(&text, '`');
    }
    ROW(quoted_name, kind, unit, help, called);
}

static void statistics(void)
{
    puts("# Statistics\n\n"
         "The members of `struct memwatch_stats` and the keys of the JSON lines. Names and meanings are Go's\n"
         "([runtime.MemStats](https://pkg.go.dev/runtime#MemStats)) where there is one; Go's GC is the trim.\n"
         "JSON lines hold besides: `Pid`, `Comm`, `Time`, `PauseNs` (the last 256 trims' durations, of which the "
         "latest\n"
         "is at (NumTrim + 255) % 256), `BySize` (`Size`, the largest usable size of the class; `Mallocs`; "
         "`Frees`)\n"
         "and `Allocators` (below).\n\n"
         "The last column is what `memwatch serve` calls it: seconds rather than ns. Of an optional one there is no "
         "sample where\nit is 0.\n"
         "\nMade from `include/memwatch_statistics.h` by `./dev docs`.\n\n"
         "| name | kind | unit | meaning | metric |\n|---|---|---|---|---|");
#define STATISTIC_ROW(ctype, Name, kind, unit, metric, help) statistic_row(#Name, #kind, #unit, metric, help);
    MEMWATCH_STATISTICS(STATISTIC_ROW)
    puts("\n## What the allocator itself says\n\n"
         "`Allocators` holds, for each allocator that was asked to return memory, its `Name`, when the last such trim "
         "ended\n"
         "(`LastTrim`, unix_ns), and what its own books said right then. HeapSys, HeapIdle and HeapReleased above are "
         "of "
         "the\n"
         "kernel and of now instead: the one asked later would take the allocator's locks, and figures of two moments "
         "would not\n"
         "add up to Sys. What an allocator does not tell is left out (`UINT64_MAX` in the struct).\n\n"
         "| name | meaning |\n|---|---|");
#define FIGURE_ROW(Name, help) ROW("`" #Name "`", help);
    MEMWATCH_ALLOCATOR_FIGURES(FIGURE_ROW)
}

static void flag_row(char letter, const char *name, const char *help)
{
    char both[64];
    snprintf(both, sizeof both, "`-%c`, `--%s`", letter, name);
    ROW(both, "", "", help);
}

static void options(void)
{
    puts("# Options\n\n"
         "Sizes: `100M` = `100MB` = `100MiB` = `100Mi` = 104857600 bytes; fractions as in `1.5G`. Shares: `90%`.\n"
         "Durations: `250ms`, `1s`, `1.5m`; a bare number is seconds.\n\n"
         "Made from `common/options.h` and `agent/run_options.h` by `./dev docs`.\n\n"
         "## libmemwatch.so\n\n"
         "Environment variables. What is unknown or malformed is named on standard error with what is accepted, and "
         "the\n"
         "program runs on with the default.\n\n"
         "| variable | default | takes | what for |\n|---|---|---|---|");
#define OPTION_ROW(NAME, member, type, fallback, accepted, help)                                                       \
    ROW("`MEMWATCH_" #NAME "`", "`" fallback "`", accepted, help);
    MW_OPTIONS(OPTION_ROW)
    puts(
        "\n## memwatch-run\n\n"
        "`memwatch-run [OPTION]... [--] PROGRAM [ARGUMENT]...`. What is wrong ends it with status 125 and one line.\n\n"
        "| option | default | takes | what for |\n|---|---|---|---|");
#define RUN_ROW(name, member, type, fallback, argument, accepted, help)                                                \
    ROW("`--" name "=" argument "`", *(fallback) ? "`" fallback "`" : "", accepted, help);
    MW_RUN_OPTIONS(RUN_ROW)
#define FLAG_ROW(name, letter, member, help) flag_row(letter, name, help);
    MW_RUN_FLAGS(FLAG_ROW)
}

/* One term of a manual page, in bold and italic, and its explanation. */
static void term(const char *bold, const char *italic, const char *help, const char *takes, const char *fallback)
{
    char line[4096], text[2048], accepted[1024];
    roff_line("");
    snprintf(line, sizeof line, "**%s**%s%s%s", bold, *italic ? "*" : "", italic, *italic ? "*" : "");
    roff_line(line);
    roff_escape(help, text, sizeof text);
    if (!strchr(":(", help[strcspn(help, " :(")])) /* not a value or a call, which are written as they are */
        text[0] = (char)toupper(text[0]);
    roff_escape(takes, accepted, sizeof accepted);
    snprintf(line, sizeof line, ": %s.%s%s%s%s%s%s", text, *takes ? " Takes " : "", accepted, *takes ? "." : "",
             *fallback ? " Default: `" : "", fallback, *fallback ? "`." : "");
    roff_line(line);
}

static void flag_term(char letter, const char *name, const char *help)
{
    char both[64];
    snprintf(both, sizeof both, "-%c, --%s", letter, name);
    term(both, "", help, "", "");
}

/* Words in capitals are for the reader to put in; the rest is as it stands. */
static void command(const char *name, const char *arguments, const char *help)
{
    char bold[64];
    char italic[256];
    snprintf(bold, sizeof bold, "memwatch %s ", name);
    snprintf(italic, sizeof italic, "%s", arguments);
    term(bold, italic, help, "", "");
}

static void list(const char *name)
{
    if (strcmp(name, "run-options") == 0) {
#define RUN_TERM(name, member, type, fallback, argument, accepted, help)                                               \
    term("--" name "=", argument, help, accepted, fallback);
        MW_RUN_OPTIONS(RUN_TERM)
#define FLAG_TERM(name, letter, member, help) flag_term(letter, name, help);
        MW_RUN_FLAGS(FLAG_TERM)
    } else if (strcmp(name, "options") == 0) {
#define OPTION_TERM(NAME, member, type, fallback, accepted, help) term("MEMWATCH_" #NAME, "", help, accepted, fallback);
        MW_OPTIONS(OPTION_TERM)
    } else if (strcmp(name, "commands") == 0) {
#define COMMAND_TERM(name, arguments, help) command(#name, arguments, help);
        MW_COMMANDS(COMMAND_TERM)
    } else if (strcmp(name, "statistics") == 0) {
#define STATISTIC_TERM(ctype, Name, kind, unit, metric, help) term(#Name, "", help " (" #kind ", " #unit ")", "", "");
        MEMWATCH_STATISTICS(STATISTIC_TERM)
    } else {
        fprintf(stderr, "tables: there is no list \"%s\"\n", name);
        exit(2);
    }
}

static void man(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (*line == '@')
            list(line + 1);
        else
            roff_line(line);
    }
    roff_line(NULL);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "statistics") == 0)
        statistics();
    else if (argc == 2 && strcmp(argv[1], "options") == 0)
        options();
    else if (argc == 2 && strcmp(argv[1], "man") == 0)
        man();
    else
        return fputs("usage: tables statistics|options|man\n", stderr), 2;
    return 0;
}
