/* SPDX-License-Identifier: MIT
 *
 * The command line of memwatch-run: one table, from which the parser, the help and the manual expand.
 */
#ifndef MW_RUN_OPTIONS_H
#define MW_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator.h"
#include "error.h"
#include "restart.h"
#include "units.h"

#define MW_SMALLEST_LIMIT_BYTES (UINT64_C(1024) * 1024) /* below it not even `true` comes to its first line */

/* X(name, member, type, default, argument, accepted, help): the option is --name. */
/* clang-format off */
#define MW_RUN_OPTIONS(X) \
    X("limit",         limit,            amount,    "off",    "SIZE",     "a size of at least 1M, such as 100M or 1.5GiB, a share of the memory to be had such as 50%, or off", "memory limit of the program and all its descendants") \
    X("high",          high,             amount,    "off",    "SIZE",     "a size of at least 1M, a share of the limit such as 90%, or off", "past so much the kernel slows the program down and reclaims, short of killing (cgroup v2)") \
    X("swap",          swap,             room,      "any",    "SIZE",     "a size such as 0 or 512M, or any",           "how much the program may swap besides (v2: memory.swap.max; v1: memory.memsw, the limit and this)") \
    X("swappiness",    swappiness,       percent,   "",       "N",        "a number from 0 to 100",                     "how willingly the kernel swaps instead of killing (cgroup v1)") \
    X("oom-group",     oom_group,        flag,      "no",     "WHETHER",  "yes or no",                                  "whether an OOM kill takes all processes of the program at once (cgroup v2)") \
    X("limit-mode",    mode,             mode,      "auto",   "MODE",     "auto, cgroup, systemd or in-process",        "who holds the limit: a memory cgroup that we make, one that the systemd manager makes for us, or the watch inside the program; auto: the first that can be had") \
    X("cgroup",        cgroup,           path,      "",       "PATH",     "the path of a memory cgroup that exists",    "make the program's group below that one") \
    X("attach",        attach,           pid,       "",       "PID",      "the process id of a running process",         "limit a process that runs already, with its descendants, instead of starting a program; Ctrl-C and SIGTERM let go of it") \
    X("restart",       restart,          policy,    "on-oom", "POLICY",   "on-oom, on-failure, always or no",           "when to start the program again") \
    X("restart-delay", restart_delay_ns, duration,  "100ms",  "DURATION", MW_DURATION_ACCEPTED,                         "wait before the first restart") \
    X("restart-growth", restart_growth,  factor,    "2",      "N",        "a number from 1 to 100",                     "how many times longer each further wait is") \
    X("restart-delay-max", restart_delay_max_ns, duration, "30s", "DURATION", MW_DURATION_ACCEPTED,                     "the longest wait, where --restart-delay is not longer itself") \
    X("restart-jitter", restart_jitter,  percent,   "0",      "N",        "a number from 0 to 100",                     "by how many per cent at most a wait is longer or shorter at random, so that many programs do not start at once") \
    X("restart-reset", restart_reset_ns, duration,  "1m",     "DURATION", MW_DURATION_ACCEPTED,                         "after a run of so long waits and restarts are counted anew") \
    X("start-limit",   start_limit,      count,     "5",      "N",        "a number from 0 to 1000000",                 "restarts without such a run between them, then give up") \
    X("stop-timeout",  stop_timeout_ns,  duration,  "",       "DURATION", MW_DURATION_ACCEPTED,                         "so long after it was asked to stop all that is left of the program is killed; by default it has all the time it takes, and what it leaves behind 2s") \
    X("warn",          warn,             amount,    "95%",    "SIZE",     "a size of at least 1M, a share of the limit such as 90%, or off", "warn once so much of the limit is in use, file cache aside, or the program has to wait for memory") \
    X("warn-signal",   warn_signal,      signal,    "",       "SIGNAL",   "the name or number of a signal, such as TERM or 9", "send this signal to the program too when its limit is near") \
    X("pdeathsig",     pdeathsig,        signal,    "",       "SIGNAL",   "the name or number of a signal, such as TERM or 9", "send this signal to the program when memwatch-run itself is killed") \
    X("allocator",     allocator,        allocator, "glibc",  "NAME",     "glibc, jemalloc, tcmalloc or mimalloc",      "allocator to preload beneath the watch, where the system has it; glibc: the program's own, as it is") \
    X("keep",          keep,             path,      "",       "DIR",      "the path of a directory",                    "keep there a heap profile of each process that was killed (for pprof), and the history of deaths, deaths.jsonl") \
    X("pidfile",       pidfile,          path,      "",       "FILE",     "the path of a file",                         "write the program's process id there at each start, and remove the file at the end") \
    X("log",           log,              path,      "stderr", "WHERE",    "stderr, journal or the path of a file",      "where memwatch-run's own lines go; a file is appended to") \
    X("report",        report,           report,    "text",   "FORMAT",   "text or json",                               "how it is said how the program ended")

/* X(name, letter or 0, member, help): given or not. */
#define MW_RUN_FLAGS(X) \
    X("quiet",   'q', quiet,   "say nothing but what went wrong") \
    X("help",    'h', help,    "print this and end") \
    X("version", 'V', version, "print the version and end")
/* clang-format on */

#define MW_PERCENT_NONE  (-1)
#define MW_DURATION_NONE UINT64_MAX

enum mw_limit_mode { MW_MODE_AUTO, MW_MODE_CGROUP, MW_MODE_SYSTEMD, MW_MODE_IN_PROCESS };
enum mw_report_format { MW_REPORT_TEXT, MW_REPORT_JSON };

typedef struct mw_amount mw_run_amount;
typedef struct mw_amount mw_run_room; /* MW_AMOUNT_NONE: any; 0 bytes is a size too */
typedef int mw_run_percent;           /* or MW_PERCENT_NONE */
typedef enum mw_restart_policy mw_run_policy;
typedef uint64_t mw_run_duration; /* or MW_DURATION_NONE */
typedef unsigned mw_run_count;
typedef unsigned mw_run_factor;
typedef const char *mw_run_path; /* part of argv; "": none */
typedef enum mw_allocator mw_run_allocator;
typedef bool mw_run_flag;
typedef enum mw_limit_mode mw_run_mode;
typedef enum mw_report_format mw_run_report;
typedef int mw_run_signal; /* 0: none */
typedef int mw_run_pid;    /* 0: none */

// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): in the order of the list
struct mw_run_options {
    char **command; /* NULL-terminated, part of argv */
    uint64_t given; /* options of the table that are not left to their defaults: a bit each, in its order */
#define MW_RUN_MEMBER(name, member, type, fallback, argument, accepted, help) mw_run_##type member;
    MW_RUN_OPTIONS(MW_RUN_MEMBER)
#undef MW_RUN_MEMBER
#define MW_RUN_FLAG_MEMBER(name, letter, member, help) bool member;
    MW_RUN_FLAGS(MW_RUN_FLAG_MEMBER)
#undef MW_RUN_FLAG_MEMBER
};

/* Parses argv, NULL-terminated. False: *error names the option and what it takes. Where help or version is set nothing
 * else is to be heeded. */
bool mw_run_options_parse(struct mw_run_options *options, int argc, char **argv, struct mw_error *error);

/* Prints the help to standard output. */
void mw_run_options_help(void);

#endif
