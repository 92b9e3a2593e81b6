/* SPDX-License-Identifier: MIT */
#include "symbols.h"

#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "debugfile.h"
#include "dwarf_frames.h"
#include "memory.h"

/* Each module has a Dwfl of its own, at the file's own addresses: where it was mapped, and whether that overlaps with
 * what was mapped there at another time, is no concern of libdw's. */
struct module {
    enum mw_symbols_module state;
    Dwfl *dwfl;
    Dwfl_Module *handle;
    struct mw_debugfile_facts facts;
    struct mw_dwarf *dwarf;
    char *path;        /* as seen from the root */
    char *debug_path;  /* of its separate debug file, or NULL */
    bool lacks_shared; /* the one that its debug file shares with others is not there */
    const char *root;
};

struct entry {
    uint64_t address;
    struct mw_symbol *symbol; /* NULL: a free entry */
};

struct mw_symbols {
    const struct mw_profile *profile;
    char *root;
    char *running; /* the program's file itself, whatever is at its path now; or NULL */
    enum mw_symbols_effort effort;
    struct module *modules;
    struct entry *entries; /* a hash table, at most half full */
    size_t capacity;       /* a power of two */
    size_t used;
};

const char *mw_symbols_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* ---- modules ---- */

/* libdw asks for the separate debug file, and then for the one that several of those share (dwz), which it names
 * relative to the first and without a checksum. */
static int find_debug_file(Dwfl_Module *handle, void **userdata, const char *name, Dwarf_Addr base, const char *file,
                           const char *link, GElf_Word crc, char **found)
{
    struct module *module = *userdata;
    char path[8192];
    int fd;
    (void)name;
    (void)file;
    if (module->debug_path && link && !crc) {
        const char *slash = strrchr(module->debug_path, '/');
        int directory = *link == '/' || !slash ? 0 : (int)(slash + 1 - module->debug_path);
        snprintf(path, sizeof path, "%.*s%s", directory, module->debug_path, link);
        fd = mw_debugfile_open(module->root, path);
        module->lacks_shared = fd < 0;
        return fd < 0 ? -1 : fd;
    }
    fd = mw_debugfile_find(&(struct mw_debugfile_wanted){.root = module->root,
                                                         .path = module->path,
                                                         .build_id = module->facts.build_id,
                                                         .build_id_bytes = module->facts.build_id_bytes,
                                                         .link = link,
                                                         .link_crc = crc},
                           path, sizeof path);
    if (fd >= 0) {
        module->debug_path = mw_memory_string(path);
        *found = mw_memory_string(path);
        return fd;
    }
    /* By build id alone it looks nowhere but there, and asks the servers of $DEBUGINFOD_URLS. */
    return getenv("DEBUGINFOD_URLS") ? dwfl_standard_find_debuginfo(handle, userdata, NULL, base, NULL, NULL, 0, found)
                                     : -1;
}

static bool is_build(const struct mw_profile_module *ran, const struct mw_debugfile_facts *facts)
{
    return ran->build_id_bytes == facts->build_id_bytes &&
           (!ran->build_id_bytes || memcmp(ran->build_id, facts->build_id, ran->build_id_bytes) == 0);
}

/* The file of a module, if it is the build that ran; else -1, and the state says why. */
static int open_build(const struct mw_profile_module *ran, const char *root, const char *path, struct module *module)
{
    int fd = mw_debugfile_open(root, path);
    if (fd < 0)
        return -1;
    bool is_elf = mw_debugfile_inspect(fd, &module->facts);
    if (is_elf && is_build(ran, &module->facts)) {
        module->state = MW_SYMBOLS_FOUND;
        return fd;
    }
    module->state = is_elf ? MW_SYMBOLS_OTHER_BUILD : module->state;
    module->facts = (struct mw_debugfile_facts){0};
    close(fd);
    return -1;
}

static void open_module(struct mw_symbols *symbols, size_t index)
{
    static char no_directories[] = ":";
    static char *directories = no_directories;
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf, .find_debuginfo = find_debug_file, .debuginfo_path = &directories};
    const struct mw_profile_module *ran = &symbols->profile->modules[index];
    struct module *module = &symbols->modules[index];
    void **userdata;
    Dwarf_Addr bias;
    module->state = MW_SYMBOLS_ABSENT;
    if (ran->path[0] != '/') /* [vdso] */
        return;
    int fd = open_build(ran, symbols->root, ran->path, module);
    if (fd < 0 && index == 0 && symbols->running && ran->build_id_bytes)
        fd = open_build(ran, NULL, symbols->running, module);
    if (fd < 0)
        return;
    module->root = symbols->root;
    if (symbols->effort < MW_SYMBOLS_FUNCTIONS || !(module->dwfl = dwfl_begin(&callbacks))) {
        close(fd);
        return;
    }
    module->path = mw_memory_string(ran->path);
    dwfl_report_begin(module->dwfl);
    module->handle = dwfl_report_elf(module->dwfl, module->path, module->path, fd, 0, true);
    dwfl_report_end(module->dwfl, NULL, NULL);
    if (!module->handle) {
        close(fd);
        return;
    }
    dwfl_module_info(module->handle, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
    *userdata = module;
    /* libdw would go on to look for what is lacking by itself, and wait for a FIFO in its place. */
    dwfl_module_getdwarf(module->handle, &bias);
    module->dwarf = mw_dwarf_new(module->handle, !module->lacks_shared);
}

static struct module *ask_module(struct mw_symbols *symbols, size_t index)
{
    if (symbols->modules[index].state == MW_SYMBOLS_NOT_ASKED)
        open_module(symbols, index);
    return &symbols->modules[index];
}

/* Where two overlap, one was unloaded before the other came: the later is the better guess. */
static size_t module_at(const struct mw_profile *profile, uint64_t address)
{
    for (size_t i = profile->module_count; i-- > 0;)
        if (address >= profile->modules[i].start && address < profile->modules[i].end)
            return i;
    return MW_SYMBOL_NO_MODULE;
}

/* ---- addresses ---- */

static struct mw_symbol *name_by_offset(const struct mw_profile *profile, size_t module, uint64_t offset)
{
    const char *path = module == MW_SYMBOL_NO_MODULE ? "" : mw_symbols_base_name(profile->modules[module].path);
    size_t bytes = strlen(path) + sizeof "+0x0123456789abcdef";
    struct mw_symbol *symbol = mw_memory_new(1, sizeof *symbol + sizeof symbol->frames[0] + bytes);
    char *name = (char *)&symbol->frames[1];
    snprintf(name, bytes, "%s%s0x%llx", path, *path ? "+" : "", (unsigned long long)offset);
    symbol->count = 1;
    symbol->frames[0] = (struct mw_frame){.function = name, .linkage = name};
    return symbol;
}

static struct mw_symbol *look_up(struct mw_symbols *symbols, uint64_t return_address)
{
    uint64_t address = return_address ? return_address - 1 : 0; /* within the call */
    size_t index = module_at(symbols->profile, address);
    uint64_t offset = address;
    struct mw_symbol *symbol = NULL;
    if (index != MW_SYMBOL_NO_MODULE) {
        struct module *module = ask_module(symbols, index);
        offset -= symbols->profile->modules[index].bias;
        symbol = module->dwarf ? mw_dwarf_find(module->dwarf, offset) : NULL;
    }
    if (!symbol)
        symbol = name_by_offset(symbols->profile, index, offset);
    symbol->module = index;
    symbol->offset = offset;
    return symbol;
}

static struct entry *entry_of(const struct mw_symbols *symbols, uint64_t address)
{
    size_t at = (size_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 20);
    while (symbols->entries[at & (symbols->capacity - 1)].symbol &&
           symbols->entries[at & (symbols->capacity - 1)].address != address)
        at++;
    return &symbols->entries[at & (symbols->capacity - 1)];
}

static void grow(struct mw_symbols *symbols)
{
    struct entry *old = symbols->entries;
    size_t old_capacity = symbols->capacity;
    symbols->capacity = old_capacity ? 2 * old_capacity : 1024;
    symbols->entries = mw_memory_new(symbols->capacity, sizeof *symbols->entries);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].symbol)
            *entry_of(symbols, old[i].address) = old[i];
    free(old);
}

const struct mw_symbol *mw_symbols_find(struct mw_symbols *symbols, uint64_t return_address)
{
    if (2 * symbols->used >= symbols->capacity)
        grow(symbols);
    struct entry *entry = entry_of(symbols, return_address);
    if (!entry->symbol) {
        *entry = (struct entry){return_address, look_up(symbols, return_address)};
        symbols->used++;
    }
    return entry->symbol;
}

/* ---- the whole ---- */

struct mw_symbols *mw_symbols_new(const struct mw_profile *profile, const char *root, enum mw_symbols_effort effort)
{
    struct mw_symbols *symbols = mw_memory_new(1, sizeof *symbols);
    *symbols = (struct mw_symbols){.profile = profile, .effort = effort};
    symbols->root = root && *root ? mw_memory_string(root) : NULL;
    symbols->modules = mw_memory_new(profile->module_count, sizeof *symbols->modules);
    return symbols;
}

void mw_symbols_set_running(struct mw_symbols *symbols, const char *path)
{
    symbols->running = mw_memory_string(path);
}

void mw_symbols_free(struct mw_symbols *symbols)
{
    if (!symbols)
        return;
    for (size_t i = 0; i < symbols->capacity; i++)
        free(symbols->entries[i].symbol);
    for (size_t i = 0; i < symbols->profile->module_count; i++) {
        mw_dwarf_free(symbols->modules[i].dwarf);
        dwfl_end(symbols->modules[i].dwfl);
        free(symbols->modules[i].path);
        free(symbols->modules[i].debug_path);
    }
    free(symbols->modules);
    free(symbols->entries);
    free(symbols->root);
    free(symbols->running);
    free(symbols);
}

enum mw_symbols_module mw_symbols_module(const struct mw_symbols *symbols, size_t module)
{
    return symbols->modules[module].state;
}

struct mw_symbols_code mw_symbols_code(struct mw_symbols *symbols, size_t index)
{
    const struct mw_profile_module *ran = &symbols->profile->modules[index];
    const struct mw_debugfile_facts *facts = &ask_module(symbols, index)->facts;
    const uint64_t in_page = 4095;
    if (facts->code_start >= facts->code_end)
        return (struct mw_symbols_code){.start = ran->start, .end = ran->end};
    uint64_t before = facts->code_start & in_page;
    return (struct mw_symbols_code){.start = ran->bias + facts->code_start - before,
                                    .end = (ran->bias + facts->code_end + in_page) & ~in_page,
                                    .file_offset = facts->code_offset - before};
}
