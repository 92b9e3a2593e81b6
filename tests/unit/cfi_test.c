/* SPDX-License-Identifier: MIT
 *
 * The unwind tables of the C library at hand: read whole, and read spoilt.
 */
#include "cfi.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

#include "check.h"

/* The C library's segment that holds both .eh_frame_hdr and .eh_frame, and its code. */
static struct {
    const char *start;
    size_t bytes;
    size_t header; /* from its start */
    uintptr_t code_start;
    uintptr_t code_end;
} libc;

static int find_libc(struct dl_phdr_info *module, size_t info_bytes, void *unused)
{
    uintptr_t header = 0;
    (void)info_bytes, (void)unused;
    if (!strstr(module->dlpi_name, "/libc.so"))
        return 0;
    for (int i = 0; i < module->dlpi_phnum; i++)
        if (module->dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
            header = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr;
    for (int i = 0; i < module->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &module->dlpi_phdr[i];
        uintptr_t start = module->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD)
            continue;
        if (segment->p_flags & PF_X) {
            libc.code_start = start;
            libc.code_end = start + segment->p_memsz;
        }
        if (header >= start && header < start + segment->p_memsz) {
            libc.start = (const char *)start; // NOLINT(performance-no-int-to-ptr)
            libc.bytes = segment->p_memsz;
            libc.header = header - start;
        }
    }
    return 1;
}

static int find(void **state)
{
    (void)state;
    dl_iterate_phdr(find_libc, NULL);
    return libc.start ? 0 : -1;
}

static struct mw_cfi_rule rule_at(uintptr_t address)
{
    return mw_cfi_find(libc.start + libc.header, (uintptr_t)libc.start, (uintptr_t)libc.start + libc.bytes, address);
}

/* Nothing has been pushed at the first instruction of a function. */
static void at_its_entry_a_function_has_only_its_return_address(void **state)
{
    static const char *const names[] = {"qsort", "strtol", "dl_iterate_phdr", "getenv"};
    void *handle = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD); /* not a sanitizer's function of that name */
    (void)state;
    assert_non_null(handle);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct mw_cfi_rule rule = rule_at((uintptr_t)dlsym(handle, names[i]));
        assert_int_equal(rule.kind, MW_CFI_FROM_SP);
        assert_int_equal(rule.cfa_offset, 8);
        assert_false(rule.saves_fp);
    }
    dlclose(handle);
}

/* Whatever a function does in its midst, what it says must make sense; and nearly all of it must be understood. */
static void nearly_all_code_is_understood(void **state)
{
    unsigned counts[MW_CFI_END + 1] = {0};
    (void)state;
    for (uintptr_t at = libc.code_start; at < libc.code_end; at += 61) {
        struct mw_cfi_rule rule = rule_at(at);
        counts[rule.kind]++;
        if (rule.kind == MW_CFI_FROM_SP || rule.kind == MW_CFI_FROM_FP) {
            assert_in_range(rule.cfa_offset, 8, 1 << 20);
            assert_int_equal(rule.cfa_offset % 8, 0);
        }
        if (rule.saves_fp)
            assert_true(rule.fp_offset < 0);
    }
    unsigned all = 0;
    for (unsigned kind = MW_CFI_NONE; kind <= MW_CFI_END; kind++)
        all += counts[kind];
    assert_true(counts[MW_CFI_FROM_SP] > all / 2);
    assert_true(counts[MW_CFI_FROM_FP] > 100);
    assert_true(counts[MW_CFI_NONE] < all / 20); /* between functions there is nothing to be said */
}

static void a_rule_is_the_same_in_one_word(void **state)
{
    const int32_t offsets[] = {0, 8, -8, 16, 4096, -4096, (1 << 27) - 1, -(1 << 27)};
    (void)state;
    for (unsigned kind = MW_CFI_NONE; kind <= MW_CFI_END; kind++)
        for (size_t i = 0; i < COUNT(offsets); i++)
            for (size_t k = 0; k < COUNT(offsets); k++) {
                struct mw_cfi_rule rule = {(enum mw_cfi_kind)kind, i % 2, offsets[i], offsets[k]};
                uint64_t packed = mw_cfi_pack(rule);
                assert_true(packed != 0);
                assert_int_equal(mw_cfi_packed_kind(packed), kind);
                assert_int_equal(mw_cfi_packed_saves_fp(packed), i % 2);
                assert_int_equal(mw_cfi_packed_cfa_offset(packed), offsets[i]);
                assert_int_equal(mw_cfi_packed_fp_offset(packed), offsets[k]);
            }
}

static uint64_t random_state = 88172645463325252;

static uint64_t next_random(void) /* xorshift64 (Marsaglia, "Xorshift RNGs", 2003) */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The address sanitizer sees a read beyond the copy. */
static void spoilt_tables_are_read_within_their_bounds(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        size_t bytes = round % 4 == 3 ? libc.header + next_random() % (libc.bytes - libc.header) : libc.bytes;
        char *copy = malloc(bytes);
        assert_non_null(copy);
        memcpy(copy, libc.start, bytes);
        for (unsigned i = 0; i < 4000; i++)
            copy[libc.header + next_random() % (bytes - libc.header)] = (char)next_random();
        if (round % 2) /* else nearly always the first bytes are spoilt, and nothing more is looked at */
            memcpy(copy + libc.header, libc.start + libc.header, 12 < bytes - libc.header ? 12 : bytes - libc.header);
        uintptr_t moved = (uintptr_t)copy - (uintptr_t)libc.start;
        for (unsigned i = 0; i < 5000; i++) {
            uintptr_t address = libc.code_start + next_random() % (libc.code_end - libc.code_start);
            mw_cfi_find(copy + libc.header, (uintptr_t)copy, (uintptr_t)copy + bytes, address + moved);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_its_entry_a_function_has_only_its_return_address),
        cmocka_unit_test(nearly_all_code_is_understood),
        cmocka_unit_test(a_rule_is_the_same_in_one_word),
        cmocka_unit_test(spoilt_tables_are_read_within_their_bounds),
    };
    return cmocka_run_group_tests_name("cfi", tests, find, NULL);
}
