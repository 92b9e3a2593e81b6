/* SPDX-License-Identifier: MIT
 *
 * What has come of a run, as verdict.h wants to know it: read from the program's group when it has ended. One thread.
 */
#ifndef MW_OUTCOME_H
#define MW_OUTCOME_H

#include <stdbool.h>

#include "group_counts.h"
#include "verdict.h"

/* What has happened since `before`, and the group's figures. cgroup NULL: there is none to read. */
void mw_outcome_read(struct mw_verdict_facts *facts, struct mw_group_counter *counter,
                     const struct mw_group_counts *before, const struct mw_cgroup *cgroup);

/* The verdict as JSON, to the log. False: it does not fit (the program's name may be of any length), and half of it
 * would be none. */
bool mw_outcome_put_json(const struct mw_verdict_facts *facts);

#endif
