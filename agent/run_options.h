/* SPDX-License-Identifier: MIT
 *
 * The command line of memwatch-run: one table, from which the parser, the help and the manual expand.
 */
#ifndef MW_RUN_OPTIONS_H
#define MW_RUN_OPTIONS_H

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
    X("limit-mode",    mode,             mode,      "auto",   "MODE",     "auto, cgroup, systemd or in-process",        "who holds the limit: a memory cgroup that we make, one in a scope of the user's systemd manager, or the watch inside the program; auto: the first that can be had") \
    X("swappiness",    swappiness,       percent,   "",       "N",        "a number from 0 to 100",                     "how willingly the kernel swaps instead of killing (cgroup v1)") \
    X("restart",       restart,          policy,    "on-oom", "POLICY",   "on-oom, on-failure, always or no",           "when to start the program again") \
    X("restart-delay", restart_delay_ns, duration,  "100ms",  "DURATION", MW_DURATION_ACCEPTED,                         "wait before the first restart; doubles up to 30 s, and anew after a run of a minute") \
    X("keep",          keep,             directory,"",       "DIR",      "the path of a directory",                    "keep there a heap profile of each process that was killed (for pprof), and the history of deaths, deaths.jsonl") \
    X("start-limit",   start_limit,      count,     "5",      "N",        "a number from 0 to 1000000",                 "restarts without a run of a minute between them, then give up") \
    X("allocator",     allocator,        allocator, "glibc",  "NAME",     "glibc, jemalloc, tcmalloc or mimalloc",      "allocator to preload beneath the watch, where the system has it; glibc: the program's own, as it is")
/* clang-format on */

#define MW_PERCENT_NONE (-1)

enum mw_limit_mode { MW_MODE_AUTO, MW_MODE_CGROUP, MW_MODE_SYSTEMD, MW_MODE_IN_PROCESS };

typedef struct mw_amount mw_run_amount;
typedef int mw_run_percent; /* or MW_PERCENT_NONE */
typedef enum mw_limit_mode mw_run_mode;
typedef enum mw_restart_policy mw_run_policy;
typedef uint64_t mw_run_duration;
typedef unsigned mw_run_count;
typedef const char *mw_run_directory; /* part of argv; "": none */
typedef enum mw_allocator mw_run_allocator;

struct mw_run_options {
    enum { MW_RUN_PROGRAM, MW_RUN_HELP, MW_RUN_VERSION } action;
    char **command; /* NULL-terminated, part of argv */
#define MW_RUN_MEMBER(name, member, type, fallback, argument, accepted, help) mw_run_##type member;
    MW_RUN_OPTIONS(MW_RUN_MEMBER)
#undef MW_RUN_MEMBER
};

/* Parses argv, NULL-terminated. False: *error names the option and what it takes. */
bool mw_run_options_parse(struct mw_run_options *options, int argc, char **argv, struct mw_error *error);

/* Prints the help to standard output. */
void mw_run_options_help(void);

#endif
