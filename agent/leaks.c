/* SPDX-License-Identifier: MIT
 *
 * Time is cut into thirds. The first is forgiven: programs start in it. The slope is a weighted least squares fit over
 * the rest; the last third tells whether the growth has stopped; and of the blocks born in the first and in the second
 * third, a leak has kept as many of the one as of the other.
 *
 * The noise. Blocks come as they like, and of them only some are sampled; the sum of what was sampled, scaled up, has
 * the variance that is the sum of the squares of what each sample stands for. Of a stack that is `unit` per byte, and
 * so the variance of a difference between two moments is `unit` times the bytes born or freed between them: blocks
 * that live at both moments are in both sums alike and add nothing.
 *
 * Where births are not known (mappings, and every block in exact mode) the history stands for them: of what lived at
 * some moment no more can live now than ever lived since.
 */
#include "leaks.h"

#include <math.h>

#include "memory.h"

#define SURE          3.0 /* standard errors that a slope must be away from 0 to be believed: 1 in 700 by chance */
#define LIKELY        2.0
#define OVERDUE       7.0 /* births that were due and did not come: 1 in 1000 by chance */
#define KIB           1024.0
#define NS_A_SECOND   1e9
#define MOST_POINTS   (MW_SEGMENT_HISTORY + 1)
#define STOPPED_SHARE 0.5 /* of its slope: grows less than that in the last third, and has stopped */
#define EARLY_SHARE   0.5 /* kept of the first third against the second */
#define SLOWER_SHARE  0.5 /* came in the last third against the second */

struct point {
    double s;
    double bytes;
};

/* What is known of one stack. */
struct evidence {
    struct point points[MOST_POINTS]; /* the last is now */
    unsigned count;
    double end_s;
    double unit;    /* variance per byte */
    double born[3]; /* bytes that live, by the third in which they were born */
    /* Of the live samples born after the first third: */
    double births;        /* how many */
    double last_birth_s;  /* when the last was */
    double longest_gap_s; /* between two of them */
    bool is_guessed;      /* the births, from the history of a stack of which more was freed than lives */
};

static double third(const struct evidence *evidence, double thirds)
{
    return evidence->end_s * thirds / 3;
}

/* ---- the slope ---- */

static double variance_at(const struct evidence *evidence, double bytes)
{
    double least = evidence->unit;                                            /* nothing seen is not nothing there */
    return evidence->unit * (bytes > least ? bytes : least) + KIB * KIB / 12; /* and the history is in whole KiB */
}

/* The variance of what was gained from a moment until now, by what lived then, what of that lives now, and what was
 * born since. Where that is only guessed, all may have been exchanged. */
static double variance_since(const struct evidence *evidence, double then_bytes, double kept_bytes, double born_bytes)
{
    double freed_bytes = then_bytes > kept_bytes ? then_bytes - kept_bytes : 0;
    if (evidence->is_guessed)
        return variance_at(evidence, then_bytes + evidence->points[evidence->count - 1].bytes);
    return variance_at(evidence, born_bytes + freed_bytes);
}

static void fit(const struct evidence *evidence, double from_s, struct mw_leak *leak)
{
    double sum = 0;
    double sum_s = 0;
    double sum_bytes = 0;
    double spread = 0;
    double common = 0;
    double misfit = 0;
    unsigned count = 0;
    const struct point *first = NULL;
    for (unsigned i = 0; i < evidence->count; i++) {
        const struct point *point = &evidence->points[i];
        if (point->s < from_s)
            continue;
        double weight = 1 / variance_at(evidence, point->bytes);
        first = first ? first : point;
        sum += weight;
        sum_s += weight * point->s;
        sum_bytes += weight * point->bytes;
        count++;
    }
    if (count < MW_LEAKS_LEAST_POINTS)
        return;
    for (const struct point *point = first; point < evidence->points + evidence->count; point++) {
        double weight = 1 / variance_at(evidence, point->bytes);
        double s = point->s - sum_s / sum;
        spread += weight * s * s;
        common += weight * s * (point->bytes - sum_bytes / sum);
    }
    if (spread <= 0)
        return;
    leak->bytes_per_s = common / spread;
    for (const struct point *point = first; point < evidence->points + evidence->count; point++) {
        double off = point->bytes - sum_bytes / sum - leak->bytes_per_s * (point->s - sum_s / sum);
        misfit += off * off / variance_at(evidence, point->bytes);
    }
    /* What is no line is not known better than it fits one. And what only grows is no set of independent readings: its
     * ends alone tell how much it gained. */
    double by_fit = sqrt((misfit > count - 2 ? misfit / (count - 2) : 1) / spread);
    double by_ends =
        sqrt(variance_since(evidence, first->bytes, evidence->born[0], evidence->born[1] + evidence->born[2])) /
        (evidence->end_s - first->s);
    leak->bytes_per_s_error = by_fit > by_ends ? by_fit : by_ends;
}

static void fit_late(const struct evidence *evidence, struct mw_leak *leak)
{
    const struct point *now = &evidence->points[evidence->count - 1];
    const struct point *then = now;
    while (then > evidence->points && then->s > third(evidence, 2))
        then--;
    double s = now->s - then->s;
    if (s <= 0)
        return;
    leak->late_bytes_per_s = (now->bytes - then->bytes) / s;
    leak->late_bytes_per_s_error =
        sqrt(variance_since(evidence, then->bytes, evidence->born[0] + evidence->born[1], evidence->born[2])) / s;
}

/* ---- the judgement ---- */

/* Is more of the second third still there than of the first, more than chance would have it? Then blocks do go, only
 * late, or it has begun late. */
static bool loses_the_oldest(const struct evidence *evidence)
{
    double error = sqrt(evidence->unit * (evidence->born[0] + evidence->born[1]));
    return evidence->born[0] < EARLY_SHARE * evidence->born[1] &&
           evidence->born[1] - evidence->born[0] > LIKELY * error;
}

/* Of what it gained in the second third, is less than half there? Then it is not that which stays. */
static bool keeps_little(const struct evidence *evidence, const struct mw_leak *leak)
{
    double due_bytes = leak->bytes_per_s * third(evidence, 1);
    double error = sqrt(evidence->unit * evidence->born[1]);
    return evidence->born[1] + LIKELY * error < due_bytes / 2;
}

/* Has nothing come for so long that it would have by now, going by how it came before, also if it came in bursts? */
static bool has_ceased(const struct evidence *evidence)
{
    double gap_s = evidence->end_s - evidence->last_birth_s;
    double from_s = third(evidence, 1);
    if (!evidence->births || evidence->last_birth_s <= from_s || gap_s <= 2 * evidence->longest_gap_s)
        return false;
    return evidence->births * gap_s / (evidence->last_birth_s - from_s) > OVERDUE;
}

/* Has come less than half as much in the last third as in the second, more than chance would have it? */
static bool slows_down(const struct evidence *evidence)
{
    double due_bytes = SLOWER_SHARE * evidence->born[1];
    double error = sqrt(evidence->unit * (SLOWER_SHARE * due_bytes + evidence->born[2]));
    return due_bytes - evidence->born[2] > LIKELY * error;
}

static enum mw_leak_doubt doubt(const struct evidence *evidence, const struct mw_leak *leak)
{
    double late = leak->late_bytes_per_s;
    if (leak->bytes_per_s <= SURE * leak->bytes_per_s_error || late <= LIKELY * leak->late_bytes_per_s_error)
        return MW_LEAK_NEAR_CHANCE;
    if (evidence->is_guessed)
        return MW_LEAK_BIRTHS_UNKNOWN;
    if (loses_the_oldest(evidence))
        return MW_LEAK_LOSES_OLDEST;
    if (late < STOPPED_SHARE * leak->bytes_per_s || slows_down(evidence))
        return MW_LEAK_SLOWS_DOWN;
    return MW_LEAK_NO_DOUBT;
}

static enum mw_leak_kind judge(const struct evidence *evidence, const struct mw_leak *leak)
{
    double late = leak->late_bytes_per_s;
    double late_error = leak->late_bytes_per_s_error;
    double due_late = STOPPED_SHARE * leak->bytes_per_s;
    if (leak->bytes_per_s <= LIKELY * leak->bytes_per_s_error)
        return MW_LEAK_STEADY;
    if (keeps_little(evidence, leak))
        return MW_LEAK_STEADY;
    if ((late + LIKELY * late_error < leak->bytes_per_s && late < due_late) || has_ceased(evidence))
        return MW_LEAK_STOPPED;
    return doubt(evidence, leak) == MW_LEAK_NO_DOUBT ? MW_LEAK_GROWS : MW_LEAK_MAY_GROW;
}

/* ---- the evidence ---- */

/* History first, and now last; what is out of order is left out. Before a stack was first seen it held nothing. */
static void note_points(const struct mw_profile *profile, const struct mw_profile_stack *stack,
                        struct evidence *evidence)
{
    unsigned used = profile->history_used < MW_SEGMENT_HISTORY ? profile->history_used : MW_SEGMENT_HISTORY;
    uint64_t last_ns = 0;
    evidence->end_s = (double)profile->age_ns / NS_A_SECOND;
    for (unsigned i = 0; i < used; i++) {
        if (profile->history_ns[i] <= last_ns || profile->history_ns[i] >= profile->age_ns)
            continue;
        last_ns = profile->history_ns[i];
        evidence->points[evidence->count++] =
            (struct point){(double)last_ns / NS_A_SECOND, (double)stack->history_bytes[i]};
    }
    evidence->points[evidence->count++] = (struct point){evidence->end_s, (double)stack->live.bytes};
}

static int compare_samples(const void *left, const void *right)
{
    const struct mw_profile_sample *a = *(const struct mw_profile_sample *const *)left;
    const struct mw_profile_sample *b = *(const struct mw_profile_sample *const *)right;
    if (a->stack != b->stack)
        return a->stack < b->stack ? -1 : 1;
    return a->born_ns < b->born_ns ? -1 : a->born_ns > b->born_ns;
}

static void note_births(double s, double count, struct evidence *evidence)
{
    double gap_s = s - evidence->last_birth_s;
    if (evidence->births && gap_s > evidence->longest_gap_s)
        evidence->longest_gap_s = gap_s;
    evidence->last_birth_s = s;
    evidence->births += count;
}

/* samples: those of the stack, by birth. */
static void note_samples(const struct mw_profile *profile, const struct mw_profile_sample *const *samples, size_t count,
                         struct evidence *evidence, struct mw_leak *leak)
{
    double sum = 0;
    double squares = 0;
    double half = 0;
    for (size_t i = 0; i < count; i++) {
        double bytes = (double)samples[i]->bytes * samples[i]->objects;
        double thirds = (double)samples[i]->born_ns * 3 / (double)(profile->age_ns ? profile->age_ns : 1);
        evidence->born[thirds < 1 ? 0 : thirds < 2 ? 1 : 2] += bytes;
        sum += bytes;
        squares += bytes * bytes;
        if (thirds >= 1)
            note_births((double)samples[i]->born_ns / NS_A_SECOND, 1, evidence);
    }
    leak->samples = count;
    evidence->unit = sum > 0 ? squares / sum : 0;
    for (size_t i = 0; i < count && half < sum / 2; i++) {
        half += (double)samples[i]->bytes * samples[i]->objects;
        leak->median_age_ns = profile->age_ns - samples[i]->born_ns;
    }
}

static void guess_births(const struct mw_profile_stack *stack, struct evidence *evidence)
{
    double kept[MOST_POINTS] = {0}; /* at most, of what lived at a point */
    double before = 0;
    for (unsigned i = evidence->count; i-- > 0;) {
        kept[i] = evidence->points[i].bytes;
        if (i + 1 < evidence->count && kept[i + 1] < kept[i])
            kept[i] = kept[i + 1];
    }
    evidence->unit = (double)stack->live.bytes / (double)(stack->live.objects ? stack->live.objects : 1);
    evidence->is_guessed = stack->allocated.bytes / 2 > stack->live.bytes;
    for (unsigned i = 0; i < evidence->count; i++) {
        double s = evidence->points[i].s;
        double born = kept[i] - before;
        before = kept[i];
        evidence->born[s < third(evidence, 1) ? 0 : s < third(evidence, 2) ? 1 : 2] += born;
        if (born > 0 && s >= third(evidence, 1))
            note_births(s, born / evidence->unit, evidence);
    }
}

/* ---- all stacks ---- */

/* How fast it grows at least, as far as that can be said. */
static double least_growth(const struct mw_leak *leak)
{
    return leak->bytes_per_s - LIKELY * leak->bytes_per_s_error;
}

static int compare_leaks(const void *left, const void *right)
{
    const struct mw_leak *a = left;
    const struct mw_leak *b = right;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (least_growth(a) != least_growth(b))
        return least_growth(a) > least_growth(b) ? -1 : 1;
    return a->stack < b->stack ? -1 : a->stack > b->stack;
}

struct mw_leaks mw_leaks_find(const struct mw_profile *profile)
{
    struct mw_leaks leaks = {.observed_ns = profile->age_ns};
    const struct mw_profile_sample **samples = mw_memory_new(profile->sample_count, sizeof(void *));
    leaks.items = mw_memory_new(profile->stack_count, sizeof *leaks.items);
    for (size_t i = 0; i < profile->sample_count; i++)
        samples[i] = &profile->samples[i];
    qsort(samples, profile->sample_count, sizeof(void *), compare_samples);
    size_t next = 0;
    for (size_t i = 0; i < profile->stack_count; i++) {
        struct evidence evidence = {0};
        size_t first = next;
        while (next < profile->sample_count && samples[next]->stack == i)
            next++;
        if (!profile->stacks[i].live.bytes)
            continue;
        struct mw_leak *leak = &leaks.items[leaks.count++];
        leak->stack = i;
        note_points(profile, &profile->stacks[i], &evidence);
        if (next > first)
            note_samples(profile, samples + first, next - first, &evidence, leak);
        else
            guess_births(&profile->stacks[i], &evidence);
        fit(&evidence, third(&evidence, 1), leak);
        fit_late(&evidence, leak);
        leak->kind = judge(&evidence, leak);
        leak->doubt = leak->kind == MW_LEAK_MAY_GROW ? doubt(&evidence, leak) : MW_LEAK_NO_DOUBT;
        leaks.is_too_short = evidence.count < MW_LEAKS_LEAST_POINTS;
    }
    qsort(leaks.items, leaks.count, sizeof *leaks.items, compare_leaks);
    free(samples);
    return leaks;
}

void mw_leaks_free(struct mw_leaks *leaks)
{
    free(leaks->items);
    *leaks = (struct mw_leaks){0};
}
