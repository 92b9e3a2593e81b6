/* SPDX-License-Identifier: MIT
 *
 * A heap profile taken out of a segment: what every report is made of. Plain data, checked: frames, modules and
 * samples are in bounds, stacks that stand twice are one.
 *
 * Owned by whoever loaded it, until mw_profile_free. One thread at a time.
 */
#ifndef MW_PROFILE_H
#define MW_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "segment.h"
#include "segment_view.h"

/* Objects and bytes, of one direction or live. Scaled up already: estimates where blocks are sampled. */
struct mw_profile_amount {
    uint64_t objects;
    uint64_t bytes;
    uint64_t samples; /* blocks that were really seen: 0 where there are none */
};

struct mw_profile_stack {
    const uint64_t *frames; /* return addresses, the innermost first; part of the profile */
    unsigned depth;
    bool is_mmap;
    bool is_truncated;
    struct mw_profile_amount allocated;
    struct mw_profile_amount live;
    double live_bytes_error; /* standard error of live.bytes; 0 where it is exact */
    uint64_t history_bytes[MW_SEGMENT_HISTORY];
};

struct mw_profile_module {
    uint64_t start;
    uint64_t end;
    uint64_t bias;
    const char *path; /* part of the profile */
    const uint8_t *build_id;
    unsigned build_id_bytes;
};

struct mw_profile_sample {
    uint64_t address;
    uint64_t bytes;   /* of the one block */
    double objects;   /* that it stands for */
    uint64_t born_ns; /* since the start of the process image */
    unsigned stack;   /* index into stacks */
};

struct mw_profile {
    struct mw_profile_stack *stacks;
    size_t stack_count;
    struct mw_profile_module *modules; /* the program itself first, if it is known */
    size_t module_count;
    struct mw_profile_sample *samples;
    size_t sample_count;
    uint64_t sample_mean_bytes; /* 0: there was no sampling; 1: exact */
    uint64_t started_unix_ns;
    uint64_t age_ns;                         /* from the start of the process image to the moment that this is of */
    uint64_t history_ns[MW_SEGMENT_HISTORY]; /* since the start */
    unsigned history_used;
    uint64_t dropped_samples; /* that are in nothing of the above */
    uint64_t dropped_bytes;
    uint64_t dropped_stacks;
    uint64_t dropped_modules; /* whose code has no names */
    uint64_t dropped_threads; /* that count together with others; below every block they are not sampled */
    void *memory;             /* what the pointers point into */
};

/* Takes it out of a view, which need not be kept. False: there is not enough memory, and *profile holds nothing. */
bool mw_profile_load(const struct mw_segment_view *view, struct mw_profile *profile, struct mw_error *error);
void mw_profile_free(struct mw_profile *profile);

#endif
