/* SPDX-License-Identifier: MIT
 *
 * The figures of all watched processes in the text formats that Prometheus and its kin scrape: the text format 0.0.4
 * and OpenMetrics 1.0. Pure: plain data in, text out.
 *
 * A family stands for one statistic of the list, with a sample for each process; that of an optional statistic has none
 * where its value is 0. What one format demands and the other lacks (units, # EOF, the type info) is all that they
 * differ in.
 *
 * Any thread; all pointers are the caller's.
 */
#ifndef MW_METRICS_H
#define MW_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "memwatch.h"
#include "text.h"

enum mw_metrics_format { MW_METRICS_TEXT, MW_METRICS_OPENMETRICS, MW_METRICS_FORMATS };

/* What Content-Type says of it. */
const char *mw_metrics_content_type(enum mw_metrics_format format);

/* The statistics, without the arrays that struct memwatch_stats holds besides. */
struct mw_metrics_values {
#define MW_METRICS_MEMBER(ctype, Name, kind, unit, metric, help) ctype Name;
    MEMWATCH_STATISTICS(MW_METRICS_MEMBER)
#undef MW_METRICS_MEMBER
};
struct mw_metrics_values mw_metrics_values(const struct memwatch_stats *stats);

/* Why a process has ended. X(NAME, text, help) */
#define MW_DEATH_CAUSES(X)                                                                                             \
    X(EXIT, "exit", "by itself, with status 0")                                                                        \
    X(FAILURE, "failure", "by itself, with another status")                                                            \
    X(OOM_KILL, "oom_kill", "not by itself, and the OOM killer had just taken a process of its cgroup")                \
    X(KILLED, "killed", "not by itself: by a signal")

enum mw_death_cause {
#define MW_DEATH_ENUM(NAME, text, help) MW_DEATH_##NAME,
    MW_DEATH_CAUSES(MW_DEATH_ENUM)
#undef MW_DEATH_ENUM
        MW_DEATH_CAUSE_COUNT
};

struct mw_metrics_process {
    const char *labels; /* by mw_metrics_label, commas between: pid, comm, cgroup, container_id */
    const char *info;   /* further labels, which stand on memwatch_process_info alone */
    uint64_t started_unix_ns;
    uint64_t tick_unix_ns; /* when the process last read the kernel's figures */
    struct mw_metrics_values values;
};

struct mw_metrics_deaths {
    const char *labels; /* comm, cgroup, container_id */
    uint64_t counts[MW_DEATH_CAUSE_COUNT];
};

/* The agent's own. X(type, name, unit, member, help); units as those of the statistics. */
#define MW_METRICS_AGENT(X)                                                                                            \
    X(gauge, "agent_watched_processes", count, watched, "processes that are watched, and whose figures are here")      \
    X(gauge, "agent_unreadable_processes", count, unreadable,                                                          \
      "processes that are watched, and whose segment cannot be read")                                                  \
    X(counter, "agent_scans", count, scans, "times that all processes were looked through for new ones")               \
    X(counter, "agent_cpu", ns, cpu_ns, "CPU time of the agent and of what it has started")                            \
    X(gauge, "agent_resident_memory", bytes, resident_bytes, "resident set size of the agent")                         \
    X(gauge, "agent_connections", count, connections, "connections that are open")                                     \
    X(counter, "agent_requests", count, requests, "requests answered")                                                 \
    X(counter, "agent_evicted_connections", count, evicted,                                                            \
      "connections closed for being slow, or for another's sake when there were too many")

struct mw_metrics_agent {
#define MW_METRICS_AGENT_MEMBER(type, name, unit, member, help) uint64_t member;
    MW_METRICS_AGENT(MW_METRICS_AGENT_MEMBER)
#undef MW_METRICS_AGENT_MEMBER
};

struct mw_metrics {
    const struct mw_metrics_process *const *processes;
    size_t process_count;
    const struct mw_metrics_deaths *const *deaths;
    size_t death_count;
    struct mw_metrics_agent agent;
};

void mw_metrics_write(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics);

/* name="value", escaped, and with a comma before it where something stands there already. An empty value is none. */
void mw_metrics_label(struct mw_text *out, const char *name, const char *value);

/* What a statistic is called in the text format: memwatch_alloc_bytes; of a counter with _total. `unit` and `kind` are
 * those of the list. */
void mw_metrics_name(struct mw_text *out, const char *metric, const char *unit, const char *kind);

#endif
