/* SPDX-License-Identifier: MIT
 *
 * What an ELF file says of how it wants to be started: for which machine, by which loader, with which libraries.
 *
 * The file is anyone's and may say anything: each offset and length is checked, and little is read. It is read by
 * pieces, not mapped: a mapped file that is cut off meanwhile would end us by SIGBUS. Any thread; no allocation.
 */
#ifndef MW_ELF_FILE_H
#define MW_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads up to `bytes` bytes at `offset`; returns how many there are. */
typedef size_t mw_elf_read(void *context, uint64_t offset, void *buffer, size_t bytes);

struct mw_elf_file {
    bool is_foreign;  /* of another class, byte order or machine than ours: nothing below is known then */
    uint8_t class_;   /* ELFCLASS32, ELFCLASS64 */
    uint16_t machine; /* EM_… */
    bool is_position_independent;
    bool has_loader;    /* else it is static, or a loader itself */
    char loader[256];   /* its path; "" where it is longer */
    char soname[64];    /* "": none; cut off where it is longer */
    bool needs_glibc;   /* libc.so.6 */
    bool has_sanitizer; /* needs the runtime of a sanitizer that replaces malloc */
};

/* False: the kernel would not start it as an ELF program. */
bool mw_elf_file_read(struct mw_elf_file *out, mw_elf_read *read, void *context);

/* Is this file, by its name, the runtime of a sanitizer that replaces malloc and will not stand behind another library?
 * `name` ends at `length`. */
bool mw_elf_is_sanitizer(const char *name, size_t length);

#endif
