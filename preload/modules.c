/* SPDX-License-Identifier: MIT */
#include "modules.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>

#include "counters.h"
#include "store.h"
#include "syscall.h"
#include "text.h"
#include "unwind_rules.h"

struct found {
    uintptr_t start;
    uintptr_t end;
    uintptr_t bias;
    const char *path;
    const ElfW(Phdr) * headers;
    unsigned header_count;
};

static uint32_t align4(uint32_t bytes)
{
    return (bytes + 3) & ~UINT32_C(3);
}

/* The note of type NT_GNU_BUILD_ID, of a module that is loaded. */
static void read_build_id(struct mw_segment_module *module, const struct found *found)
{
    for (unsigned i = 0; i < found->header_count; i++) {
        const ElfW(Phdr) *header = &found->headers[i];
        if (header->p_type != PT_NOTE)
            continue;
        const char *at = (const char *)(found->bias + header->p_vaddr); // NOLINT(performance-no-int-to-ptr)
        const char *end = at + header->p_memsz;
        while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            const char *name = at + sizeof note;
            const char *id = name + align4(note.n_namesz);
            if (id > end || (size_t)(end - id) < note.n_descsz)
                break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
                module->build_id_bytes =
                    note.n_descsz < MW_SEGMENT_BUILD_ID_BYTES ? note.n_descsz : MW_SEGMENT_BUILD_ID_BYTES;
                memcpy(module->build_id, id, module->build_id_bytes);
                return;
            }
            at = id + align4(note.n_descsz);
        }
    }
}

/* The table is short and seldom searched: when a stack is new. */
static bool is_noted(uintptr_t start, uintptr_t end, bool *overlaps)
{
    uint32_t used = __atomic_load_n(&mw_store.header->modules_used, __ATOMIC_ACQUIRE);
    *overlaps = false;
    for (uint32_t i = used; i-- > 0;) {
        const struct mw_segment_module *module = &mw_store.modules[i];
        uint64_t noted_start = __atomic_load_n(&module->start, __ATOMIC_ACQUIRE);
        if (noted_start == start && module->end == end)
            return true;
        if (noted_start < end && module->end > start && noted_start)
            *overlaps = true;
    }
    return false;
}

static void note(const struct found *found)
{
    bool overlaps;
    if (is_noted(found->start, found->end, &overlaps))
        return;
    if (overlaps)
        mw_unwind_forget(); /* another one was there before */
    uint32_t *used = &mw_store.header->modules_used;
    uint32_t index = __atomic_load_n(used, __ATOMIC_RELAXED);
    do {
        if (index >= mw_store.modules_capacity || !mw_store_ready(&mw_store.modules[index], sizeof *mw_store.modules)) {
            mw_counter_add_shared(&mw_store.header->dropped_modules, 1);
            return;
        }
    } while (!__atomic_compare_exchange_n(used, &index, index + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    struct mw_segment_module *module = &mw_store.modules[index];
    module->end = found->end;
    module->bias = found->bias;
    module->loaded_ns = mw_clock_ns(CLOCK_MONOTONIC);
    struct mw_text path = MW_TEXT(module->path);
    mw_text_string(&path, *found->path ? found->path : mw_store.header->program);
    read_build_id(module, found);
    __atomic_store_n(&module->start, found->start, __ATOMIC_RELEASE);
}

/* A loaded module's own headers, at its start; NULL where they are not mapped. */
static void find_headers(struct found *found)
{
    const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)found->start; // NOLINT(performance-no-int-to-ptr)
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_phentsize != sizeof(ElfW(Phdr)) ||
        elf->e_phoff + (uint64_t)elf->e_phnum * sizeof(ElfW(Phdr)) > 4096)
        return;
    found->headers = (const ElfW(Phdr) *)(found->start + elf->e_phoff); // NOLINT(performance-no-int-to-ptr)
    found->header_count = elf->e_phnum;
}

void mw_modules_note(const uint64_t *addresses, unsigned count)
{
    struct mw_unwind_module last = {0};
    bool overlaps;
    for (unsigned i = 0; i < count; i++) {
        if (addresses[i] >= last.start && addresses[i] < last.end)
            continue;
        if (!mw_unwind_module_of(addresses[i], &last)) {
            last = (struct mw_unwind_module){0};
            continue;
        }
        if (is_noted(last.start, last.end, &overlaps) || !last.link_map)
            continue;
        const struct link_map *map = last.link_map;
        struct found found = {.start = last.start, .end = last.end, .bias = map->l_addr, .path = map->l_name};
        find_headers(&found);
        note(&found);
    }
}

static int note_loaded(struct dl_phdr_info *info, size_t info_bytes, void *unused)
{
    (void)info_bytes, (void)unused;
    struct found found = {.start = UINTPTR_MAX,
                          .bias = info->dlpi_addr,
                          .path = info->dlpi_name,
                          .headers = info->dlpi_phdr,
                          .header_count = info->dlpi_phnum};
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD)
            continue;
        uintptr_t start = (info->dlpi_addr + header->p_vaddr) & ~(uintptr_t)4095;
        uintptr_t end = (info->dlpi_addr + header->p_vaddr + header->p_memsz + 4095) & ~(uintptr_t)4095;
        found.start = start < found.start ? start : found.start;
        found.end = end > found.end ? end : found.end;
    }
    struct mw_unwind_module known; /* as the loader tells it later, so that it is not noted twice */
    if (found.start < found.end && mw_unwind_module_of(found.start, &known)) {
        found.start = known.start;
        found.end = known.end;
    }
    if (found.start < found.end)
        note(&found);
    return 0;
}

void mw_modules_start(void)
{
    dl_iterate_phdr(note_loaded, NULL);
}
