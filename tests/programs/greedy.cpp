// SPDX-License-Identifier: MIT
//
// Asks for more than there is (MEMWATCH_HARD_LIMIT=40M), in every way that there is to ask, and goes on.
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include <malloc.h>
#include <sys/mman.h>

#include "check.h"

static const size_t MIB = 1 << 20;

static void catches_what_new_throws()
{
    std::vector<char *> blocks;
    bool has_caught = false;
    try {
        for (int i = 0; i < 400; i++) {
            blocks.push_back(new char[256 << 10]);
            memset(blocks.back(), 1, 256 << 10);
        }
    } catch (const std::bad_alloc &) {
        has_caught = true;
    }
    CHECK(has_caught && blocks.size() > 80 && blocks.size() < 160, "bad_alloc after %zu", blocks.size());
    CHECK(!new (std::nothrow) char[MIB * 8], "nothrow");
    for (char *block : blocks)
        delete[] block;
}

static void hears_it_from_malloc()
{
    void *block;
    void *old = malloc(MIB);
    CHECK(old, "there is room, or again");
    memset(old, 7, MIB);

    errno = 0;
    CHECK(!malloc(100 * MIB) && errno == ENOMEM, "malloc");
    errno = 0;
    CHECK(!calloc(100, MIB) && errno == ENOMEM, "calloc");
    errno = 0;
    CHECK(!realloc(old, 100 * MIB) && errno == ENOMEM, "realloc");
    CHECK(static_cast<char *>(old)[MIB - 1] == 7, "the old block stays");
    errno = 0;
    CHECK(!memalign(64, 100 * MIB) && errno == ENOMEM, "memalign");
    errno = 0;
    CHECK(!aligned_alloc(64, 100 * MIB) && errno == ENOMEM, "aligned_alloc");
    errno = 0;
    CHECK(!valloc(100 * MIB) && !pvalloc(100 * MIB) && errno == ENOMEM, "valloc");
    errno = 77;
    CHECK(posix_memalign(&block, 64, 100 * MIB) == ENOMEM && errno == 77, "posix_memalign");

    void *more = realloc(old, 2 * MIB);
    CHECK(more && static_cast<char *>(more)[MIB - 1] == 7, "what fits is had");
    CHECK((more = realloc(more, 1000)) != nullptr, "and less of it");
    free(more);
}

static void hears_it_from_mmap()
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    errno = 0;
    CHECK(mmap(nullptr, 100 * MIB, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED && errno == ENOMEM, "mmap");
    void *space = mmap(nullptr, 100 * MIB, PROT_NONE, flags, -1, 0);
    CHECK(space != MAP_FAILED, "address space is no memory");
    munmap(space, 100 * MIB);
}

// "once": with an allocator that does not give back what it has been given back, there is no second time.
int main(int argc, char **argv)
{
    bool is_once = argc == 2 && !strcmp(argv[1], "once");
    for (int i = 0; i < (is_once ? 1 : 3); i++) {
        hears_it_from_malloc();
        hears_it_from_mmap();
        catches_what_new_throws();
    }
    puts("greedy: went on");
    return 0;
}
