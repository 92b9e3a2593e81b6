/* SPDX-License-Identifier: MIT
 *
 * Programs live through simulated hours: their blocks come at random, are sampled as the library samples them, and the
 * history is thinned as it thins it. Each is lived many times over; how often a judgement may be wrong is in the table.
 */
#include "leaks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define HOUR_S      3600.0
#define BLOCK_BYTES 1024
#define MEAN_BYTES  (512 << 10)
#define NEVER       1e18
#define LIVES       200

/* ---- chance ---- */

static uint64_t chance;

static double uniform(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return ((double)(chance >> 11) + 0.5) / 0x1p53;
}

static double exponential(double mean)
{
    return -log(uniform()) * mean;
}

/* ---- a program's life ---- */

enum lifetime { FOREVER, FIXED, RANDOM, UNTIL_PERIOD_ENDS, SWINGING, IF_NOT_FOUND };

/* Blocks that one part of a program allocates: so many a second, from one share of the time to another. */
struct part {
    double a_second;
    double from;
    double until;
    enum lifetime lifetime;
    double lifetime_share; /* of the whole time: of the life, or of the period */
};

static double life(const struct part *part, double born_s)
{
    double share_s = part->lifetime_share * HOUR_S;
    double phase_s;
    switch (part->lifetime) {
    case FIXED:
        return share_s;
    case RANDOM:
        return exponential(share_s);
    case UNTIL_PERIOD_ENDS:
        return ceil(born_s / share_s) * share_s - born_s;
    case SWINGING: /* allocated in the first half of a period, freed in the second, the last first */
        phase_s = fmod(born_s, share_s);
        return phase_s < share_s / 2 ? share_s - 2 * phase_s : 0;
    case IF_NOT_FOUND: /* a cache, of which the later the more is there already */
        return uniform() < exp(-born_s / share_s) ? NEVER : 0;
    case FOREVER:
        break;
    }
    return NEVER;
}

struct block {
    double born_s;
    double died_s;
};

struct lived {
    struct block *blocks; /* those that were sampled */
    size_t count;
    size_t capacity;
    double objects; /* that each stands for */
    struct mw_profile profile;
    struct mw_profile_stack stack;
};

static void live_part(struct lived *lived, const struct part *part)
{
    double mean_s = lived->objects / part->a_second; /* from sampled block to sampled block */
    double end_s = part->until * HOUR_S;
    double s = part->from * HOUR_S + exponential(mean_s);
    while (s < end_s) {
        if (lived->count == lived->capacity) {
            lived->capacity = lived->capacity ? 2 * lived->capacity : 1024;
            lived->blocks = realloc(lived->blocks, lived->capacity * sizeof *lived->blocks);
            assert_non_null(lived->blocks);
        }
        lived->blocks[lived->count++] = (struct block){s, s + life(part, s)};
        s += exponential(mean_s);
    }
}

static double live_bytes(const struct lived *lived, double s)
{
    double bytes = 0;
    for (size_t i = 0; i < lived->count; i++)
        if (lived->blocks[i].born_s <= s && lived->blocks[i].died_s > s)
            bytes += lived->objects * BLOCK_BYTES;
    return bytes;
}

/* A point a second; when there is no room left every other one is forgotten, and they come half as often. */
static unsigned history(double *moments_s)
{
    double step_s = 1;
    unsigned used = 0;
    double s = 1;
    while (s < HOUR_S) {
        if (used == MW_SEGMENT_HISTORY) {
            for (used = 0; used < MW_SEGMENT_HISTORY / 2; used++)
                moments_s[used] = moments_s[2 * used + 1];
            step_s *= 2;
            s = moments_s[used - 1] + step_s;
        }
        moments_s[used++] = s;
        s += step_s;
    }
    return used;
}

static void take_profile(struct lived *lived)
{
    double moments_s[MW_SEGMENT_HISTORY];
    struct mw_profile *profile = &lived->profile;
    profile->age_ns = (uint64_t)(HOUR_S * 1e9);
    profile->history_used = history(moments_s);
    for (unsigned i = 0; i < profile->history_used; i++) {
        profile->history_ns[i] = (uint64_t)(moments_s[i] * 1e9);
        lived->stack.history_bytes[i] = (uint64_t)(live_bytes(lived, moments_s[i]) / 1024) * 1024;
    }
    profile->samples = calloc(lived->count + 1, sizeof *profile->samples);
    assert_non_null(profile->samples);
    for (size_t i = 0; i < lived->count && lived->objects > 1; i++) /* an exact profile has none */
        if (lived->blocks[i].born_s <= HOUR_S && lived->blocks[i].died_s > HOUR_S)
            profile->samples[profile->sample_count++] = (struct mw_profile_sample){
                .bytes = BLOCK_BYTES, .objects = lived->objects, .born_ns = (uint64_t)(lived->blocks[i].born_s * 1e9)};
    lived->stack.live.bytes = (uint64_t)live_bytes(lived, HOUR_S);
    lived->stack.live.objects = lived->stack.live.bytes / BLOCK_BYTES;
    lived->stack.live.samples = profile->sample_count;
    lived->stack.allocated.bytes = (uint64_t)((double)lived->count * lived->objects * BLOCK_BYTES);
    profile->stacks = &lived->stack;
    profile->stack_count = 1;
}

#define MOST_PARTS 2

struct program {
    const char *what;
    struct part parts[MOST_PARTS];
    bool is_exact;         /* every block is a sample */
    double least_sure;     /* share of lives in which it is to be called a leak, at least */
    double most_sure;      /* and at most */
    double most_suspected; /* the same with those in which it is said that it may be one */
    double true_a_second;  /* blocks that are leaked; 0: the slope is of no concern */
};

/* Sampled blocks stand for 512.5 others: 100 a second are 702 samples in the hour. */
static const struct program programs[] = {
    {"a leak", {{100, 0, 1, FOREVER, 0}}, false, 1, 1, 1, 100},
    {"a leak of 40 samples", {{5.7, 0, 1, FOREVER, 0}}, false, 0.9, 1, 1, 5.7},
    {"a leak of 20 samples", {{2.85, 0, 1, FOREVER, 0}}, false, 0.6, 1, 1, 2.85},
    {"a leak of 5 samples", {{0.71, 0, 1, FOREVER, 0}}, false, 0, 0.03, 0.5, 0.71},
    {"a leak in much that comes and goes",
     {{100, 0, 1, FOREVER, 0}, {5000, 0, 1, RANDOM, 0.003}},
     false,
     0.99,
     1,
     1,
     100},
    {"an exact leak of 30 blocks", {{30 / HOUR_S, 0, 1, FOREVER, 0}}, true, 0.8, 1, 1, 30 / HOUR_S},
    {"an exact leak of 1000 blocks", {{1000 / HOUR_S, 0, 1, FOREVER, 0}}, true, 1, 1, 1, 1000 / HOUR_S},
    {"an exact leak among others", {{1, 0, 1, FOREVER, 0}, {10, 0, 1, RANDOM, 0.003}}, true, 0, 1, 1, 1},
    {"an exact cache filled", {{1, 0, 0.6, FOREVER, 0}}, true, 0, 0, 0.02, 0},
    {"an exact cache just filled", {{1, 0, 0.8, FOREVER, 0}}, true, 0, 0.02, 0.1, 0},
    {"an exact cache that exchanges", {{1, 0, 1, FIXED, 0.3}}, true, 0, 0, 0.06, 0},
    {"an exact wave", {{1, 0, 1, SWINGING, 1 / 5.4}}, true, 0, 0, 0.02, 0},
    {"exactly what comes and goes", {{10, 0, 1, RANDOM, 0.003}}, true, 0, 0.01, 0.06, 0},
    {"a leak that begins late", {{100, 0.5, 1, FOREVER, 0}}, false, 0, 0.02, 1, 0},
    {"what comes and goes", {{10000, 0, 1, RANDOM, 0.003}}, false, 0, 0, 0.02, 0},
    {"what was there from the start", {{30000, 0, 0.002, FOREVER, 0}}, false, 0, 0, 0, 0},
    {"a cache filled early", {{100, 0, 0.4, FOREVER, 0}}, false, 0, 0, 0, 0},
    {"a cache filled late", {{100, 0, 0.6, FOREVER, 0}}, false, 0, 0, 0.02, 0},
    {"a cache just filled", {{100, 0, 0.85, FOREVER, 0}}, false, 0, 0, 0.02, 0},
    {"a cache that is nearly full", {{1000, 0, 1, IF_NOT_FOUND, 0.35}}, false, 0, 0.1, 1, 0},
    {"a cache that fills ever more slowly", {{1000, 0, 1, IF_NOT_FOUND, 0.2}}, false, 0, 0, 0.12, 0},
    {"an exact cache nearly full", {{1, 0, 1, IF_NOT_FOUND, 0.35}}, true, 0, 0.05, 1, 0},
    {"a cache that loses its oldest", {{100, 0, 1, FIXED, 0.3}}, false, 0, 0, 0.02, 0},
    {"a cache that loses at random", {{100, 0, 1, RANDOM, 0.1}}, false, 0, 0.01, 0.04, 0},
    {"a large cache that is not yet full", {{100, 0, 1, RANDOM, 0.3}}, false, 0, 0.04, 1, 0},
    {"memory that grows and is dropped", {{100, 0, 1, UNTIL_PERIOD_ENDS, 1 / 5.3}}, false, 0, 0, 0.02, 0},
    {"a wave, up", {{200, 0, 1, SWINGING, 1 / 5.4}}, false, 0, 0, 0.02, 0},
    {"a wave, down", {{200, 0, 1, SWINGING, 1 / 2.7}}, false, 0, 0, 0.02, 0},
    {"a slow wave", {{200, 0, 1, SWINGING, 1 / 1.3}}, false, 0, 0, 0.02, 0},
};

static void live(struct lived *lived, const struct program *program, unsigned which)
{
    double kept = program->is_exact ? 1 : -expm1(-(double)BLOCK_BYTES / MEAN_BYTES);
    *lived = (struct lived){.objects = 1 / kept};
    chance = UINT64_C(0x9e3779b97f4a7c15) * (which + 1);
    for (unsigned i = 0; i < 16; i++)
        uniform();
    for (unsigned i = 0; i < MOST_PARTS && program->parts[i].a_second > 0; i++)
        live_part(lived, &program->parts[i]);
    take_profile(lived);
}

static void unlive(struct lived *lived)
{
    free(lived->blocks);
    free(lived->profile.samples);
}

static void leaks_are_told_from_what_only_looks_like_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(programs); i++) {
        unsigned kinds[MW_LEAK_KINDS] = {0};
        unsigned within = 0;
        double squares = 0;
        const struct program *program = &programs[i];
        for (unsigned k = 0; k < LIVES; k++) {
            struct lived lived;
            live(&lived, program, k);
            struct mw_leaks leaks = mw_leaks_find(&lived.profile);
            const struct mw_leak *leak = leaks.count ? leaks.items : NULL;
            kinds[leak ? leak->kind : MW_LEAK_STEADY]++;
            CHECK(program->what, !leak || (leak->kind == MW_LEAK_MAY_GROW) == (leak->doubt != MW_LEAK_NO_DOUBT));
            if (leak && program->true_a_second > 0) {
                double off = (leak->bytes_per_s - program->true_a_second * BLOCK_BYTES) / leak->bytes_per_s_error;
                squares += off * off;
                within += fabs(off) < 1;
            }
            mw_leaks_free(&leaks);
            unlive(&lived);
        }
        double sure = (double)kinds[MW_LEAK_GROWS] / LIVES;
        double suspected = (double)(kinds[MW_LEAK_GROWS] + kinds[MW_LEAK_MAY_GROW]) / LIVES;
        print_message("%-36s grows %5.1f %%, may %5.1f %%, stopped %5.1f %%, steady %5.1f %%\n", program->what,
                      100 * sure, 100.0 * kinds[MW_LEAK_MAY_GROW] / LIVES, 100.0 * kinds[MW_LEAK_STOPPED] / LIVES,
                      100.0 * kinds[MW_LEAK_STEADY] / LIVES);
        CHECK(program->what, sure >= program->least_sure);
        CHECK(program->what, sure <= program->most_sure);
        CHECK(program->what, suspected <= program->most_suspected);
        if (program->true_a_second > 0) { /* the error that is stated is the one that is made */
            CHECK(program->what, sqrt(squares / LIVES) > 0.7 && sqrt(squares / LIVES) < 1.25);
            CHECK(program->what, within > 0.58 * LIVES && within < 0.9 * LIVES);
        }
    }
}

/* ---- rank, and what a segment may say ---- */

#define S UINT64_C(1000000000)

static struct mw_profile_stack two_stacks[2];
static struct mw_profile_sample many_samples[400];

/* A stack that gains a block of 1 MiB each second, beside one that holds ten times as much and gains nothing. */
static struct mw_profile leak_beside_cache(void)
{
    struct mw_profile profile = {.stacks = two_stacks,
                                 .stack_count = 2,
                                 .samples = many_samples,
                                 .sample_count = COUNT(many_samples),
                                 .sample_mean_bytes = 512 << 10,
                                 .age_ns = 200 * S,
                                 .history_used = 12};
    memset(two_stacks, 0, sizeof two_stacks);
    for (unsigned i = 0; i < 12; i++) {
        profile.history_ns[i] = 16 * (i + 1) * S;
        two_stacks[0].history_bytes[i] = UINT64_C(2000) << 20;
        two_stacks[1].history_bytes[i] = (uint64_t)16 * (i + 1) << 20;
    }
    two_stacks[0].live = (struct mw_profile_amount){200, UINT64_C(2000) << 20, 200};
    two_stacks[1].live = (struct mw_profile_amount){200, UINT64_C(200) << 20, 200};
    for (unsigned i = 0; i < COUNT(many_samples); i++)
        many_samples[i] = (struct mw_profile_sample){
            .bytes = i % 2 ? 1 << 20 : 10 << 20, .objects = 1, .born_ns = i % 2 ? i / 2 * S : S, .stack = i % 2};
    return profile;
}

static void a_leak_comes_before_a_larger_cache(void **state)
{
    (void)state;
    struct mw_profile profile = leak_beside_cache();
    struct mw_leaks leaks = mw_leaks_find(&profile);
    assert_int_equal(leaks.count, 2);
    assert_false(leaks.is_too_short);
    assert_int_equal(leaks.observed_ns, 200 * S);
    assert_int_equal(leaks.items[0].stack, 1);
    assert_int_equal(leaks.items[0].kind, MW_LEAK_GROWS);
    assert_int_equal(leaks.items[0].samples, 200);
    assert_in_range(leaks.items[0].median_age_ns, 98 * S, 102 * S);
    assert_true(fabs(leaks.items[0].bytes_per_s / 1048576 - 1) < 0.05);
    assert_true(fabs(leaks.items[0].late_bytes_per_s / 1048576 - 1) < 0.05);
    assert_int_equal(leaks.items[1].stack, 0);
    assert_int_equal(leaks.items[1].kind, MW_LEAK_STEADY);
    assert_int_equal(leaks.items[1].median_age_ns, 199 * S);
    mw_leaks_free(&leaks);
}

static void too_short_a_past_tells_nothing(void **state)
{
    (void)state;
    for (unsigned used = 0; used < 12; used++) {
        struct mw_profile profile = leak_beside_cache();
        profile.history_used = used;
        struct mw_leaks leaks = mw_leaks_find(&profile);
        assert_int_equal(leaks.is_too_short, used + 1 < MW_LEAKS_LEAST_POINTS);
        for (size_t i = 0; used < 3 && i < leaks.count; i++)
            assert_int_not_equal(leaks.items[i].kind, MW_LEAK_GROWS);
        mw_leaks_free(&leaks);
    }
}

static void senseless_profiles_come_to_an_end(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 9; which++) {
        struct mw_profile profile = leak_beside_cache();
        profile.history_used = which == 0 ? UINT32_MAX : profile.history_used;
        profile.age_ns = which == 1 ? 0 : which == 2 ? UINT64_MAX : which == 3 ? 1 : profile.age_ns;
        for (unsigned i = 0; i < MW_SEGMENT_HISTORY; i++) {
            if (which == 4)
                profile.history_ns[i] = 16 * (MW_SEGMENT_HISTORY - i) * S; /* back in time */
            if (which == 5)
                profile.history_ns[i] = 7;
            if (which == 6)
                two_stacks[0].history_bytes[i] = UINT64_MAX;
        }
        for (unsigned i = 0; i < COUNT(many_samples); i++) {
            many_samples[i].born_ns = which == 7 ? UINT64_MAX : many_samples[i].born_ns;
            many_samples[i].bytes = which == 8 ? 0 : many_samples[i].bytes;
        }
        struct mw_leaks leaks = mw_leaks_find(&profile);
        assert_int_equal(leaks.count, 2);
        for (size_t i = 0; i < leaks.count; i++) {
            assert_in_range(leaks.items[i].kind, 0, MW_LEAK_KINDS - 1);
            assert_false(isnan(leaks.items[i].bytes_per_s) || isnan(leaks.items[i].bytes_per_s_error));
        }
        mw_leaks_free(&leaks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaks_are_told_from_what_only_looks_like_one),
        cmocka_unit_test(a_leak_comes_before_a_larger_cache),
        cmocka_unit_test(too_short_a_past_tells_nothing),
        cmocka_unit_test(senseless_profiles_come_to_an_end),
    };
    return cmocka_run_group_tests_name("leaks", tests, NULL, NULL);
}
