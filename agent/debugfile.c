/* SPDX-License-Identifier: MIT */
#include "debugfile.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#define DEBUG_DIRECTORY "/usr/lib/debug"
#define MOST_PATH       4096

/* A descriptor that names the file without opening it: a device or a FIFO never notices. */
static int find(const char *root, const char *path)
{
    if (!root || !*root)
        return open(path, O_PATH | O_CLOEXEC);
    int directory = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -1;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    int found = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    int error = errno;
    close(directory);
    errno = error;
    return found;
}

int mw_debugfile_open(const char *root, const char *path)
{
    char self[64];
    struct stat status;
    int found = find(root, path);
    if (found < 0)
        return -errno;
    int fd = -1;
    int error = fstat(found, &status) ? errno : S_ISREG(status.st_mode) ? 0 : S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    if (!error) {
        snprintf(self, sizeof self, "/proc/self/fd/%d", found);
        fd = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        error = fd < 0 ? errno : 0;
    }
    close(found);
    return error ? -error : fd;
}

static void note_code(Elf *elf, struct mw_debugfile_facts *facts)
{
    size_t count;
    if (elf_getphdrnum(elf, &count))
        return;
    for (size_t i = 0; i < count && i < INT32_MAX; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment))
            return;
        if (segment.p_type == PT_LOAD && segment.p_flags & PF_X) {
            facts->code_start = segment.p_vaddr;
            facts->code_end = segment.p_vaddr + segment.p_memsz;
            facts->code_offset = segment.p_offset;
            return;
        }
    }
}

bool mw_debugfile_inspect(int fd, struct mw_debugfile_facts *facts)
{
    GElf_Ehdr header;
    const void *id;
    *facts = (struct mw_debugfile_facts){0};
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    bool is_one = elf && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) &&
                  (header.e_type == ET_EXEC || header.e_type == ET_DYN);
    if (is_one) {
        ssize_t bytes = dwelf_elf_gnu_build_id(elf, &id);
        if (bytes > 0 && (size_t)bytes <= sizeof facts->build_id) {
            memcpy(facts->build_id, id, (size_t)bytes);
            facts->build_id_bytes = (unsigned)bytes;
        }
        note_code(elf, facts);
    }
    elf_end(elf);
    return is_one;
}

static bool has_checksum(int fd, uint32_t due)
{
    unsigned char buffer[65536];
    uLong sum = crc32(0, NULL, 0);
    off_t at = 0;
    for (;;) {
        ssize_t count = pread(fd, buffer, sizeof buffer, at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        if (count == 0)
            return sum == due;
        sum = crc32(sum, buffer, (uInt)count);
        at += count;
    }
}

/* Opens one candidate, if it is what is wanted. */
static int open_matching(const struct mw_debugfile_wanted *wanted, const char *root, const char *path)
{
    struct mw_debugfile_facts facts;
    int fd = mw_debugfile_open(root, path);
    if (fd < 0)
        return fd;
    bool matches = mw_debugfile_inspect(fd, &facts);
    if (matches && facts.build_id_bytes && wanted->build_id_bytes)
        matches = facts.build_id_bytes == wanted->build_id_bytes &&
                  memcmp(facts.build_id, wanted->build_id, facts.build_id_bytes) == 0;
    else if (matches)
        matches = wanted->link && has_checksum(fd, wanted->link_crc);
    if (matches)
        return fd;
    close(fd);
    return -ENOENT;
}

static void put_build_id_path(const struct mw_debugfile_wanted *wanted, char *path, size_t capacity_bytes)
{
    int length = snprintf(path, capacity_bytes, DEBUG_DIRECTORY "/.build-id/%02x/", wanted->build_id[0]);
    for (unsigned i = 1; i < wanted->build_id_bytes && (size_t)length < capacity_bytes; i++)
        length += snprintf(path + length, capacity_bytes - (size_t)length, "%02x", wanted->build_id[i]);
    if ((size_t)length < capacity_bytes)
        snprintf(path + length, capacity_bytes - (size_t)length, ".debug");
}

int mw_debugfile_find(const struct mw_debugfile_wanted *wanted, char *path, size_t capacity_bytes)
{
    static const struct {
        const char *above; /* the file's own directory */
        const char *below;
    } places[] = {{"", ""}, {"", "/.debug"}, {DEBUG_DIRECTORY, ""}};
    int fd = -ENOENT;
    if (wanted->build_id_bytes > 1) {
        put_build_id_path(wanted, path, capacity_bytes);
        fd = open_matching(wanted, wanted->root, path);
        if (fd < 0 && wanted->root && *wanted->root) /* a container seldom holds them, its host may */
            fd = open_matching(wanted, NULL, path);
    }
    if (fd >= 0 || !wanted->link || !*wanted->link)
        return fd;
    char directory[MOST_PATH];
    snprintf(directory, sizeof directory, "%s", wanted->path);
    char *slash = strrchr(directory, '/');
    if (slash)
        *slash = '\0';
    else
        strcpy(directory, ".");
    for (size_t i = 0; i < sizeof places / sizeof places[0] && fd < 0; i++) {
        /* The link could name the file itself, which has the right build id, and no symbols. */
        snprintf(path, capacity_bytes, "%s%s%s/%s", places[i].above, directory, places[i].below, wanted->link);
        if (strcmp(path, wanted->path) != 0)
            fd = open_matching(wanted, wanted->root, path);
    }
    return fd;
}
