/* SPDX-License-Identifier: MIT */
#include "sampler.h"

#include <stdio.h>

#include "check.h"

/* The distances' distribution is exponential: its mean is the one asked for, its variance the mean's square, and the
 * share of distances beyond t is e^(-t/mean). Bounds are five standard errors, with fixed seeds. */
static void distances_are_exponential(void **state)
{
    static const uint64_t means[] = {2, 100, 4096, 512 * 1024, 64 * 1024 * 1024};
    enum { DRAWS = 200000 };
    (void)state;
    for (size_t i = 0; i < COUNT(means); i++) {
        char label[32];
        double mean = (double)means[i];
        uint64_t random = 42 + i;
        double sum = 0;
        double squares = 0;
        unsigned beyond = 0;
        snprintf(label, sizeof label, "mean %llu", (unsigned long long)means[i]);
        mw_sampler_set_mean(means[i]);
        for (unsigned draw = 0; draw < DRAWS; draw++) {
            int64_t distance = mw_sampler_next(&random);
            CHECK(label, distance >= 0);
            double x = (double)distance + 0.5; /* cut down to whole bytes */
            sum += x;
            squares += x * x;
            beyond += x > 2 * mean;
        }
        double average = sum / DRAWS;
        double variance = squares / DRAWS - average * average;
        double root = 0.0022360679; /* 1 / sqrt(DRAWS) */
        CHECK(label, average > mean * (1 - 5 * root) - 0.1 && average < mean * (1 + 5 * root) + 0.1);
        CHECK(label, variance > mean * mean * (1 - 15 * root) - 0.2 && variance < mean * mean * (1 + 15 * root) + 0.2);
        if (means[i] >= 100) { /* e^-2 = 0.1353; a standard error is 0.00076 */
            CHECK(label, (double)beyond / DRAWS > 0.1353 - 0.004);
            CHECK(label, (double)beyond / DRAWS < 0.1353 + 0.004);
        }
    }
}

static void off_and_always(void **state)
{
    uint64_t random = 1;
    (void)state;
    mw_sampler_set_mean(0);
    assert_true(mw_sampler_next(&random) == MW_SAMPLER_LOOK_AGAIN);
    mw_sampler_set_mean(1);
    assert_int_equal(mw_sampler_next(&random), 0);
}

/* A mean beyond all memory is as good as never, and does not overflow. */
static void a_huge_mean_is_no_overflow(void **state)
{
    uint64_t random = 7;
    (void)state;
    mw_sampler_set_mean(UINT64_MAX);
    for (unsigned i = 0; i < 1000; i++)
        assert_in_range(mw_sampler_next(&random), 0, MW_SAMPLER_NEVER);
}

static void two_threads_do_not_sample_in_step(void **state)
{
    uint64_t one = 1;
    uint64_t two = 2;
    unsigned same = 0;
    (void)state;
    mw_sampler_set_mean(512 * 1024);
    for (unsigned i = 0; i < 1000; i++)
        same += mw_sampler_next(&one) == mw_sampler_next(&two);
    assert_in_range(same, 0, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_exponential),
        cmocka_unit_test(off_and_always),
        cmocka_unit_test(a_huge_mean_is_no_overflow),
        cmocka_unit_test(two_threads_do_not_sample_in_step),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
