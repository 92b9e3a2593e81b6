/* SPDX-License-Identifier: MIT */
#include "sampler.h"

#include <string.h>

static uint64_t mean_bytes;

void mw_sampler_set_mean(uint64_t bytes)
{
    __atomic_store_n(&mean_bytes, bytes, __ATOMIC_RELAXED);
}

/* splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): good from any state. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* The natural logarithm of a positive normal number, to about 1e-15: libm is not ours to load. With x = m * 2^e and m
 * near 1, ln m = 2 atanh((m - 1) / (m + 1)), whose series converges fast. */
static double natural_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffff) | 0x3ff0000000000000;
    double m;
    memcpy(&m, &bits, sizeof m); /* in [1, 2) */
    if (m > 1.4142135623730951) {
        m /= 2;
        exponent++;
    }
    double s = (m - 1) / (m + 1); /* at most 0.172 */
    double square = s * s;
    double sum = 0;
    for (int k = 19; k >= 1; k -= 2)
        sum = sum * square + 1.0 / k;
    return 2 * s * sum + exponent * 0.6931471805599453;
}

/* 1 - e^-x for x from 0 up, to about 1e-15 of itself: for small x by the series, for larger ones by halving x, for
 * 1 - e^-2y = (1 - e^-y) (2 - (1 - e^-y)). */
static double one_minus_exp(double x)
{
    unsigned halvings = 0;
    if (x > 40)
        return 1;
    while (x > 0.5) {
        x /= 2;
        halvings++;
    }
    double sum = 0;
    for (int k = 16; k >= 1; k--)
        sum = x / k * (1 - sum); /* x - x^2/2 + x^3/6 - … */
    for (; halvings; halvings--)
        sum = sum * (2 - sum);
    return sum;
}

uint64_t mw_sampler_mean(void)
{
    return __atomic_load_n(&mean_bytes, __ATOMIC_RELAXED);
}

uint64_t mw_sampler_objects(uint64_t weight_bytes)
{
    uint64_t mean = mw_sampler_mean();
    if (mean <= 1 || weight_bytes == 0)
        return UINT64_C(65536);
    return (uint64_t)(65536 / one_minus_exp((double)weight_bytes / (double)mean) + 0.5);
}

int64_t mw_sampler_next(uint64_t *random)
{
    uint64_t mean = __atomic_load_n(&mean_bytes, __ATOMIC_RELAXED);
    if (mean == 0)
        return MW_SAMPLER_LOOK_AGAIN;
    if (mean == 1)
        return 0;
    double uniform = (double)((next_random(random) >> 11) + 1) * 0x1p-53; /* in (0, 1] */
    double distance = -natural_log(uniform) * (double)mean;
    return distance < (double)MW_SAMPLER_NEVER ? (int64_t)distance : MW_SAMPLER_NEVER;
}
