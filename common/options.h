/* SPDX-License-Identifier: MIT
 *
 * The options of libmemwatch.so: environment variables MEMWATCH_*, one table.
 *
 * X(NAME, member, type, default, accepted, help): the variable is MEMWATCH_NAME, `type` names its parser in options.c.
 * The struct, the parser, what is said of a wrong value, and the manual expand from it.
 */
#ifndef MW_OPTIONS_H
#define MW_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "units.h"

/* clang-format off */
#define MW_OPTIONS(X) \
    X(INTERVAL, interval_ns, interval, "1s",     "a duration from 10ms to 24h, such as 250ms, 1s, 1.5m", "time from one line to the next") \
    X(OUTPUT,   output,      output,   "stderr", "stderr, stdout, none, fd:N, or a path with a / in it", "where the lines go; a file is appended to") \
    X(FORMAT,   format,      format,   "text",   "text or json",                                         "aligned text, or one JSON object a line") \
    X(MONITOR,  monitor,     monitor,  "auto",   "auto, thread or off",                                  "auto: a thread that libc does not know of, which costs a single-threaded program nothing; thread: an ordinary one; off: neither lines nor limit") \
    X(SAMPLE,   sample,      sample,   "512K",   "a size such as 512K, 1 (every block), or off",          "mean distance in allocated bytes between sampled blocks") \
    X(UNWIND,   unwind,      unwind,   "auto",   "auto or fp",                                           "how call stacks are found: auto: by the unwind tables, where there are none by frame pointers; fp: by frame pointers alone, which is faster and stops in code that keeps none") \
    X(DIR,      directory,   directory, "/dev/shm", "the path of a directory",                           "where the segment stands, in memwatch-UID/") \
    X(KEEP,     keep,        flag,     "no",     "yes or no",                                            "leave the segment there also when the program ends by itself") \
    X(RUN,      run,         name,     "",       "a name of up to 63 characters",                        "what memwatch-run calls all that it has started together") \
    X(TRIM_PERCENT, trim_percent, percent, "50", MW_PERCENT_ACCEPTED,        "as GOGC: memory is asked back when the allocator holds more than this share of what is live, and when the program goes quiet") \
    X(LIMIT,    limit,       amount,   "90%",    MW_AMOUNT_ACCEPTED,                                     "as GOMEMLIMIT: usage past which the allocator is asked to return memory; a share is of the cgroup's limit") \
    X(HARD_LIMIT, hard_limit, amount, "off", MW_AMOUNT_ACCEPTED,                                         "past so much resident memory of this process its allocations fail (ENOMEM, bad_alloc), after a last try to get some back; a share is of the cgroup's limit at the start")
/* clang-format on */

#define MW_SHORTEST_INTERVAL_NS UINT64_C(10000000)
#define MW_LONGEST_INTERVAL_NS  (24 * 3600 * UINT64_C(1000000000))

enum mw_monitor_kind { MW_MONITOR_AUTO, MW_MONITOR_THREAD, MW_MONITOR_OFF };

enum mw_unwind_kind { MW_UNWIND_AUTO, MW_UNWIND_FRAME_POINTERS };

enum mw_format { MW_FORMAT_TEXT, MW_FORMAT_JSON };

struct mw_output_target {
    enum mw_output_kind { MW_OUTPUT_NONE, MW_OUTPUT_FD, MW_OUTPUT_PATH } kind;
    int fd;
    const char *path; /* points into the environment it was parsed from */
};

typedef uint64_t mw_option_interval;
typedef struct mw_output_target mw_option_output;
typedef enum mw_format mw_option_format;
typedef enum mw_monitor_kind mw_option_monitor;
typedef uint64_t mw_option_sample; /* bytes; 0: off */
typedef enum mw_unwind_kind mw_option_unwind;
typedef const char *mw_option_directory; /* points into the environment */
typedef bool mw_option_flag;
typedef const char *mw_option_name; /* points into the environment */
typedef struct mw_amount mw_option_amount;
typedef int mw_option_percent; /* below 0: off */

struct mw_options {
#define MW_OPTION_MEMBER(NAME, member, type, fallback, accepted, help) mw_option_##type member;
    MW_OPTIONS(MW_OPTION_MEMBER)
#undef MW_OPTION_MEMBER
};

/* Called for each variable that is unknown or malformed, with a line (and its newline) that says so. */
typedef void mw_complain(void *context, const char *line);

/* Reads the options out of a NULL-terminated environment. What is wrong is told to `complain` and its default taken:
 * this never fails. An empty value is as none. Any thread; async-signal-safe if `complain` is. */
void mw_options_parse(struct mw_options *options, char *const *environment, mw_complain *complain, void *context);

#endif
