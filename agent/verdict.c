/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define SWAP_SLACK_BYTES (UINT64_C(512) * 1024) /* the kernel charges in batches: a peak may fall short */

static const struct {
    const char *word;
    bool is_oom;
    const char *phrase;
} causes[] = {
#define CAUSE(NAME, word, is_oom, phrase) [MW_CAUSE_##NAME] = {word, is_oom, phrase},
    MW_CAUSES(CAUSE)
#undef CAUSE
};

const char *mw_cause_word(enum mw_cause cause)
{
    return causes[cause].word;
}

const char *mw_cause_phrase(enum mw_cause cause)
{
    return causes[cause].phrase;
}

bool mw_cause_is_oom(enum mw_cause cause)
{
    return causes[cause].is_oom;
}

int mw_verdict_exit_status(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* ---- what the OOM killer was called for ---- */

static bool is_known(uint64_t count)
{
    return count != MW_COUNT_UNKNOWN;
}

/* Was something counted? What is not known was not. */
static bool has(uint64_t count)
{
    return is_known(count) && count > 0;
}

/* Can it have been? What is not known can. */
static bool may_have(uint64_t count)
{
    return count > 0;
}

static void add_origin(struct mw_verdict *verdict, enum mw_cause cause, unsigned level)
{
    if (verdict->origin_count < MW_ORIGINS)
        verdict->origins[verdict->origin_count++] = (struct mw_oom_origin){cause, level};
}

static void add_limit(struct mw_verdict *verdict, bool of_swap, unsigned level)
{
    static const enum mw_cause limits[2][2] = {{MW_CAUSE_OWN_LIMIT, MW_CAUSE_OWN_SWAP_LIMIT},
                                               {MW_CAUSE_ANCESTOR_LIMIT, MW_CAUSE_ANCESTOR_SWAP_LIMIT}};
    add_origin(verdict, limits[level > 0][of_swap], level);
}

/* v1: was a limit of memory and swap together met? Newer kernels (6.18 for one) leave memory.memsw.failcnt at 0; then
 * the peak tells, where it cannot be one of long before. */
static bool met_swap_limit(const struct mw_level_counts *counts, bool is_fresh)
{
    if (mw_cgroup_is_unlimited(counts->swap_limit_bytes))
        return false;
    return has(counts->swap_hits) || (is_fresh && is_known(counts->swap_peak_bytes) &&
                                      counts->swap_peak_bytes + SWAP_SLACK_BYTES >= counts->swap_limit_bytes);
}

/* v1 has two limits at each level. The one of memory and swap is charged first: where they are equal it alone is met.
 */
static void add_limits_of(struct mw_verdict *verdict, const struct mw_verdict_facts *facts, unsigned level)
{
    const struct mw_level_counts *counts = &facts->happened.levels[level];
    bool is_called_for = has(counts->local_ooms);
    bool is_fresh = level == 0 && !facts->is_shared;
    bool met_memory = facts->happened.version == 2 || has(counts->limit_hits);
    bool met_swap = facts->happened.version == 1 && met_swap_limit(counts, is_fresh);
    if (is_called_for && !met_memory && !met_swap) {
        met_swap = !mw_cgroup_is_unlimited(counts->swap_limit_bytes);
        met_memory = !met_swap || !is_known(counts->limit_hits);
    }
    if (met_memory)
        add_limit(verdict, false, level);
    if (met_swap)
        add_limit(verdict, true, level);
}

/* Of v1, where no notice was given: every limit that was met, with a kill or without. */
static void add_met_limits(struct mw_verdict *verdict, const struct mw_verdict_facts *facts)
{
    const struct mw_group_counts *happened = &facts->happened;
    for (unsigned i = 0; i < happened->level_count; i++)
        add_limits_of(verdict, facts, i);
    if (has(happened->inner_limit_hits))
        add_origin(verdict, MW_CAUSE_INNER_LIMIT, 0);
    if (!happened->sees_top)
        add_origin(verdict, MW_CAUSE_HIDDEN_LIMIT, 0);
    if (may_have(happened->machine_stalls))
        add_origin(verdict, MW_CAUSE_MACHINE, 0);
}

/* Were more processes killed than the limits that called the OOM killer account for? A call may kill none (the one
 * that it would choose is dying already), or one, or with memory.oom.group a whole group. Over all of the outermost
 * limit that called. */
static bool has_unexplained_kills(const struct mw_group_counts *happened, unsigned outermost, uint64_t calls)
{
    const struct mw_level_counts *counts = &happened->levels[outermost];
    if (happened->version == 1) /* kills are known of the group alone */
        return has(happened->levels[0].kills) && happened->levels[0].kills > calls;
    return is_known(counts->kills) && is_known(counts->ooms) && counts->kills > counts->ooms &&
           counts->group_kills == 0;
}

/* v2, and v1 with notices. */
static void add_calling_limits(struct mw_verdict *verdict, const struct mw_verdict_facts *facts)
{
    const struct mw_group_counts *happened = &facts->happened;
    const struct mw_level_counts *own = &happened->levels[0];
    const struct mw_level_counts *top = &happened->levels[happened->level_count - 1];
    unsigned outermost = 0;
    uint64_t calls = 0;
    bool is_inner =
        happened->version == 2 && is_known(own->ooms) && is_known(own->local_ooms) && own->ooms > own->local_ooms;
    for (unsigned i = 0; i < happened->level_count; i++) {
        uint64_t ooms = happened->levels[i].local_ooms;
        if (!may_have(ooms))
            continue;
        outermost = i;
        calls += is_known(ooms) ? ooms : 1;
        /* v1: the uppermost level that is visible has notice of limits above it too. */
        if (happened->version == 2 || i + 1 < happened->level_count || happened->sees_top || top->limit_hits != 0)
            add_limits_of(verdict, facts, i);
        if (happened->version == 1 && i + 1 == happened->level_count && !happened->sees_top)
            add_origin(verdict, MW_CAUSE_HIDDEN_LIMIT, 0);
    }
    if (is_inner)
        add_origin(verdict, MW_CAUSE_INNER_LIMIT, 0);
    if ((calls || is_inner) && !has_unexplained_kills(happened, outermost, calls))
        return;
    if (happened->version == 1 && has(happened->inner_limit_hits))
        add_origin(verdict, MW_CAUSE_INNER_LIMIT, 0);
    if (happened->version == 2 && !happened->sees_top)
        add_origin(verdict, MW_CAUSE_HIDDEN_LIMIT, 0);
    if (may_have(happened->machine_stalls))
        add_origin(verdict, MW_CAUSE_MACHINE, 0);
}

static void find_origins(struct mw_verdict *verdict, const struct mw_verdict_facts *facts)
{
    const struct mw_group_counts *happened = &facts->happened;
    if (happened->version == 1 && !is_known(happened->levels[0].local_ooms))
        add_met_limits(verdict, facts);
    else
        add_calling_limits(verdict, facts);
}

/* ---- how the program ended ---- */

static bool is_of_crashes(int signal)
{
    static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        if (crashes[i] == signal)
            return true;
    return false;
}

/* Whose SIGKILL was it? */
static enum mw_cause cause_of_kill(const struct mw_verdict *verdict, const struct mw_verdict_facts *facts)
{
    uint64_t kills = facts->happened.level_count ? facts->happened.levels[0].kills : MW_COUNT_UNKNOWN;
    if (kills == 0 || (!is_known(kills) && facts->happened.machine_kills == 0))
        return MW_CAUSE_KILLED;
    if (!is_known(kills) || (facts->is_shared && facts->has_others))
        return MW_CAUSE_KILLED_OR_OOM;
    return verdict->origin_count == 1 ? verdict->origins[0].cause : MW_CAUSE_OOM;
}

struct mw_verdict mw_verdict(const struct mw_verdict_facts *facts)
{
    struct mw_verdict verdict = {.cause = MW_CAUSE_EXITED};
    if (facts->happened.level_count && has(facts->happened.levels[0].kills)) {
        verdict.oom_kills = facts->happened.levels[0].kills;
        find_origins(&verdict, facts);
    }
    if (facts->has_no_status)
        verdict.cause = MW_CAUSE_ENDED;
    if (facts->has_no_status || !WIFSIGNALED(facts->wait_status))
        return verdict;
    if (WTERMSIG(facts->wait_status) == SIGKILL)
        verdict.cause = cause_of_kill(&verdict, facts);
    else
        verdict.cause = is_of_crashes(WTERMSIG(facts->wait_status)) ? MW_CAUSE_CRASHED : MW_CAUSE_SIGNALLED;
    return verdict;
}

/* ---- an origin's limit ---- */

static bool is_of_level(enum mw_cause cause)
{
    return cause == MW_CAUSE_OWN_LIMIT || cause == MW_CAUSE_OWN_SWAP_LIMIT || cause == MW_CAUSE_ANCESTOR_LIMIT ||
           cause == MW_CAUSE_ANCESTOR_SWAP_LIMIT;
}

const char *mw_verdict_directory(const struct mw_verdict_facts *facts, struct mw_oom_origin origin,
                                 char buffer[static MW_CGROUP_PATH_BYTES])
{
    struct mw_cgroup group = facts->cgroup;
    buffer[0] = '\0';
    if (!is_of_level(origin.cause))
        return buffer;
    for (unsigned i = 0; i < origin.level; i++)
        mw_cgroup_climb(&group);
    memcpy(buffer, group.dir, sizeof group.dir);
    return buffer;
}

uint64_t mw_verdict_limit_bytes(const struct mw_verdict_facts *facts, struct mw_oom_origin origin)
{
    if (!is_of_level(origin.cause))
        return 0;
    const struct mw_level_counts *counts = &facts->happened.levels[origin.level];
    bool of_swap = origin.cause == MW_CAUSE_OWN_SWAP_LIMIT || origin.cause == MW_CAUSE_ANCESTOR_SWAP_LIMIT;
    uint64_t limit_bytes = of_swap ? counts->swap_limit_bytes : counts->limit_bytes;
    return mw_cgroup_is_unlimited(limit_bytes) ? 0 : limit_bytes;
}
