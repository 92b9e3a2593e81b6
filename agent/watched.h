/* SPDX-License-Identifier: MIT
 *
 * The watched processes of this machine, followed: found as they come, read as often as is asked for, buried as they
 * end.
 *
 * Looking for segments in the maps of every process is dear, so it is done once a process: a watched one is kept with
 * its segment open, and a descriptor that tells of its end; one that is not watched is looked at again ever more
 * seldom, up to every MW_WATCHED_LONGEST_PAUSE_NS. A process that has executed another program has another segment, or
 * none: it is looked at anew where its figures stand still.
 *
 * How a process has ended is known from its segment, which outlives it: it says so where the process ended by itself.
 * Whether else it was the OOM killer is told by its cgroup's counter (deaths.h). Processes that come and go between two
 * looks are not seen.
 *
 * One thread at a time. What is handed out is valid until the next call.
 */
#ifndef MW_WATCHED_H
#define MW_WATCHED_H

#include "deaths.h"
#include "metrics.h"
#include "segments.h"

#define MW_WATCHED_LEAST_PAUSE_NS   UINT64_C(1000000000)
#define MW_WATCHED_LONGEST_PAUSE_NS UINT64_C(16000000000)

struct mw_watched;

/* NULL: *error says why. */
struct mw_watched *mw_watched_new(const struct mw_segments_places *places, struct mw_error *error);
void mw_watched_free(struct mw_watched *watched);

/* Can be read when a process has ended: mw_watched_refresh then. It belongs to the struct. */
int mw_watched_fd(const struct mw_watched *watched);

/* Buries the dead, and reads the living anew; looks for new ones too if that was MW_WATCHED_LEAST_PAUSE_NS ago. */
void mw_watched_refresh(struct mw_watched *watched, uint64_t now_ns);

/* Only the dead: soon enough to hear the cgroup before it is removed. */
void mw_watched_bury(struct mw_watched *watched, uint64_t now_ns);

/* Ascending. */
size_t mw_watched_count(const struct mw_watched *watched);
int mw_watched_pid(const struct mw_watched *watched, size_t index);
const char *mw_watched_comm(const struct mw_watched *watched, size_t index);

/* All but the agent's own figures, of which only those are filled that are known here. */
struct mw_metrics mw_watched_metrics(struct mw_watched *watched);

#endif
