/* SPDX-License-Identifier: MIT
 *
 * How a run ended and why, in a sentence and as JSON. Pure: a wait status and what the kernel has counted in, a verdict
 * and text out.
 *
 * A SIGKILL by the kernel's OOM killer looks like any other; only the group's count of OOM kills tells them apart. The
 * kernel raises it before it sends the signal. What it was for is told by where else something was counted:
 *
 *     calls of the OOM killer for   the group's limit   a limit above   kills in the group
 *     the group's own limit         +                                   +
 *     a limit above                                     +               +
 *     the whole machine                                                 +
 *     kill -9, cgroup.kill
 *
 * Where more than one of these may have been, the verdict says so: no cause is better than a wrong one.
 */
#ifndef MW_VERDICT_H
#define MW_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "group_counts.h"
#include "text.h"

/* X(NAME, word, is an OOM kill, phrase). The phrase follows "app (pid 7) ", of OOM kills "the kernel's OOM killer ". */
/* clang-format off */
#define MW_CAUSES(X) \
    X(EXITED,              "exited",              false, "exited with status ") \
    X(ENDED,               "ended",               false, "has ended, with what status is not known,") /* no child of ours */ \
    X(SIGNALLED,           "signalled",           false, "was killed by signal ") \
    X(CRASHED,             "crashed",             false, "crashed with signal ") \
    X(KILLED,              "killed",              false, "was killed by signal ")          /* SIGKILL, and not of the OOM killer's */ \
    X(KILLED_OR_OOM,       "killed-or-oom",       false, "was killed by signal ")          /* SIGKILL, whose is not known */ \
    X(OWN_LIMIT,           "own-limit",           true,  "at its own limit") \
    X(OWN_SWAP_LIMIT,      "own-swap-limit",      true,  "at its own limit of memory and swap together") \
    X(INNER_LIMIT,         "inner-limit",         true,  "at the limit of a cgroup that it had made itself") \
    X(ANCESTOR_LIMIT,      "ancestor-limit",      true,  "at the limit of the cgroup ") \
    X(ANCESTOR_SWAP_LIMIT, "ancestor-swap-limit", true,  "at the limit of memory and swap together of the cgroup ") \
    X(HIDDEN_LIMIT,        "hidden-limit",        true,  "at the limit of a cgroup above what can be seen here") \
    X(MACHINE,             "machine",             true,  "as the whole machine had run out of memory") \
    X(OOM,                 "oom",                 true,  "")                               /* for which limit cannot be told */
/* clang-format on */

enum mw_cause {
#define MW_CAUSE_NAME(NAME, word, is_oom, phrase) MW_CAUSE_##NAME,
    MW_CAUSES(MW_CAUSE_NAME)
#undef MW_CAUSE_NAME
};

const char *mw_cause_word(enum mw_cause cause);
const char *mw_cause_phrase(enum mw_cause cause);

/* Was it the OOM killer, for whatever limit? */
bool mw_cause_is_oom(enum mw_cause cause);

struct mw_verdict_facts {
    const char *program;
    int pid;
    int wait_status;    /* of waitpid */
    bool has_no_status; /* nobody has told us the former */
    bool before_exec;   /* it was killed before it had become the program */
    uint64_t ran_ns;
    unsigned restarts;               /* before this run */
    struct mw_group_counts happened; /* in this run: mw_group_counts_since */
    bool has_group;                  /* the figures below are known */
    struct mw_cgroup cgroup;         /* level 0 of what has happened */
    bool is_shared;                  /* no group of its own: the launcher is in it too */
    bool has_others;                 /* in the shared group; the peak is nobody's in particular */
    uint64_t limit_bytes;            /* the least over all levels; 0: none */
    uint64_t peak_bytes;             /* 0: not known; so below */
    uint64_t swap_limit_bytes;       /* as of struct mw_level_counts; 0: none or not known */
    uint64_t swap_peak_bytes;
    uint64_t working_set_bytes; /* of what has been left at the end */
};

/* What the OOM killer may have been called for. */
struct mw_oom_origin {
    enum mw_cause cause; /* never MW_CAUSE_OOM */
    unsigned level;      /* of the limit, for those that have one */
};

#define MW_ORIGINS (2 * MW_GROUP_COUNTS_LEVELS + 3)

struct mw_verdict {
    enum mw_cause cause; /* of the program's end */
    uint64_t oom_kills;  /* in the group, the program or others; 0 too where that is not known */
    /* Why there were OOM kills, if there were: one origin is a certain one, of several it was one or more, and none
     * means that it cannot be told. */
    unsigned origin_count;
    struct mw_oom_origin origins[MW_ORIGINS];
};

struct mw_verdict mw_verdict(const struct mw_verdict_facts *facts);

/* The status that memwatch-run ends with for it. */
int mw_verdict_exit_status(int wait_status);

/* The group that an origin's limit is of; "" where it has none. In the buffer, which is returned. */
const char *mw_verdict_directory(const struct mw_verdict_facts *facts, struct mw_oom_origin origin,
                                 char buffer[static MW_CGROUP_PATH_BYTES]);

/* That limit; 0: not known. */
uint64_t mw_verdict_limit_bytes(const struct mw_verdict_facts *facts, struct mw_oom_origin origin);

/* "app (pid 7) was killed by the kernel's OOM killer at its own limit after 1.2 s: limit 60 MiB (62914560 bytes), peak
 * 60 MiB (62914560 bytes), 1 OOM kill": one line, without its end. */
void mw_verdict_text(struct mw_text *out, const struct mw_verdict_facts *facts);

/* The same as one object on one line, without its end. What is not known is left out. */
void mw_verdict_json(struct mw_text *out, const struct mw_verdict_facts *facts);

#endif
