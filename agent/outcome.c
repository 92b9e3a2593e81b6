/* SPDX-License-Identifier: MIT */
#include "outcome.h"

#include "log.h"

void mw_outcome_read(struct mw_verdict_facts *facts, struct mw_group_counter *counter,
                     const struct mw_group_counts *before, const struct mw_cgroup *cgroup)
{
    struct mw_cgroup_reading reading;
    struct mw_group_counts after;
    mw_group_counter_read(counter, &after);
    mw_group_counts_since(before, &after, &facts->happened);
    if (!cgroup || mw_cgroup_read(cgroup, NULL, &reading))
        return;
    const struct mw_level_counts *own = &facts->happened.levels[0];
    facts->has_group = true;
    facts->cgroup = *cgroup;
    facts->limit_bytes = reading.limit_bytes;
    facts->peak_bytes = reading.peak_bytes;
    facts->working_set_bytes = reading.working_set_bytes;
    facts->swap_limit_bytes = mw_cgroup_is_unlimited(own->swap_limit_bytes) ? 0 : own->swap_limit_bytes;
    facts->swap_peak_bytes = own->swap_peak_bytes == MW_COUNT_UNKNOWN ? 0 : own->swap_peak_bytes;
}

bool mw_outcome_put_json(const struct mw_verdict_facts *facts)
{
    char object[32768];
    struct mw_text json = MW_TEXT(object);
    mw_verdict_json(&json, facts);
    if (!json.truncated)
        mw_log_line(object);
    return !json.truncated;
}
