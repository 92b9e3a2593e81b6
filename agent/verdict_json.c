/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "verdict.h"

static void put_name(struct mw_text *out, const char *name)
{
    mw_text_char(out, ',');
    mw_text_json_string(out, name);
    mw_text_char(out, ':');
}

static void put_string(struct mw_text *out, const char *name, const char *value)
{
    put_name(out, name);
    mw_text_json_string(out, value);
}

static void put_u64(struct mw_text *out, const char *name, uint64_t value)
{
    put_name(out, name);
    mw_text_u64(out, value);
}

static void put_bool(struct mw_text *out, const char *name, bool value)
{
    put_name(out, name);
    mw_text_string(out, value ? "true" : "false");
}

/* 0 stands for what is not known. */
static void put_known(struct mw_text *out, const char *name, uint64_t value)
{
    if (value)
        put_u64(out, name, value);
}

static void put_end(struct mw_text *out, const struct mw_verdict_facts *facts)
{
    if (!facts->has_no_status)
        put_u64(out, "ExitStatus", (uint64_t)mw_verdict_exit_status(facts->wait_status));
    if (!facts->has_no_status && WIFSIGNALED(facts->wait_status)) {
        put_u64(out, "Signal", (uint64_t)WTERMSIG(facts->wait_status));
        put_bool(out, "CoreDumped", WCOREDUMP(facts->wait_status));
    }
    put_bool(out, "BeforeExec", facts->before_exec);
    put_u64(out, "RunTimeNs", facts->ran_ns);
    put_u64(out, "Restarts", facts->restarts);
}

/* Which limits the OOM killer may have been called for: {"Cause":…,"Directory":…,"Limit":…}. */
static void put_origins(struct mw_text *out, const struct mw_verdict_facts *facts, const struct mw_verdict *verdict)
{
    put_name(out, "OOMCauses");
    mw_text_char(out, '[');
    for (unsigned i = 0; i < verdict->origin_count; i++) {
        char directory[MW_CGROUP_PATH_BYTES];
        mw_verdict_directory(facts, verdict->origins[i], directory);
        mw_text_string(out, i ? ",{\"Cause\":" : "{\"Cause\":");
        mw_text_json_string(out, mw_cause_word(verdict->origins[i].cause));
        if (*directory)
            put_string(out, "Directory", directory);
        put_known(out, "Limit", mw_verdict_limit_bytes(facts, verdict->origins[i]));
        mw_text_char(out, '}');
    }
    mw_text_char(out, ']');
}

static void put_group(struct mw_text *out, const struct mw_verdict_facts *facts, const struct mw_verdict *verdict)
{
    const struct mw_level_counts *counts = &facts->happened.levels[0];
    char directory[MW_CGROUP_PATH_BYTES] = "";
    put_string(out, "Cgroup", facts->cgroup.dir);
    put_u64(out, "CgroupVersion", (uint64_t)facts->cgroup.version);
    put_bool(out, "CgroupShared", facts->is_shared);
    put_u64(out, "Limit", facts->limit_bytes);
    put_known(out, "SwapLimit", facts->swap_limit_bytes);
    put_known(out, "Peak", facts->peak_bytes);
    put_known(out, "SwapPeak", facts->swap_peak_bytes);
    put_u64(out, "WorkingSet", facts->working_set_bytes);
    if (counts->kills != MW_COUNT_UNKNOWN)
        put_u64(out, "OOMKills", counts->kills);
    if (counts->group_kills != MW_COUNT_UNKNOWN)
        put_u64(out, "OOMGroupKills", counts->group_kills);
    if (counts->limit_hits != MW_COUNT_UNKNOWN)
        put_u64(out, "LimitHits", counts->limit_hits);
    if (counts->high_hits != MW_COUNT_UNKNOWN)
        put_u64(out, "HighHits", counts->high_hits);
    if (!verdict->oom_kills)
        return;
    put_origins(out, facts, verdict);
    if (verdict->origin_count == 1)
        mw_verdict_directory(facts, verdict->origins[0], directory);
    if (*directory)
        put_string(out, "LimitDirectory", directory);
}

void mw_verdict_json(struct mw_text *out, const struct mw_verdict_facts *facts)
{
    struct mw_verdict verdict = mw_verdict(facts);
    mw_text_string(out, "{\"Program\":");
    mw_text_json_string(out, facts->program);
    put_u64(out, "Pid", (uint64_t)facts->pid);
    put_string(out, "Cause", mw_cause_word(verdict.cause));
    put_end(out, facts);
    if (facts->has_group)
        put_group(out, facts, &verdict);
    if (facts->happened.machine_kills != MW_COUNT_UNKNOWN)
        put_u64(out, "MachineOOMKills", facts->happened.machine_kills);
    mw_text_char(out, '}');
}
