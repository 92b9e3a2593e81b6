/* SPDX-License-Identifier: MIT */
#include "unwind_rules.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "real.h"
#include "syscall.h"

#define PAGE_BYTES      ((uintptr_t)4096)
#define LEARNED_AT_ONCE 16 /* addresses looked up between two times that pages are given back */

/* What glibc's dlfcn.h has from 2.35 on. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    void *link_map;
    void *eh_frame; /* the module's .eh_frame_hdr */
    unsigned long long reserved[7];
};

static int (*find_object)(void *address, struct found_object *result);
static unsigned learned;

struct mw_remembered_rule mw_rules_remembered[MW_RULES_REMEMBERED];
uint32_t mw_rules_generation = 1;

void mw_rules_start(void)
{
    void *found = dlsym(RTLD_DEFAULT, "_dl_find_object");
    if (found)
        memcpy(&find_object, &found, sizeof found);
    else
        mw_real_forget_error();
}

bool mw_unwind_module_of(uintptr_t address, struct mw_unwind_module *module)
{
    struct found_object found;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (!find_object || find_object((void *)address, &found))
        return false;
    *module = (struct mw_unwind_module){
        .start = (uintptr_t)found.map_start, .end = (uintptr_t)found.map_end, .link_map = found.link_map};
    return true;
}

void mw_unwind_forget(void)
{
    __atomic_fetch_add(&mw_rules_generation, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < MW_RULES_REMEMBERED; i++)
        __atomic_store_n(&mw_rules_remembered[i].mixed, 0, __ATOMIC_RELAXED);
}

static void remember(size_t place, uintptr_t address, uint64_t packed)
{
    __atomic_store_n(&mw_rules_remembered[place].rule, packed, __ATOMIC_RELAXED);
    __atomic_store_n(&mw_rules_remembered[place].mixed, packed ^ address, __ATOMIC_RELAXED);
}

/* Where a module's tables lie, in pages that are theirs. False: they are not laid out as linkers do it. */
static bool find_tables(const struct found_object *module, uintptr_t *from, uintptr_t *end)
{
    uintptr_t start = (uintptr_t)module->map_start;
    uintptr_t header = (uintptr_t)module->eh_frame;
    const ElfW(Ehdr) *elf = module->map_start;
    const uint8_t *encodings = module->eh_frame;
    int32_t to_frames;
    uint32_t count;
    if (!module->link_map || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phentsize != sizeof(ElfW(Phdr)) ||
        elf->e_phoff + (uint64_t)elf->e_phnum * sizeof(ElfW(Phdr)) > PAGE_BYTES || encodings[0] != 1 ||
        encodings[1] != 0x1b || encodings[2] != 0x03)
        return false;
    memcpy(&to_frames, encodings + 4, sizeof to_frames);
    memcpy(&count, encodings + 8, sizeof count);
    uintptr_t frames = header + 4 + (uintptr_t)(intptr_t)to_frames;
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)(start + elf->e_phoff); // NOLINT(performance-no-int-to-ptr)
    for (unsigned i = 0; i < elf->e_phnum; i++) {
        uintptr_t segment = ((const struct link_map *)module->link_map)->l_addr + headers[i].p_vaddr;
        uintptr_t segment_end = segment + headers[i].p_filesz;
        if (headers[i].p_type != PT_LOAD || headers[i].p_flags & PF_W || header - segment >= headers[i].p_filesz ||
            frames - segment >= headers[i].p_filesz)
            continue;
        *from = (header < frames ? header : frames) + PAGE_BYTES - 1;
        *end = header < frames ? segment_end : header + 12 + (uintptr_t)count * 8;
        *from &= ~(PAGE_BYTES - 1);
        *end = (*end < segment_end ? *end : segment_end) & ~(PAGE_BYTES - 1);
        /* Behind the frames there may be code, where everything is in one segment. */
        return *from < *end && (frames < header || !(headers[i].p_flags & PF_X));
    }
    return false;
}

/* The tables of a large module are many pages, and the kernel maps their neighbours along: what has been read there is
 * given back now and then. It is the module's file, read-only, and comes again when it is needed. A frame of the module
 * stands on our stack, so that it is there. */
static __attribute__((noinline)) void give_back_tables(const struct found_object *module)
{
    uintptr_t from;
    uintptr_t end;
    if (find_tables(module, &from, &end))
        mw_syscall6(SYS_madvise, (long)from, (long)(end - from), MADV_DONTNEED, 0, 0, 0);
}

/* Often at first; where very much is looked up, time matters more. */
static bool is_time_to_give_back(void)
{
    unsigned now = __atomic_add_fetch(&learned, 1, __ATOMIC_RELAXED);
    return now % LEARNED_AT_ONCE == 0 && (now < 32 * LEARNED_AT_ONCE || now % (16 * LEARNED_AT_ONCE) == 0);
}

/* Its place is empty or another's. The other goes next door, where it is found as well: two frames of one stack that
 * share a place must not drive each other out time and again. */
uint64_t mw_rules_learn(uintptr_t address)
{
    struct mw_cfi_rule rule = {.kind = MW_CFI_NONE};
    struct found_object found;
    size_t place = mw_rules_place_of(address);
    uint64_t next_door = mw_rules_recall(place ^ 1, address);
    if (next_door)
        return next_door;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (find_object && find_object((void *)address, &found) == 0 && found.eh_frame) {
        rule = mw_cfi_find(found.eh_frame, (uintptr_t)found.map_start, (uintptr_t)found.map_end, address);
        if (is_time_to_give_back())
            give_back_tables(&found);
    }
    uint64_t packed = mw_cfi_pack(rule);
    uint64_t others = __atomic_load_n(&mw_rules_remembered[place].rule, __ATOMIC_RELAXED);
    if (others)
        remember(place ^ 1, others ^ __atomic_load_n(&mw_rules_remembered[place].mixed, __ATOMIC_RELAXED), others);
    remember(place, address, packed);
    return packed;
}
