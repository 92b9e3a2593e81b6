/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "units.h"

enum mw_cause mw_verdict_cause(const struct mw_verdict_facts *facts)
{
    if (!WIFSIGNALED(facts->wait_status))
        return MW_CAUSE_EXITED;
    return WTERMSIG(facts->wait_status) == SIGKILL && facts->has_group && facts->oom_kills ? MW_CAUSE_OOM_KILLED
                                                                                           : MW_CAUSE_SIGNALLED;
}

int mw_verdict_exit_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void put_cause(struct mw_text *out, const struct mw_verdict_facts *facts)
{
    int signal;
    const char *name;
    switch (mw_verdict_cause(facts)) {
    case MW_CAUSE_EXITED:
        mw_text_string(out, " exited with status ");
        mw_text_u64(out, (uint64_t)WEXITSTATUS(facts->wait_status));
        break;
    case MW_CAUSE_OOM_KILLED:
        mw_text_string(out, " was killed by the kernel's OOM killer");
        break;
    case MW_CAUSE_SIGNALLED:
        signal = WTERMSIG(facts->wait_status);
        name = sigabbrev_np(signal);
        mw_text_string(out, " was killed by signal ");
        mw_text_u64(out, (uint64_t)signal);
        if (name) {
            mw_text_string(out, " (SIG");
            mw_text_string(out, name);
            mw_text_char(out, ')');
        }
        if (signal == SIGKILL)
            mw_text_string(out, facts->has_group ? ", not by the OOM killer,"
                                                 : " (by the OOM killer or not: without a cgroup that is not known)");
        break;
    }
}

static void put_bytes(struct mw_text *out, uint64_t bytes)
{
    mw_text_size(out, bytes);
    mw_text_string(out, " (");
    mw_text_u64(out, bytes);
    mw_text_string(out, " bytes)");
}

void mw_verdict_text(struct mw_text *out, const struct mw_verdict_facts *facts)
{
    mw_text_string(out, facts->program);
    mw_text_string(out, " (pid ");
    mw_text_u64(out, (uint64_t)facts->pid);
    mw_text_char(out, ')');
    put_cause(out, facts);
    mw_text_string(out, " after ");
    mw_text_duration(out, facts->ran_ns);
    if (!facts->has_group)
        return;
    mw_text_string(out, facts->is_shared ? ": in the cgroup that it shares: limit " : ": limit ");
    if (facts->limit_bytes)
        put_bytes(out, facts->limit_bytes);
    else
        mw_text_string(out, "none");
    if (!facts->is_shared)
        mw_text_string(out, ", peak ");
    if (!facts->is_shared && facts->peak_bytes)
        put_bytes(out, facts->peak_bytes);
    else if (!facts->is_shared)
        mw_text_string(out, "not known");
    mw_text_string(out, ", ");
    if (facts->oom_kills)
        mw_text_u64(out, facts->oom_kills);
    else
        mw_text_string(out, "no");
    mw_text_string(out, facts->oom_kills > 1 ? " OOM kills" : " OOM kill");
    if (facts->oom_kills && mw_verdict_cause(facts) != MW_CAUSE_OOM_KILLED)
        mw_text_string(out, facts->is_shared ? " (of some process)" : " (of a process that it had started)");
}
