/* SPDX-License-Identifier: MIT
 *
 * Sizes, shares and durations as people write them.
 *
 * 100M = 100MB = 100MiB = 104857600: a unit is a power of 1024, as to the kernel, systemd and Docker. Any thread,
 * async-signal-safe; errno is left alone. Parsers take the whole string and return 0, -EINVAL (not of that form) or
 * -ERANGE (of that form, but too large); on failure *out is unchanged.
 */
#ifndef MW_UNITS_H
#define MW_UNITS_H

#include <stdint.h>

#include "text.h"

#define MW_SIZE_ACCEPTED     "a size such as 1048576, 512K, 100M, 1.5GiB"
#define MW_SHARE_ACCEPTED    "a share such as 90%"
#define MW_PERCENT_ACCEPTED  "a number of per cent from 0 to 100000, or off"
#define MW_DURATION_ACCEPTED "a duration such as 250ms, 1s, 1.5m"

/* "100M", "1.5 GiB", "4096": bytes, rounded down. Units B, K, M, G, T, P, E in either case, with B or iB behind. */
int mw_size_parse(const char *string, uint64_t *out_bytes);

/* "90%", "12.5%" in parts per million; from 0 to 100 %. */
int mw_share_parse(const char *string, uint32_t *out_ppm);

/* A growth in per cent, "50", as Go's GOGC; "off" is -1. */
#define MW_LARGEST_PERCENT 100000
int mw_percent_parse(const char *string, int *out);

/* "250ms", "1s", "1.5m", "2h", "10us"; a bare number is seconds. */
int mw_duration_parse(const char *string, uint64_t *out_ns);

/* A size that may be absolute or a share of another. */
struct mw_amount {
    enum mw_amount_kind { MW_AMOUNT_NONE, MW_AMOUNT_BYTES, MW_AMOUNT_SHARE } kind;
    uint64_t bytes;
    uint32_t share_ppm;
};

#define MW_AMOUNT_ACCEPTED MW_SIZE_ACCEPTED ", " MW_SHARE_ACCEPTED ", or off"

/* A size, a share, or "off" (MW_AMOUNT_NONE). 0 is -EINVAL: nobody means it. */
int mw_amount_parse(const char *string, struct mw_amount *out);

/* The bytes that an amount stands for; `whole_bytes` is what a share is of. 0: none, or a share of an unknown whole. */
uint64_t mw_amount_bytes(struct mw_amount amount, uint64_t whole_bytes);

/* 62914560 as "60 MiB", 1572864 as "1.5 MiB", 1000 as "1000 B". */
void mw_text_size(struct mw_text *text, uint64_t bytes);

/* 1500000000 as "1.5 s", 12300000 as "12.3 ms", 900 as "0.9 us". */
void mw_text_duration(struct mw_text *text, uint64_t ns);

#endif
