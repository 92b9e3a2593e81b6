// SPDX-License-Identifier: MIT
//
// Does memwatch count what C++ allocates, to the byte? Threads call every operator new and delete there is, and malloc
// and free among them, on one another's blocks, and stand still; then what memwatch says is held against what the
// program knows. A library, for a program that links it, and whose constructors then call new before all others, and
// one that loads it, and does not see its C++ library (news_host.c).
//
//     news [THREADS [ROUNDS]]
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <malloc.h>
#include <new>
#include <pthread.h>
#include <string>
#include <sys/resource.h>
#include <vector>

#include <memwatch.h>

#include "check.h"

namespace
{
constexpr unsigned most_threads = 64;
constexpr unsigned blocks_each = 2000;
constexpr size_t too_large = SIZE_MAX / 4;

// Who may free what whom has allocated.
enum class Family { plain, array, aligned, aligned_array };

struct Block {
    void *address;
    size_t size;
    size_t alignment;
    Family family;
    bool is_malloced; // its size is not to be told to delete
};

struct Books {
    uint64_t allocated_bytes, allocated_objects, freed_bytes, freed_objects;
};

struct Worker {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    Block blocks[blocks_each];
    Books books;
};

Worker workers[most_threads];
unsigned threads = 8;
unsigned rounds = 5;
pthread_barrier_t barrier;
pthread_key_t late_key;

uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Mostly small, some of a page, now and then one that the allocator maps.
size_t random_size(uint64_t *state)
{
    uint64_t r = next_random(state);
    switch (r % 100) {
    case 0:
        return r / 100 % 500000;
    case 1 ... 9:
        return r / 100 % 9000;
    default:
        return r / 100 % 1100;
    }
}

void *call_new(Family family, bool nothrow, size_t size, size_t alignment)
{
    std::align_val_t align{alignment};
    switch (family) {
    case Family::plain:
        return nothrow ? operator new(size, std::nothrow) : operator new(size);
    case Family::array:
        return nothrow ? operator new[](size, std::nothrow) : operator new[](size);
    case Family::aligned:
        return nothrow ? operator new(size, align, std::nothrow) : operator new(size, align);
    default:
        return nothrow ? operator new[](size, align, std::nothrow) : operator new[](size, align);
    }
}

enum class Delete { ordinary, sized, nothrow };

void call_delete(const Block &block, Delete how)
{
    std::align_val_t align{block.alignment};
    void *p = block.address;
    switch (block.family) {
    case Family::plain:
        return how == Delete::sized     ? operator delete(p, block.size)
               : how == Delete::nothrow ? operator delete(p, std::nothrow)
                                        :
                                        operator delete(p);
    case Family::array:
        return how == Delete::sized     ? operator delete[](p, block.size)
               : how == Delete::nothrow ? operator delete[](p, std::nothrow)
                                        :
                                        operator delete[](p);
    case Family::aligned:
        return how == Delete::sized     ? operator delete(p, block.size, align)
               : how == Delete::nothrow ? operator delete(p, align, std::nothrow)
                                        :
                                        operator delete(p, align);
    default:
        return how == Delete::sized     ? operator delete[](p, block.size, align)
               : how == Delete::nothrow ? operator delete[](p, align, std::nothrow)
                                        :
                                        operator delete[](p, align);
    }
}

void allocate(Block *block, uint64_t *random, Books *books)
{
    uint64_t r = next_random(random);
    block->family = static_cast<Family>(r % 4);
    block->size = random_size(random);
    block->alignment = size_t{32} << r / 4 % 8;
    block->is_malloced = r / 32 % 8 == 0 && block->family == Family::plain;
    block->address = block->is_malloced ? malloc(block->size)
                                        : call_new(block->family, r / 256 % 3 == 0, block->size, block->alignment);
    CHECK(block->address, "out of memory");
    books->allocated_bytes += malloc_usable_size(block->address);
    books->allocated_objects++;
}

void release(Block *block, uint64_t *random, Books *books)
{
    uint64_t r = next_random(random);
    auto how = static_cast<Delete>(r % 3);
    books->freed_bytes += malloc_usable_size(block->address);
    books->freed_objects++;
    if (r / 4 % 8 == 0)
        free(block->address);
    else
        call_delete(*block, block->is_malloced && how == Delete::sized ? Delete::ordinary : how);
    block->address = nullptr;
}

void wait_for_all()
{
    pthread_barrier_wait(&barrier);
}

// When all that memwatch knew of the thread is gone.
void allocate_late(void *argument)
{
    auto worker = static_cast<Worker *>(argument);
    for (unsigned i = 0; i < 500; i++) {
        Block block;
        allocate(&block, &worker->random, &worker->books);
        release(&block, &worker->random, &worker->books);
    }
    wait_for_all();
    wait_for_all();
}

void *work(void *argument)
{
    auto worker = static_cast<Worker *>(argument);
    Worker *neighbour = &workers[(worker->index + 1) % threads];
    CHECK(pthread_setspecific(late_key, worker) == 0, "pthread_setspecific");
    wait_for_all();
    for (unsigned round = 0; round < rounds; round++) {
        for (Block &block : worker->blocks)
            if (!block.address)
                allocate(&block, &worker->random, &worker->books);
        wait_for_all();
        for (Block &block : neighbour->blocks)
            if (next_random(&worker->random) % 2)
                release(&block, &worker->random, &worker->books);
        wait_for_all(); // all stand still while main compares
        wait_for_all();
    }
    for (Block &block : worker->blocks)
        if (block.address)
            release(&block, &worker->random, &worker->books);
    return nullptr;
}

memwatch_stats read_stats()
{
    memwatch_stats stats;
    CHECK(memwatch_read_stats(&stats) == 0, "the library is not loaded");
    return stats;
}

#define EQUAL(what, is, should)                                                                                        \
    CHECK((is) == (should), what " is %lld, should be %lld", (long long)(is), (long long)(should))

// Does what memwatch has counted since `before` agree with the books?
void compare(const memwatch_stats &before, const Books &books)
{
    memwatch_stats now = read_stats();
    EQUAL("Mallocs", now.Mallocs - before.Mallocs, books.allocated_objects);
    EQUAL("Frees", now.Frees - before.Frees, books.freed_objects);
    EQUAL("TotalAlloc", now.TotalAlloc - before.TotalAlloc, books.allocated_bytes);
    EQUAL("Alloc", now.Alloc - before.Alloc, books.allocated_bytes - books.freed_bytes);
}

Books sum_of_books()
{
    Books sum{};
    for (unsigned t = 0; t < threads; t++) {
        sum.allocated_bytes += workers[t].books.allocated_bytes;
        sum.allocated_objects += workers[t].books.allocated_objects;
        sum.freed_bytes += workers[t].books.freed_bytes;
        sum.freed_objects += workers[t].books.freed_objects;
    }
    return sum;
}

void compare_live(const memwatch_stats &before)
{
    uint64_t live = 0;
    for (unsigned t = 0; t < threads; t++)
        for (const Block &block : workers[t].blocks)
            live += malloc_usable_size(block.address);
    compare(before, sum_of_books());
    EQUAL("Alloc", read_stats().Alloc - before.Alloc, live);
}

void mix_threads()
{
    pthread_barrier_init(&barrier, nullptr, threads + 1);
    CHECK(pthread_key_create(&late_key, allocate_late) == 0, "pthread_key_create");
    for (unsigned t = 0; t < threads; t++) {
        workers[t].index = t;
        workers[t].random = 88172645463325252U + t;
        CHECK(pthread_create(&workers[t].thread, nullptr, work, &workers[t]) == 0, "pthread_create");
    }
    memwatch_stats before = read_stats(); // the threads' own blocks are in it
    wait_for_all();
    for (unsigned round = 0; round < rounds; round++) {
        wait_for_all();
        wait_for_all();
        compare_live(before);
        wait_for_all();
    }
    wait_for_all();
    compare_live(before);
    wait_for_all();
    for (unsigned t = 0; t < threads; t++)
        pthread_join(workers[t].thread, nullptr);
}

// ---- new and delete by the compiler's hand ----

struct Small {
    int number = 1;
    ~Small()
    {
        number = 0;
    }
};

struct alignas(256) Wide {
    char bytes[700] = {};
};

void use_expressions()
{
    memwatch_stats before = read_stats();
    for (int i = 0; i < 100; i++) {
        auto one = new Small;
        auto many = new Small[static_cast<size_t>(i)]; // with their number before them
        auto wide = new Wide;
        auto wides = new (std::nothrow) Wide[3];
        std::vector<std::string> strings(50, std::string(static_cast<size_t>(i) * 10, 'x'));
        CHECK(reinterpret_cast<uintptr_t>(wide) % 256 == 0 && reinterpret_cast<uintptr_t>(wides) % 256 == 0, "Wide");
        CHECK(read_stats().Mallocs - before.Mallocs >= 5, "new is not counted");
        delete one;
        delete[] many;
        delete wide;
        delete[] wides;
    }
    memwatch_stats after = read_stats();
    EQUAL("Alloc", after.Alloc, before.Alloc);
    EQUAL("HeapObjects", after.HeapObjects, before.HeapObjects);
}

// ---- where there is no memory ----

bool throws(Family family)
{
    try {
        call_new(family, false, too_large, 64);
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void throw_bad_alloc()
{
    throw std::bad_alloc();
}

constexpr Family families[] = {Family::plain, Family::array, Family::aligned, Family::aligned_array};
char *reserve;
unsigned handler_calls;

void make_room()
{
    rlimit limit;
    handler_calls++;
    delete[] reserve;
    reserve = nullptr;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
}

// The handler finds the memory that there was none of.
void allocate_at_the_limit(Family family, size_t size)
{
    rlimit limit;
    memwatch_stats before = read_stats();
    reserve = new char[100000];
    handler_calls = 0;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    limit.rlim_cur = 1;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    Block block = {call_new(family, false, size, 64), size, 64, family, false};
    CHECK(handler_calls == 1, "%u", handler_calls);
    memwatch_stats now = read_stats();
    EQUAL("Alloc", now.Alloc - before.Alloc, malloc_usable_size(block.address));
    EQUAL("HeapObjects", now.HeapObjects - before.HeapObjects, uint64_t{1});
    call_delete(block, Delete::ordinary);
    EQUAL("Alloc", read_stats().Alloc, before.Alloc);
}

void run_out_of_memory()
{
    memwatch_stats before;
    for (int i = 0; i < 2; i++) {
        before = read_stats(); // for the second time: at the first, the loader notes something for good
        for (Family family : families) {
            CHECK(throws(family), "bad_alloc did not come through");
            std::set_new_handler(throw_bad_alloc);
            CHECK(throws(family), "the handler's bad_alloc did not come through");
            CHECK(!call_new(family, true, too_large, 64), "too much");
            std::set_new_handler(nullptr);
        }
    }
    memwatch_stats after = read_stats();
    EQUAL("Alloc", after.Alloc, before.Alloc);
    EQUAL("HeapObjects", after.HeapObjects, before.HeapObjects);
    std::set_new_handler(make_room);
    allocate_at_the_limit(Family::plain, size_t{200} << 20);
    allocate_at_the_limit(Family::aligned, size_t{800} << 20); // more than what was kept of the former
    std::set_new_handler(nullptr);
}

// ---- before all others ----

struct Early {
    static constexpr size_t size = size_t{10} << 20;
    Block blocks[4];
    uint64_t bytes = 0;
    Early()
    {
        for (Family family : families) {
            Block block = {call_new(family, false, size, 64), size, 64, family, false};
            bytes += malloc_usable_size(block.address); // 0: tcmalloc does not know yet
            blocks[static_cast<int>(family)] = block;
        }
    }
} early;

void *ballast; // what weighed nothing when it was allocated weighs something when it is freed

void free_the_early()
{
    CHECK(read_stats().Alloc >= early.bytes, "%llu", (unsigned long long)read_stats().Alloc);
    ballast = malloc(5 * Early::size);
    memwatch_stats before = read_stats();
    Books books{};
    for (const Block &block : early.blocks) {
        books.freed_bytes += malloc_usable_size(block.address);
        books.freed_objects++;
        call_delete(block, Delete::sized);
    }
    compare(before, books);
}

unsigned argument(const char *text, unsigned most)
{
    unsigned long value = strtoul(text, nullptr, 10);
    CHECK(value >= 1 && value <= most, "%s", text);
    return static_cast<unsigned>(value);
}
} // namespace

extern "C" int news(int argc, char **argv);

int news(int argc, char **argv)
{
    if (argc > 1)
        threads = argument(argv[1], most_threads);
    if (argc > 2)
        rounds = argument(argv[2], 1000);
    free_the_early();
    use_expressions();
    run_out_of_memory();
    mix_threads();
    puts("news: all equal");
    return 0;
}
