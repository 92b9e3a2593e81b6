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

/* A rule in one word: kind, saves_fp, cfa_offset (28 bits from the 28th), fp_offset (28 bits). What does not fit is
 * MW_CFI_NONE already. */
uint64_t mw_cfi_pack(struct mw_cfi_rule rule);

static inline enum mw_cfi_kind mw_cfi_packed_kind(uint64_t packed)
{
    return (enum mw_cfi_kind)(packed >> 60);
}

static inline bool mw_cfi_packed_saves_fp(uint64_t packed)
{
    return packed >> 59 & 1;
}

static inline int64_t mw_cfi_packed_cfa_offset(uint64_t packed)
{
    return (int64_t)(packed << 8) >> 36;
}

static inline int64_t mw_cfi_packed_fp_offset(uint64_t packed)
{
    return (int64_t)(packed << 36) >> 36;
}

#endif
