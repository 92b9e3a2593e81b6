/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "units.h"
#include "verdict.h"

static void put_bytes(struct mw_text *out, uint64_t bytes)
{
    mw_text_size(out, bytes);
    mw_text_string(out, " (");
    mw_text_u64(out, bytes);
    mw_text_string(out, " bytes)");
}

static void put_origin(struct mw_text *out, const struct mw_verdict_facts *facts, struct mw_oom_origin origin)
{
    uint64_t limit_bytes = mw_verdict_limit_bytes(facts, origin);
    if (facts->is_shared && origin.cause == MW_CAUSE_OWN_LIMIT)
        mw_text_string(out, "at the limit of the cgroup that it shares");
    else if (facts->is_shared && origin.cause == MW_CAUSE_OWN_SWAP_LIMIT)
        mw_text_string(out, "at the limit of memory and swap together of the cgroup that it shares");
    else
        mw_text_string(out, mw_cause_phrase(origin.cause));
    if (origin.cause == MW_CAUSE_ANCESTOR_LIMIT || origin.cause == MW_CAUSE_ANCESTOR_SWAP_LIMIT) {
        char directory[MW_CGROUP_PATH_BYTES];
        mw_text_string(out, mw_verdict_directory(facts, origin, directory));
    }
    if (limit_bytes && origin.cause != MW_CAUSE_OWN_LIMIT) { /* that one is told anyway */
        mw_text_string(out, ", ");
        put_bytes(out, limit_bytes);
    }
}

static void put_origins(struct mw_text *out, const struct mw_verdict_facts *facts, const struct mw_verdict *verdict)
{
    if (verdict->origin_count == 0)
        mw_text_string(out, "at which limit cannot be told");
    for (unsigned i = 0; i < verdict->origin_count; i++) {
        mw_text_string(out, i ? " or " : "");
        put_origin(out, facts, verdict->origins[i]);
    }
    if (verdict->origin_count > 1)
        mw_text_string(out, " (which of these cannot be told)");
}

static void put_signal(struct mw_text *out, int wait_status)
{
    int signal = WTERMSIG(wait_status);
    const char *name = sigabbrev_np(signal);
    mw_text_u64(out, (uint64_t)signal);
    if (name) {
        mw_text_string(out, " (SIG");
        mw_text_string(out, name);
        mw_text_char(out, ')');
    }
}

static void put_cause(struct mw_text *out, const struct mw_verdict_facts *facts, const struct mw_verdict *verdict)
{
    if (mw_cause_is_oom(verdict->cause)) {
        mw_text_string(out, "was killed by the kernel's OOM killer ");
        put_origins(out, facts, verdict);
        if (verdict->origin_count == 1 && verdict->cause != MW_CAUSE_OWN_LIMIT &&
            mw_verdict_limit_bytes(facts, verdict->origins[0]))
            mw_text_char(out, ',');
        return;
    }
    mw_text_string(out, mw_cause_phrase(verdict->cause));
    if (verdict->cause == MW_CAUSE_ENDED)
        return;
    if (verdict->cause == MW_CAUSE_EXITED)
        mw_text_u64(out, (uint64_t)WEXITSTATUS(facts->wait_status));
    else
        put_signal(out, facts->wait_status);
    if (WIFSIGNALED(facts->wait_status) && (verdict->cause == MW_CAUSE_CRASHED || WCOREDUMP(facts->wait_status)))
        mw_text_string(out, WCOREDUMP(facts->wait_status) ? ", core dumped," : ", no core dumped,");
    if (verdict->cause == MW_CAUSE_KILLED)
        mw_text_string(out, ", not by the OOM killer,");
    else if (verdict->cause == MW_CAUSE_KILLED_OR_OOM)
        mw_text_string(out, facts->has_group
                                ? " (by the OOM killer or not: it shares its cgroup, of which somebody was taken)"
                                : " (by the OOM killer or not: without a cgroup that is not known)");
}

static void put_kills(struct mw_text *out, const struct mw_verdict_facts *facts, const struct mw_verdict *verdict)
{
    uint64_t group_kills = facts->happened.levels[0].group_kills;
    if (verdict->oom_kills)
        mw_text_u64(out, verdict->oom_kills);
    else
        mw_text_string(out, "no");
    mw_text_string(out, verdict->oom_kills > 1 ? " OOM kills" : " OOM kill");
    if (verdict->oom_kills && group_kills && group_kills != MW_COUNT_UNKNOWN)
        mw_text_string(out, " at once, as memory.oom.group asks");
    if (!verdict->oom_kills || mw_cause_is_oom(verdict->cause))
        return;
    mw_text_string(out, facts->has_others                  ? " (of some process, "
                        : verdict->cause == MW_CAUSE_ENDED ? " (of it or of a process that it had started, "
                                                           : " (of a process that it had started, ");
    put_origins(out, facts, verdict);
    mw_text_char(out, ')');
}

static void put_figure(struct mw_text *out, const char *name, uint64_t bytes, const char *without)
{
    mw_text_string(out, name);
    if (bytes)
        put_bytes(out, bytes);
    else
        mw_text_string(out, without);
}

static void put_restarts(struct mw_text *out, unsigned restarts)
{
    if (!restarts)
        return;
    mw_text_string(out, ", ");
    mw_text_u64(out, restarts);
    mw_text_string(out, restarts > 1 ? " restarts before" : " restart before");
}

void mw_verdict_text(struct mw_text *out, const struct mw_verdict_facts *facts)
{
    struct mw_verdict verdict = mw_verdict(facts);
    mw_text_string(out, facts->program);
    mw_text_string(out, " (pid ");
    mw_text_u64(out, (uint64_t)facts->pid);
    mw_text_string(out, ") ");
    put_cause(out, facts, &verdict);
    if (facts->before_exec)
        mw_text_string(out, " before its first instruction");
    mw_text_string(out, " after ");
    mw_text_duration(out, facts->ran_ns);
    if (facts->has_group) {
        put_figure(out, facts->is_shared ? ": in the cgroup that it shares: limit " : ": limit ", facts->limit_bytes,
                   "none");
        if (facts->swap_limit_bytes)
            put_figure(out, facts->happened.version == 1 ? ", with swap " : ", swap ", facts->swap_limit_bytes, "");
        if (!facts->is_shared) {
            put_figure(out, ", peak ", facts->peak_bytes, "not known");
            if (facts->swap_peak_bytes && facts->happened.version == 2)
                put_figure(out, ", of swap ", facts->swap_peak_bytes, "");
        }
        mw_text_string(out, ", ");
        put_kills(out, facts, &verdict);
        if (!facts->is_shared)
            put_figure(out, ", working set at the end ", facts->working_set_bytes, "0 B");
    }
    put_restarts(out, facts->restarts);
}
