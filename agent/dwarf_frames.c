/* SPDX-License-Identifier: MIT */
#include "dwarf_frames.h"

#include <dwarf.h>
#include <libiberty/demangle.h>

#include "memory.h"

#define MOST_INLINED 64 /* deeper than any compiler goes */

/* Addresses [start, end) belong to a compilation unit. */
struct range {
    uint64_t start;
    uint64_t end;
    Dwarf_Die *unit;
};

struct mw_dwarf {
    Dwfl_Module *handle;
    bool use_debug_information;
    struct range *ranges; /* by start; made when the file's own index fails to tell */
    size_t range_count;
    bool has_ranges;
    char **names; /* that were made here */
    size_t name_count;
};

struct mw_dwarf *mw_dwarf_new(Dwfl_Module *handle, bool use_debug_information)
{
    struct mw_dwarf *dwarf = mw_memory_new(1, sizeof *dwarf);
    dwarf->handle = handle;
    dwarf->use_debug_information = use_debug_information;
    return dwarf;
}

void mw_dwarf_free(struct mw_dwarf *dwarf)
{
    if (!dwarf)
        return;
    for (size_t i = 0; i < dwarf->name_count; i++)
        free(dwarf->names[i]);
    free(dwarf->names);
    free(dwarf->ranges);
    free(dwarf);
}

/* ---- units ---- */

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left;
    const struct range *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

static void note_ranges(struct mw_dwarf *dwarf)
{
    size_t capacity = 0;
    Dwarf_Addr bias;
    dwarf->has_ranges = true;
    for (Dwarf_Die *unit = NULL; (unit = dwfl_module_nextcu(dwarf->handle, unit, &bias));) {
        Dwarf_Addr base;
        Dwarf_Addr start;
        Dwarf_Addr end;
        for (ptrdiff_t at = 0; (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0;) {
            if (dwarf->range_count == capacity) {
                capacity = capacity ? 2 * capacity : 256;
                dwarf->ranges = mw_memory_resize(dwarf->ranges, capacity, sizeof *dwarf->ranges);
            }
            dwarf->ranges[dwarf->range_count++] = (struct range){start + bias, end + bias, unit};
        }
    }
    if (dwarf->range_count)
        qsort(dwarf->ranges, dwarf->range_count, sizeof *dwarf->ranges, compare_ranges);
}

/* clang and rustc leave out the index (.debug_aranges) that libdw goes by. */
static Dwarf_Die *find_unit(struct mw_dwarf *dwarf, uint64_t address, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(dwarf->handle, address, bias);
    if (unit)
        return unit;
    if (!dwarf->has_ranges)
        note_ranges(dwarf);
    size_t low = 0;
    size_t high = dwarf->range_count;
    while (low < high) { /* the first that begins after the address */
        size_t middle = low + (high - low) / 2;
        if (dwarf->ranges[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || address >= dwarf->ranges[low - 1].end)
        return NULL;
    dwfl_module_getdwarf(dwarf->handle, bias);
    return dwarf->ranges[low - 1].unit;
}

/* ---- names ---- */

static const char *keep(struct mw_dwarf *dwarf, char *name)
{
    if ((dwarf->name_count & (dwarf->name_count - 1)) == 0)
        dwarf->names =
            mw_memory_resize(dwarf->names, dwarf->name_count ? 2 * dwarf->name_count : 1, sizeof *dwarf->names);
    dwarf->names[dwarf->name_count++] = name;
    return name;
}

/* Whoever made the file chose its names, and they come to stand on a terminal. */
static const char *printable(struct mw_dwarf *dwarf, const char *name)
{
    const char *c = name;
    while (*c >= ' ' && *c <= '~')
        c++;
    if (!*c)
        return name;
    char *copy = mw_memory_string(name);
    for (char *at = copy + (c - name); *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    return keep(dwarf, copy);
}

/* The one type that everybody knows under another name. */
static void shorten(char *name)
{
    static const char long_name[] = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >";
    static const char short_name[] = "std::string";
    for (char *at = name; (at = strstr(at, long_name));) {
        memcpy(at, short_name, sizeof short_name - 1);
        at += sizeof short_name - 1;
        memmove(at, at + sizeof long_name - sizeof short_name, strlen(at + sizeof long_name - sizeof short_name) + 1);
    }
}

/* Without parameters and return type: they fill the line, and file and line tell overloads apart. C++, Rust, D. */
static const char *demangle(struct mw_dwarf *dwarf, const char *name)
{
    char *plain = cplus_demangle(name, DMGL_AUTO | DMGL_ANSI);
    if (!plain)
        return printable(dwarf, name);
    shorten(plain);
    return printable(dwarf, keep(dwarf, plain));
}

static struct mw_frame named(struct mw_dwarf *dwarf, const char *name)
{
    return (struct mw_frame){.function = demangle(dwarf, name), .linkage = printable(dwarf, name)};
}

static const char *linkage_name(Dwarf_Die *function)
{
    static const unsigned attributes[] = {DW_AT_linkage_name, DW_AT_MIPS_linkage_name};
    for (unsigned i = 0; i < 2; i++) {
        Dwarf_Attribute attribute;
        const char *name = dwarf_formstring(dwarf_attr_integrate(function, attributes[i], &attribute));
        if (name)
            return name;
    }
    return dwarf_diename(function);
}

/* ---- frames ---- */

struct frames {
    unsigned count;
    struct mw_frame at[MOST_INLINED];
};

static unsigned number(Dwarf_Die *die, unsigned attribute_name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    if (dwarf_formudata(dwarf_attr(die, attribute_name, &attribute), &value) || value > INT32_MAX)
        return 0;
    return (unsigned)value;
}

static const char *file_name(Dwarf_Die *unit, unsigned index)
{
    Dwarf_Files *files;
    size_t count;
    if (dwarf_getsrcfiles(unit, &files, &count) || index >= count)
        return NULL;
    return dwarf_filesrc(files, index, NULL, NULL);
}

/* The functions around an address, from the inside out: each inlined one knows where it was called. */
static void add_functions(struct mw_dwarf *dwarf, Dwarf_Die *unit, Dwarf_Addr address, struct frames *frames)
{
    Dwarf_Die *around = NULL;
    Dwarf_Die *scopes = NULL;
    const char *file = NULL;
    int line = 0;
    Dwarf_Line *source = dwarf_getsrc_die(unit, address);
    if (source) {
        file = dwarf_linesrc(source, NULL, NULL);
        dwarf_lineno(source, &line);
    }
    /* The first call names the innermost scope, but from an inlined function it goes on to where that is defined; the
     * second goes on to where it was put. */
    int count = dwarf_getscopes(unit, address, &around);
    if (count > 0)
        count = dwarf_getscopes_die(&around[0], &scopes);
    for (int i = 0; i < count && frames->count < MOST_INLINED; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_subprogram && tag != DW_TAG_inlined_subroutine)
            continue;
        const char *name = linkage_name(&scopes[i]);
        if (!name)
            break;
        struct mw_frame *frame = &frames->at[frames->count++];
        *frame = named(dwarf, name);
        frame->file = file ? printable(dwarf, file) : NULL;
        frame->line = file && line > 0 ? (unsigned)line : 0;
        frame->is_inlined = tag == DW_TAG_inlined_subroutine;
        if (tag == DW_TAG_subprogram)
            break;
        file = file_name(unit, number(&scopes[i], DW_AT_call_file));
        line = (int)number(&scopes[i], DW_AT_call_line);
    }
    free(around);
    free(scopes);
}

static void add_symbol(struct mw_dwarf *dwarf, uint64_t address, struct frames *frames)
{
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(dwarf->handle, address, &offset, &symbol, NULL, NULL, NULL);
    if (name && *name && offset < symbol.st_size) /* not merely the last symbol before it */
        frames->at[frames->count++] = named(dwarf, name);
}

struct mw_symbol *mw_dwarf_find(struct mw_dwarf *dwarf, uint64_t address)
{
    Dwarf_Addr bias;
    struct frames frames = {0};
    Dwarf_Die *unit = dwarf->use_debug_information ? find_unit(dwarf, address, &bias) : NULL;
    if (unit)
        add_functions(dwarf, unit, address - bias, &frames);
    if (!frames.count)
        add_symbol(dwarf, address, &frames);
    if (!frames.count)
        return NULL;
    frames.at[frames.count - 1].is_inlined = false;
    struct mw_symbol *symbol = mw_memory_new(1, sizeof *symbol + frames.count * sizeof frames.at[0]);
    symbol->is_known = true;
    symbol->count = frames.count;
    memcpy(symbol->frames, frames.at, frames.count * sizeof frames.at[0]);
    return symbol;
}
