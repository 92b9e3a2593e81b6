/* SPDX-License-Identifier: MIT
 *
 * The commands of memwatch: one table, from which the dispatch and the help expand; one file a command.
 *
 * A command gets its own words, argv[0] being its name, and returns the exit status. It says one line on standard
 * error where it has not done what it was told to.
 */
#ifndef MW_COMMANDS_H
#define MW_COMMANDS_H

#include "error.h"

/* X(name, arguments, help): the function is mw_command_name, in command_name.c. */
/* clang-format off */
#define MW_COMMANDS(X) \
    X(ps,      "[--all] [--json] [--sweep]",                "list the watched processes; --all: and what dead ones have left; --sweep: and remove that") \
    X(stats,   "PID|SEGMENT [--json] [--watch[=INTERVAL]]", "all statistics of a process, also of a dead one; --watch: a line each INTERVAL (1s)") \
    X(report,  "PID|SEGMENT [--top=N] [--json|--post-mortem]", "who holds the memory, or held it when the process died, and what happened last") \
    X(profile, "PID|SEGMENT -o FILE|--folded|--text [--alloc] [--objects] [--no-symbols]", "the heap profile, as a file for pprof, for flame graphs, or to read") \
    X(leaks,   "PID|SEGMENT",                               "what grows, and how sure that is") \
    X(diff,    "BEFORE AFTER",                              "what grew and what shrank from one profile to another") \
    X(trim,    "PID",                                       "have the process return memory that it does not use, and say how much came back") \
    X(set,     "PID KEY=VALUE...",                          "change interval, limit or sample of a running process") \
    X(serve,   "[--listen=ADDRESS:PORT|unix:PATH] [--token-file=FILE]", "serve the figures of all watched processes for Prometheus, and their profiles for pprof, on 127.0.0.1:9464")
/* clang-format on */

enum { MW_COMMAND_OK, MW_COMMAND_FAILED, MW_COMMAND_USAGE };

#define MW_COMMAND_DECLARE(name, arguments, help) int mw_command_##name(int argc, char **argv);
MW_COMMANDS(MW_COMMAND_DECLARE)
#undef MW_COMMAND_DECLARE

/* "memwatch: text" on standard error; MW_COMMAND_FAILED. */
int mw_command_failed(const struct mw_error *error);

/* "memwatch NAME: what is wrong; usage: memwatch NAME ARGUMENTS" on standard error; MW_COMMAND_USAGE. */
int mw_command_usage(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for the option at which getopt_long has just returned '?'. Long options have values from here on. */
#define MW_COMMAND_OPTION 256
int mw_command_bad_option(char *const *argv);

#endif
