/* SPDX-License-Identifier: MIT */
#include "deaths.h"

#include "memory.h"

static struct mw_death_row *find(const struct mw_deaths *deaths, const char *labels)
{
    for (size_t i = 0; i < deaths->count; i++)
        if (strcmp(deaths->rows[i]->deaths.labels, labels) == 0)
            return deaths->rows[i];
    return NULL;
}

static void free_row(struct mw_death_row *row)
{
    free((char *)row->deaths.labels);
    free(row);
}

static struct mw_death_row *add(struct mw_deaths *deaths, const char *labels)
{
    struct mw_death_row *row = mw_memory_new(1, sizeof *row);
    row->deaths.labels = mw_memory_string(labels);
    deaths->rows = mw_memory_resize(deaths->rows, deaths->count + 1, sizeof(struct mw_death_row *));
    deaths->rows[deaths->count++] = row;
    deaths->idle++;
    return row;
}

struct mw_death_row *mw_deaths_hold(struct mw_deaths *deaths, const char *labels)
{
    struct mw_death_row *row = find(deaths, labels);
    if (!row)
        row = add(deaths, labels);
    if (row->holders++ == 0)
        deaths->idle--;
    return row;
}

/* The one that has been without a process for longest. */
static void drop_oldest(struct mw_deaths *deaths)
{
    size_t oldest = deaths->count;
    for (size_t i = 0; i < deaths->count; i++) {
        bool is_idle = !deaths->rows[i]->holders;
        if (is_idle && (oldest == deaths->count || deaths->rows[i]->used < deaths->rows[oldest]->used))
            oldest = i;
    }
    free_row(deaths->rows[oldest]);
    deaths->idle--;
    deaths->count--;
    memmove(&deaths->rows[oldest], &deaths->rows[oldest + 1], (deaths->count - oldest) * sizeof(struct mw_death_row *));
}

void mw_deaths_let_go(struct mw_deaths *deaths, struct mw_death_row *row)
{
    if (--row->holders)
        return;
    row->used = ++deaths->step;
    deaths->idle++;
    if (deaths->idle > MW_DEATHS_MOST_IDLE)
        drop_oldest(deaths);
}

void mw_deaths_free(struct mw_deaths *deaths)
{
    for (size_t i = 0; i < deaths->count; i++)
        free_row(deaths->rows[i]);
    free(deaths->rows);
    *deaths = (struct mw_deaths){0};
}
