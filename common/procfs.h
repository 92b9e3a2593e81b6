/* SPDX-License-Identifier: MIT
 *
 * /proc/PID/status and /proc/pressure/memory, parsed from buffers (proc(5)). Pure; any thread, async-signal-safe.
 */
#ifndef MW_PROCFS_H
#define MW_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

#define MW_COMM_BYTES 64

struct mw_proc_status {
    char comm[MW_COMM_BYTES]; /* escaped by the kernel: \n and \\ */
    uint64_t vm_rss_bytes;
    uint64_t vm_hwm_bytes;
    uint64_t vm_swap_bytes;
    uint64_t vm_data_bytes;
    uint64_t vm_stk_bytes;
    uint64_t rss_anon_bytes;
    uint64_t threads;
    uint64_t seccomp; /* 0: none; of the thread whose file it is, while the sizes are the process's */
};

/* Fills *status from the text of /proc/PID/status; what the text does not hold is 0. */
void mw_proc_status_parse(const char *text, struct mw_proc_status *status);

/* The `some avg10` of a PSI file, as a ratio from 0 to 1. False where there is none. */
bool mw_pressure_parse(const char *text, double *some_avg10);

/* The value of `key` in a file of "key value" or "key: value kB" lines; the first such line counts. A "kB" behind it
 * is taken into account; "max" is UINT64_MAX. False where there is none or it is not a number. */
bool mw_key_value(const char *text, const char *key, uint64_t *out);

/* A file that holds one number, or "max" (UINT64_MAX). */
bool mw_single_value(const char *text, uint64_t *out);

#endif
