/* SPDX-License-Identifier: MIT
 *
 * How the watched processes have ended, counted for as long as the agent lives.
 *
 * A row stands for all processes that are called alike (comm, cgroup, container): it is there from the first one's
 * start, all counts 0, so that whoever takes a counter's increase sees the first death too. Rows outlive their
 * processes; of those that have none left only the last MW_DEATHS_MOST_IDLE that were used are kept, for names come and
 * go for ever where each job has a group of its own.
 *
 * Pure. One thread at a time; rows belong to the table, and stay where they are while someone holds them.
 */
#ifndef MW_DEATHS_H
#define MW_DEATHS_H

#include <stddef.h>
#include <stdint.h>

#include "metrics.h"

#define MW_DEATHS_MOST_IDLE 1000

struct mw_death_row {
    struct mw_metrics_deaths deaths; /* the labels belong to the row */
    unsigned holders;                /* processes that live */
    uint64_t used;                   /* when it last had one, in steps of the table's */
};

struct mw_deaths {
    struct mw_death_row **rows; /* each begins with a struct mw_metrics_deaths */
    size_t count;
    size_t idle;
    uint64_t step;
};

/* A process of that name has begun. */
struct mw_death_row *mw_deaths_hold(struct mw_deaths *deaths, const char *labels);

/* It has ended, or is called otherwise from now on. */
void mw_deaths_let_go(struct mw_deaths *deaths, struct mw_death_row *row);

void mw_deaths_free(struct mw_deaths *deaths);

#endif
