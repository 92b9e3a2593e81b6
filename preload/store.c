/* SPDX-License-Identifier: MIT */
#include "store.h"

#include <string.h>
#include <sys/resource.h>

#include "segment_file.h"
#include "syscall.h"
#include "text.h"
#include "threads.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#define PAGE_BYTES         ((size_t)4096)
#define MOST_BYTES         ((size_t)96 << 20)
#define LITTLE_SPACE_BYTES (UINT64_C(512) << 20) /* a program that may map no more than this gets a small segment */

/* What stands in for a segment until there is one. */
static struct {
    struct mw_segment_header header;
    struct mw_segment_snapshot snapshot;
    struct mw_segment_control control;
    struct mw_segment_slot slot;
} least = {.header = {.slots_used = 1}};

struct mw_store mw_store = {
    .header = &least.header,
    .snapshot = &least.snapshot,
    .snapshot_capacity = 1,
    .control = &least.control,
    .control_capacity = 1,
    .slots = &least.slot,
    .slots_capacity = 1,
};

struct mw_segment_slot *const mw_store_early_slot = &least.slot;

static struct {
    const struct mw_options *options;
    char *base; /* NULL: only the least one */
    size_t bytes;
    bool is_file;
    unsigned *ours; /* 0 in a process that was forked */
    struct mw_segment_file file;
    char directory[MW_SEGMENT_FILE_PATH_BYTES];   /* a program may write over its environment */
    uint64_t ready[MOST_BYTES / PAGE_BYTES / 64]; /* a bit for each page that may be written */
} store;

/* ---- the layout ---- */

/* Items of each section. */
static const uint32_t ordinary[] = {
    [MW_SEGMENT_SNAPSHOT] = 1,    [MW_SEGMENT_CONTROL] = 1,     [MW_SEGMENT_EVENTS] = 256,
    [MW_SEGMENT_SECONDS] = 3600,  [MW_SEGMENT_MINUTES] = 1440,  [MW_SEGMENT_MODULES] = 512,
    [MW_SEGMENT_BUCKETS] = 16384, [MW_SEGMENT_STACKS] = 393216, [MW_SEGMENT_SAMPLES] = 65536,
    [MW_SEGMENT_SLOTS] = 768};
/* Every block has a stack, and none has a sample of its own. */
static const uint32_t exact[] = {
    [MW_SEGMENT_SNAPSHOT] = 1,    [MW_SEGMENT_CONTROL] = 1,      [MW_SEGMENT_EVENTS] = 256,
    [MW_SEGMENT_SECONDS] = 3600,  [MW_SEGMENT_MINUTES] = 1440,   [MW_SEGMENT_MODULES] = 512,
    [MW_SEGMENT_BUCKETS] = 65536, [MW_SEGMENT_STACKS] = 8 << 20, [MW_SEGMENT_SAMPLES] = 4096,
    [MW_SEGMENT_SLOTS] = 768};
static const uint32_t small[] = {
    [MW_SEGMENT_SNAPSHOT] = 1,   [MW_SEGMENT_CONTROL] = 1,  [MW_SEGMENT_EVENTS] = 64,    [MW_SEGMENT_SECONDS] = 640,
    [MW_SEGMENT_MINUTES] = 64,   [MW_SEGMENT_MODULES] = 64, [MW_SEGMENT_BUCKETS] = 1024, [MW_SEGMENT_STACKS] = 16384,
    [MW_SEGMENT_SAMPLES] = 2048, [MW_SEGMENT_SLOTS] = 32};

static const uint32_t item_bytes[] = {
#define STORE_ITEM_BYTES(NAME, name, item) [MW_SEGMENT_##NAME] = sizeof(item),
    MW_SEGMENT_SECTIONS(STORE_ITEM_BYTES)
#undef STORE_ITEM_BYTES
};

/* Fills the header's table. Returns the bytes of the whole. */
static size_t lay_out(struct mw_segment_header *header, const uint32_t *capacities)
{
    uint64_t offset = PAGE_BYTES;
    header->section_count = MW_SEGMENT_SECTION_COUNT;
    for (unsigned i = 0; i < MW_SEGMENT_SECTION_COUNT; i++) {
        header->sections[i] =
            (struct mw_segment_place){.offset_bytes = offset, .item_bytes = item_bytes[i], .capacity = capacities[i]};
        offset += ((uint64_t)capacities[i] * item_bytes[i] + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    }
    header->segment_bytes = offset;
    return offset;
}

static void point_to(char *base)
{
    const struct mw_segment_header *header = (const struct mw_segment_header *)(void *)base;
#define STORE_POINT(NAME, name, item)                                                                                  \
    mw_store.name = (item *)(void *)(base + header->sections[MW_SEGMENT_##NAME].offset_bytes);                         \
    mw_store.name##_capacity = header->sections[MW_SEGMENT_##NAME].capacity;
    MW_SEGMENT_SECTIONS(STORE_POINT)
#undef STORE_POINT
    mw_store.header = (struct mw_segment_header *)(void *)base;
}

/* ---- pages ---- */

/* Asks for pages that nobody has written yet. */
static bool populate(char *page, size_t bytes)
{
    long result = mw_syscall6(SYS_madvise, (long)page, (long)bytes, MADV_POPULATE_WRITE, 0, 0, 0);
    if (result != -EINVAL)
        return result == 0;
    /* An older kernel: where the kernel itself writes to a page that cannot be had, it is an error and no signal. */
    for (size_t done = 0; done < bytes; done += PAGE_BYTES) {
        if (mw_syscall6(SYS_clock_gettime, CLOCK_MONOTONIC, (long)(page + done), 0, 0, 0, 0))
            return false;
        memset(page + done, 0, sizeof(struct timespec));
    }
    return true;
}

static bool is_ready(size_t page)
{
    return __atomic_load_n(&store.ready[page / 64], __ATOMIC_RELAXED) >> page % 64 & 1;
}

static bool make_ready(size_t first, size_t end)
{
    if (!populate(store.base + first * PAGE_BYTES, (end - first) * PAGE_BYTES))
        return false;
    for (size_t page = first; page < end; page++)
        __atomic_fetch_or(&store.ready[page / 64], UINT64_C(1) << page % 64, __ATOMIC_RELAXED);
    return true;
}

bool mw_store_ready(const void *address, size_t bytes)
{
    size_t offset = (size_t)((const char *)address - store.base);
    if (!store.is_file || offset >= store.bytes)
        return true;
    size_t end = (offset + bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    size_t page = offset / PAGE_BYTES;
    while (page < end) {
        size_t first = page;
        while (page < end && !is_ready(page))
            page++;
        if (page > first && !make_ready(first, page))
            return false;
        while (page < end && is_ready(page))
            page++;
    }
    return true;
}

bool mw_store_is_ready(const void *address)
{
    size_t offset = (size_t)((const char *)address - store.base);
    return !store.is_file || offset >= store.bytes || is_ready(offset / PAGE_BYTES);
}

/* ---- the file ---- */

static bool may_grow_files_to(uint64_t bytes)
{
    struct rlimit limit = {0};
    /* beyond the limit not the call fails: a signal kills */
    return mw_syscall6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0, 0) == 0 && limit.rlim_cur >= bytes;
}

static bool has_little_space(void)
{
    struct rlimit limit = {0};
    return mw_syscall6(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&limit, 0, 0) || limit.rlim_cur < LITTLE_SPACE_BYTES;
}

/* Little of it is ever touched: it is not to be made of huge pages. */
static void keep_small(char *base, size_t bytes)
{
    if (base != MAP_FAILED)
        mw_syscall6(SYS_madvise, (long)base, (long)bytes, MADV_NOHUGEPAGE, 0, 0, 0);
}

/* A mapping of a new file; MAP_FAILED with the negative errno value in *error. */
static char *map_file(size_t bytes, int *error)
{
    if (!may_grow_files_to(bytes)) {
        *error = -EFBIG;
        return MAP_FAILED;
    }
    int fd = mw_segment_file_create(&store.file, store.directory);
    if (fd < 0) {
        *error = fd;
        return MAP_FAILED;
    }
    char *base = MAP_FAILED;
    *error = (int)mw_syscall6(SYS_ftruncate, fd, (long)bytes, 0, 0, 0, 0);
    if (!*error) {
        base = mw_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        *error = base == MAP_FAILED ? -ENOMEM : 0;
        keep_small(base, bytes);
    }
    mw_sys_close(fd);
    if (*error)
        mw_segment_file_remove(&store.file);
    return base;
}

static char *map_memory(size_t bytes)
{
    char *base = mw_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    keep_small(base, bytes);
    return base;
}

/* A page that the kernel empties in every child, however it was forked. */
static void mark_as_ours(void)
{
    if (!store.ours) {
        unsigned *mark = mw_sys_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mark == MAP_FAILED)
            return;
        if (mw_syscall6(SYS_madvise, (long)mark, (long)PAGE_BYTES, MADV_WIPEONFORK, 0, 0, 0)) {
            mw_sys_munmap(mark, PAGE_BYTES);
            return;
        }
        store.ours = mark;
    }
    __atomic_store_n(store.ours, 1, __ATOMIC_RELAXED);
}

bool mw_store_is_anothers(void)
{
    return store.ours && !__atomic_load_n(store.ours, __ATOMIC_RELAXED);
}

static void describe(struct mw_segment_header *header)
{
    header->magic = MW_SEGMENT_MAGIC;
    header->version = MW_SEGMENT_VERSION;
    header->page_bytes = PAGE_BYTES;
    header->pid = store.file.pid;
    header->pid_namespace = store.file.pid_namespace;
    header->start_ticks = store.file.start_ticks;
}

static void describe_program(struct mw_segment_header *header)
{
    header->started_ns = mw_clock_ns(CLOCK_MONOTONIC);
    header->started_unix_ns = mw_clock_ns(CLOCK_REALTIME);
    header->sample_mean_bytes = store.options->sample;
    header->measure = least.header.measure;
    header->slots_used = 1;
    header->stacks_used = MW_SEGMENT_FIRST_STACK;
    mw_segment_file_comm(header->comm, sizeof header->comm);
    mw_syscall6(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)header->program, sizeof header->program - 1, 0,
                0);
    struct mw_text run = MW_TEXT(header->run);
    mw_text_string(&run, store.options->run);
}

/* The counts of before the start move into the segment; what another thread adds there meanwhile stays and counts. */
static void take_over_counts(struct mw_segment_slot *to)
{
    uint64_t *from = (uint64_t *)(void *)&least.slot.counters;
    uint64_t *into = (uint64_t *)(void *)&to->counters;
    for (size_t i = 0; i < sizeof least.slot.counters / sizeof *from; i++)
        __atomic_fetch_add(&into[i], __atomic_exchange_n(&from[i], 0, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

int mw_store_start(const struct mw_options *options)
{
    struct mw_segment_header plan = {0};
    int error = 0;
    store.options = options;
    struct mw_text directory = MW_TEXT(store.directory);
    mw_text_string(&directory, options->directory);
    mw_segment_file_identify(&store.file);
    const uint32_t *capacities = has_little_space() ? small : options->sample == 1 ? exact : ordinary;
    store.bytes = lay_out(&plan, capacities);
    char *base = map_file(store.bytes, &error);
    store.is_file = base != MAP_FAILED;
    if (!store.is_file)
        base = map_memory(store.bytes);
    if (base == MAP_FAILED)
        return error;
    store.base = base;
    /* All that is written without being asked about: the header and the three sections behind it. */
    if (!mw_store_ready(base, plan.sections[MW_SEGMENT_SECONDS].offset_bytes) ||
        !mw_store_ready(base + plan.sections[MW_SEGMENT_SLOTS].offset_bytes, sizeof(struct mw_segment_slot))) {
        mw_segment_file_remove(&store.file);
        mw_sys_munmap(base, store.bytes);
        store.base = NULL;
        return -ENOSPC;
    }
    memcpy(base, &plan, sizeof plan);
    describe((struct mw_segment_header *)(void *)base);
    describe_program((struct mw_segment_header *)(void *)base);
    take_over_counts((struct mw_segment_slot *)(void *)(base + plan.sections[MW_SEGMENT_SLOTS].offset_bytes));
    point_to(base);
    mark_as_ours();
    __atomic_store_n(&mw_store.header->state, MW_SEGMENT_RUNNING, __ATOMIC_RELEASE);
    return error;
}

/* ---- fork ---- */

/* Copies the pages that were written, and nothing else. False: there was no room. */
static bool copy_pages(char *to, const char *from, bool is_file)
{
    for (size_t page = 0; page < store.bytes / PAGE_BYTES; page++) {
        size_t first = page;
        while (page < store.bytes / PAGE_BYTES && is_ready(page))
            page++;
        size_t bytes = (page - first) * PAGE_BYTES;
        if (!bytes)
            continue;
        if (is_file && !populate(to + first * PAGE_BYTES, bytes))
            return false;
        memcpy(to + first * PAGE_BYTES, from + first * PAGE_BYTES, bytes);
    }
    return true;
}

/* The parent goes on writing while the child is still to copy: so the child's copy is made before there is one. */
void mw_store_before_fork(void)
{
    char *copy = store.is_file ? map_memory(store.bytes) : MAP_FAILED;
    mw_thread.fork_copy = copy == MAP_FAILED ? NULL : copy;
    if (mw_thread.fork_copy)
        copy_pages(mw_thread.fork_copy, store.base, false);
}

void mw_store_after_fork_in_parent(void)
{
    if (mw_thread.fork_copy)
        mw_sys_munmap(mw_thread.fork_copy, store.bytes);
    mw_thread.fork_copy = NULL;
}

/* Another mapping at the place of the parent's, in one step: there is never a moment without. */
static bool put_in_place(char *copy)
{
    return mw_syscall6(SYS_mremap, (long)copy, (long)store.bytes, (long)store.bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                       (long)store.base, 0) == (long)store.base;
}

/* A new file with the bytes in it, mapped; NULL: none can be had. */
static char *copy_into_file(const char *from)
{
    int error;
    char *copy = map_file(store.bytes, &error);
    if (copy == MAP_FAILED)
        return NULL;
    if (copy_pages(copy, from, true))
        return copy;
    mw_segment_file_remove(&store.file);
    mw_sys_munmap(copy, store.bytes);
    return NULL;
}

/* Leaves the parent's file for a segment of its own: a file, or else memory. */
static void move_out(void)
{
    char *before = mw_thread.fork_copy; /* NULL: there was no room, or it was forked past libc */
    char *copy = copy_into_file(before ? before : store.base);
    bool is_file = copy;
    mw_thread.fork_copy = NULL;
    if (copy && before)
        mw_sys_munmap(before, store.bytes);
    if (!copy && before)
        copy = before;
    if (!copy) {
        copy = map_memory(store.bytes);
        if (copy == MAP_FAILED)
            return; /* with no address space left, it goes on in its parent's */
        copy_pages(copy, store.base, false);
    }
    if (put_in_place(copy))
        store.is_file = is_file;
}

void mw_store_after_fork(void)
{
    uint32_t parent = store.file.pid;
    if (!store.base)
        return;
    mark_as_ours();
    mw_segment_file_identify(&store.file);
    if (store.is_file)
        move_out();
    describe(mw_store.header);
    mw_store.header->parent_pid = parent;
    memset(mw_store.control, 0, sizeof *mw_store.control);
}

void mw_store_end(int status)
{
    if (!store.base)
        return;
    mw_store.header->exited_status = (uint32_t)status;
    __atomic_store_n(&mw_store.header->state, MW_SEGMENT_ENDED, __ATOMIC_RELEASE);
    if (store.is_file && !store.options->keep)
        mw_segment_file_remove(&store.file);
}

uint64_t mw_store_private_bytes(void)
{
    return store.base && !store.is_file ? store.bytes : 0;
}
