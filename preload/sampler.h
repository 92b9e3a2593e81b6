/* SPDX-License-Identifier: MIT
 *
 * When to sample: a Poisson process over allocated bytes, as in Go and tcmalloc. Each byte is the chosen one with the
 * same small chance, so that the distance from one to the next is exponential, with the mean that was asked for.
 * Any thread, async-signal-safe.
 */
#ifndef MW_SAMPLER_H
#define MW_SAMPLER_H

#include <stdint.h>

#define MW_SAMPLER_NEVER      (INT64_MAX / 4)
#define MW_SAMPLER_LOOK_AGAIN (INT64_C(1) << 20) /* where nothing is sampled: it may be switched on */

/* 0: never; 1: every block. Before the first allocation is counted, or with the next sample of each thread. */
void mw_sampler_set_mean(uint64_t mean_bytes);

uint64_t mw_sampler_mean(void);

/* For how many blocks one that was chosen stands, in parts of 2^-16: 1 / (1 - e^(-weight / mean)), the inverse of the
 * chance that it was chosen. docs/sampling.md derives it. */
uint64_t mw_sampler_objects(uint64_t weight_bytes);

/* The distance to the next sample, in bytes; *random is the thread's own state, of any value. */
int64_t mw_sampler_next(uint64_t *random);

#endif
