/* SPDX-License-Identifier: MIT */
#include "elf_file.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* More than any real file has of them; what is beyond is not looked at. */
#define MOST_SEGMENTS 128
#define MOST_DYNAMIC  512

/* Our own, put there by the linker. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

struct source {
    mw_elf_read *read;
    void *context;
    ElfW(Phdr) segments[MOST_SEGMENTS];
    unsigned segment_count;
};

static bool read_exactly(const struct source *source, uint64_t offset, void *buffer, size_t bytes)
{
    return source->read(source->context, offset, buffer, bytes) == bytes;
}

/* A string of the file, cut off at the buffer's end; "" where there is none. */
static void read_string(const struct source *source, uint64_t offset, char *buffer, size_t capacity_bytes)
{
    size_t length = source->read(source->context, offset, buffer, capacity_bytes - 1);
    buffer[length < capacity_bytes ? length : 0] = '\0';
}

bool mw_elf_is_sanitizer(const char *name, size_t length)
{
    static const char *const beginnings[] = {"libasan.so",       "libtsan.so",        "liblsan.so",
                                             "libhwasan.so",     "libclang_rt.asan",  "libclang_rt.tsan",
                                             "libclang_rt.lsan", "libclang_rt.hwasan"};
    for (size_t i = 0; i < COUNT(beginnings); i++) {
        size_t bytes = strlen(beginnings[i]);
        if (length >= bytes && memcmp(name, beginnings[i], bytes) == 0)
            return true;
    }
    return false;
}

/* Where an address stands in the file; false where nothing of the file is loaded there. */
static bool place_of(const struct source *source, uint64_t address, uint64_t *offset)
{
    for (unsigned i = 0; i < source->segment_count; i++) {
        const ElfW(Phdr) *segment = &source->segments[i];
        if (segment->p_type == PT_LOAD && address >= segment->p_vaddr &&
            address - segment->p_vaddr < segment->p_filesz) {
            *offset = segment->p_offset + (address - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

static void take_needed(struct mw_elf_file *out, const char *name)
{
    if (strcmp(name, "libc.so.6") == 0)
        out->needs_glibc = true;
    if (mw_elf_is_sanitizer(name, strlen(name)))
        out->has_sanitizer = true;
}

static void read_dynamic(struct mw_elf_file *out, const struct source *source, const ElfW(Phdr) * segment)
{
    ElfW(Dyn) entries[MOST_DYNAMIC];
    uint64_t strings = 0;
    bool has_strings = false;
    size_t wanted = segment->p_filesz < sizeof entries ? segment->p_filesz : sizeof entries;
    size_t read = source->read(source->context, segment->p_offset, entries, wanted);
    size_t count = (read <= wanted ? read : 0) / sizeof entries[0];
    for (size_t i = 0; i < count; i++) {
        if (entries[i].d_tag == DT_NULL)
            count = i;
        else if (entries[i].d_tag == DT_STRTAB)
            has_strings = place_of(source, entries[i].d_un.d_ptr, &strings);
    }
    for (size_t i = 0; has_strings && i < count; i++) {
        char name[sizeof out->soname];
        if (entries[i].d_tag != DT_NEEDED && entries[i].d_tag != DT_SONAME)
            continue;
        read_string(source, strings + entries[i].d_un.d_val, name, sizeof name);
        if (entries[i].d_tag == DT_NEEDED)
            take_needed(out, name);
        else
            memcpy(out->soname, name, sizeof name);
    }
}

static void read_loader(struct mw_elf_file *out, const struct source *source, const ElfW(Phdr) * segment)
{
    out->has_loader = true;
    if (segment->p_filesz >= 2 && segment->p_filesz <= sizeof out->loader)
        read_string(source, segment->p_offset, out->loader, segment->p_filesz);
}

static bool read_segments(struct mw_elf_file *out, struct source *source, const ElfW(Ehdr) * header)
{
    if (header->e_phentsize != sizeof(ElfW(Phdr)) || !header->e_phnum)
        return false;
    source->segment_count = header->e_phnum < MOST_SEGMENTS ? header->e_phnum : MOST_SEGMENTS;
    if (!read_exactly(source, header->e_phoff, source->segments, source->segment_count * sizeof source->segments[0]))
        return false;
    for (unsigned i = 0; i < source->segment_count; i++) {
        if (source->segments[i].p_type == PT_INTERP && !out->has_loader)
            read_loader(out, source, &source->segments[i]);
        else if (source->segments[i].p_type == PT_DYNAMIC)
            read_dynamic(out, source, &source->segments[i]);
    }
    return true;
}

bool mw_elf_file_read(struct mw_elf_file *out, mw_elf_read *read, void *context)
{
    struct source source = {.read = read, .context = context};
    ElfW(Ehdr) header;
    *out = (struct mw_elf_file){0};
    /* The identification, type and machine stand alike in both classes. */
    size_t least = offsetof(ElfW(Ehdr), e_version);
    size_t length = read(context, 0, &header, sizeof header);
    if (length > sizeof header || length < least || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return false;
    bool is_our_order = header.e_ident[EI_DATA] == __ehdr_start.e_ident[EI_DATA];
    out->class_ = header.e_ident[EI_CLASS];
    out->machine = is_our_order ? header.e_machine : (uint16_t)(header.e_machine << 8 | header.e_machine >> 8);
    uint16_t type = is_our_order ? header.e_type : (uint16_t)(header.e_type << 8 | header.e_type >> 8);
    if (type != ET_EXEC && type != ET_DYN)
        return false;
    out->is_foreign =
        !is_our_order || out->class_ != __ehdr_start.e_ident[EI_CLASS] || out->machine != __ehdr_start.e_machine;
    out->is_position_independent = type == ET_DYN;
    return out->is_foreign || (length == sizeof header && read_segments(out, &source, &header));
}
