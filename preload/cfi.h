/* SPDX-License-Identifier: MIT
 *
 * Call frame information: what a module's unwind tables say of one code address.
 *
 * Of all that DWARF can say only what compilers say: the frame of the caller (its CFA) lies at a distance from the
 * stack or the frame pointer, or its address stands at one from the frame pointer; the return address lies right below
 * it; the frame pointer is kept or saved. What is told otherwise is not known.
 *
 * Pure: reads the module's own memory, within its bounds. Any thread, async-signal-safe.
 */
#ifndef MW_CFI_H
#define MW_CFI_H

#include <stdbool.h>
#include <stdint.h>

enum mw_cfi_kind {
    MW_CFI_NONE = 1, /* not known */
    MW_CFI_FROM_SP,  /* CFA = sp + cfa_offset */
    MW_CFI_FROM_FP,  /* CFA = fp + cfa_offset */
    MW_CFI_AT_FP,    /* CFA = *(fp + cfa_offset): a function that aligns its stack */
    MW_CFI_SIGNAL,   /* the kernel's frame of a signal */
    MW_CFI_END       /* nobody has called this */
};

struct mw_cfi_rule {
    enum mw_cfi_kind kind;
    bool saves_fp; /* at CFA + fp_offset */
    int32_t cfa_offset;
    int32_t fp_offset;
};

/* header: the module's .eh_frame_hdr; the module is mapped in [start, end). */
struct mw_cfi_rule mw_cfi_find(const void *header, uintptr_t start, uintptr_t end, uintptr_t address);

/* A rule in one word, never 0. What does not fit becomes MW_CFI_NONE. */
uint64_t mw_cfi_pack(struct mw_cfi_rule rule);
struct mw_cfi_rule mw_cfi_unpack(uint64_t packed);

#endif
