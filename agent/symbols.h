/* SPDX-License-Identifier: MIT
 *
 * What the addresses of a profile are called: functions, also inlined ones, with file and line, from the symbols and
 * the debug information of the modules that they lie in.
 *
 * Files are opened when the first address in them is asked for. One whose build id is not that of the module that ran
 * is not believed. Where nothing is known, an address is called "module+0xoffset", or "0xaddress" outside of all.
 *
 * Everything handed out is owned by the struct, until mw_symbols_free; the profile must outlive it. One thread at a
 * time. No errors: what cannot be read is not known.
 */
#ifndef MW_SYMBOLS_H
#define MW_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile.h"
#include "text.h"

struct mw_frame {
    const char *function; /* as people write it, without parameters; never NULL */
    const char *linkage;  /* as the linker knows it; never NULL */
    const char *file;     /* NULL: not known */
    unsigned line;        /* 0: not known */
    bool is_inlined;      /* into the next frame */
};

#define MW_SYMBOL_NO_MODULE SIZE_MAX

struct mw_symbol {
    size_t module;   /* index into the profile's modules, or MW_SYMBOL_NO_MODULE */
    uint64_t offset; /* the module's own address; without one the address itself */
    bool is_known;   /* false: the one frame is called by its offset */
    unsigned count;  /* frames, the innermost first; at least 1 */
    struct mw_frame frames[];
};

enum mw_symbols_module {
    MW_SYMBOLS_NOT_ASKED,
    MW_SYMBOLS_FOUND,
    MW_SYMBOLS_ABSENT,     /* no file, or none that can be read */
    MW_SYMBOLS_OTHER_BUILD /* the file is another build than the one that ran */
};

enum mw_symbols_effort {
    MW_SYMBOLS_OFFSETS, /* what the modules' files are, but not what is in them */
    MW_SYMBOLS_FUNCTIONS
};

struct mw_symbols;

/* root: a directory beneath which the modules' paths are valid, such as /proc/PID/root; NULL: the machine's own. */
struct mw_symbols *mw_symbols_new(const struct mw_profile *profile, const char *root, enum mw_symbols_effort effort);

/* A link that leads to the program that runs, such as /proc/PID/exe, for when its own path no longer does: it was
 * deleted, or built anew. At most once, and before anything is looked up. */
void mw_symbols_set_running(struct mw_symbols *symbols, const char *path);

void mw_symbols_free(struct mw_symbols *symbols);

/* The call that returns to this address. The answer is kept: asking again costs a look into a table. */
const struct mw_symbol *mw_symbols_find(struct mw_symbols *symbols, uint64_t return_address);

enum mw_symbols_module mw_symbols_module(const struct mw_symbols *symbols, size_t module);

/* Where the module's code is mapped, and from where in its file. Without the file: all of the module. */
struct mw_symbols_code {
    uint64_t start;
    uint64_t end;
    uint64_t file_offset;
};
struct mw_symbols_code mw_symbols_code(struct mw_symbols *symbols, size_t module);

/* The last component of a path. */
const char *mw_symbols_base_name(const char *path);

#endif
