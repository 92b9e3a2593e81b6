/* SPDX-License-Identifier: MIT
 *
 * The statistics as a person or a program reads them. Pure: a struct in, text out.
 * Any thread, async-signal-safe.
 */
#ifndef MW_FORMAT_H
#define MW_FORMAT_H

#include "memwatch.h"
#include "text.h"

/* Whose figures these are, and when they were read. */
struct mw_identity {
    int pid;
    const char *comm;      /* the kernel's name of the process (/proc/PID/comm) */
    uint64_t time_unix_ns; /* CLOCK_REALTIME */
};

#define MW_TEXT_LINE_BYTES 512
#define MW_JSON_LINE_BYTES 32768 /* the longest there can be: see tests/unit/format_test.c */

/* "memwatch[1234]: Alloc = 8.0 MiB   …\n", columns aligned from line to line. */
void mw_format_text(struct mw_text *out, const struct mw_identity *who, const struct memwatch_stats *stats);

/* One JSON object and a newline: Pid, Comm, Time (RFC 3339), every statistic by its name, Allocators (those that were
 * asked, and what they tell), PauseNs (those that were used) and BySize (the classes that were used). */
void mw_format_json(struct mw_text *out, const struct mw_identity *who, const struct memwatch_stats *stats);

/* Why memory was asked back; the numbers stand in segments: append only. X(NAME, Statistic, key, text) */
#define MW_TRIM_REASONS(X)                                                                                             \
    X(FORCED, NumForcedTrim, "forced", "trim asked for")                                                               \
    X(PERCENT, NumPercentTrim, "percent", "much is free, trim")                                                        \
    X(QUIET, NumQuietTrim, "quiet", "quiet, trim")                                                                     \
    X(LIMIT, NumLimitTrim, "limit", "past the limit of %, trim")                                                       \
    X(PRESSURE, NumPressureTrim, "pressure", "memory is short, trim")                                                  \
    X(HARD_LIMIT, NumHardLimitTrim, "hard limit", "at the hard limit of %, trim")                                      \
    X(CALLBACKS, NumCallbackTrim, "callbacks", "after the program's pressure callbacks, trim")

enum mw_trim_reason {
#define MW_TRIM_REASON_ENUM(NAME, Statistic, key, text) MW_TRIM_##NAME,
    MW_TRIM_REASONS(MW_TRIM_REASON_ENUM)
#undef MW_TRIM_REASON_ENUM
        MW_TRIM_REASON_COUNT
};

/* One time that memory was asked back. */
struct mw_trim_event {
    enum mw_trim_reason reason;
    uint32_t thread;      /* that has done it; 0: not known */
    uint64_t limit_bytes; /* that usage had passed or reached; 0: it was not for a limit */
    uint64_t rss_before_bytes;
    uint64_t rss_after_bytes;
    uint64_t returned_bytes;
    uint64_t pause_ns; /* from its begin to its end … */
    uint64_t cpu_ns;   /* … and of this, what the thread worked */
};

/* The reason's key, "limit"; "unknown" where there is no such one. */
const char *mw_format_trim_reason(uint64_t reason);

/* "past the limit of 64 MiB, trim: 30 MiB came back in 3 ms, RSS 70 MiB -> 40 MiB"; of any reason, known or not. */
void mw_format_trim_words(struct mw_text *out, const struct mw_trim_event *event);

/* "memwatch[1234]: … trim: …\n", and the same as a JSON object with Event = "trim". */
void mw_format_trim_text(struct mw_text *out, const struct mw_identity *who, const struct mw_trim_event *event);
void mw_format_trim_json(struct mw_text *out, const struct mw_identity *who, const struct mw_trim_event *event);

/* RFC 3339, in UTC, with milliseconds. */
void mw_format_time(struct mw_text *out, uint64_t unix_ns);

/* Something said once: a line of text, or a JSON object with Event = "note" and Text. */
void mw_format_note_text(struct mw_text *out, const struct mw_identity *who, const char *note);
void mw_format_note_json(struct mw_text *out, const struct mw_identity *who, const char *note);

#endif
