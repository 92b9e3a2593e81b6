/* SPDX-License-Identifier: MIT */
#include "segment_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "segment_check.h"
#include "syscall.h"

#define TRIES            5 /* at what stands under a sequence number */
#define TRY_PAUSE_NS     1000000
#define SLOTS_AT_ONCE    16
#define MOST_HASTY_SLOTS 4096 /* the library has 768 */
#define LEAST_STACK      MW_SEGMENT_STACK_WORDS(1)
#define WORD_BITS        64
#define HEADER_AT(field) offsetof(struct mw_segment_header, field)

struct reader {
    int fd;
    bool is_hasty; /* does not wait for a writer */
    struct mw_segment_view *view;
    struct mw_error *error;
};

static bool read_bytes(struct reader *reader, void *to, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        long n = mw_sys_pread(reader->fd, (char *)to + done, bytes - done, offset + done);
        if (n == -EINTR)
            continue;
        if (n < 0)
            return mw_error_set(reader->error, (int)-n, "cannot be read");
        if (n == 0)
            return mw_error_set(reader->error, 0, "is cut off: there is nothing at byte %" PRIu64, offset + done);
        done += (size_t)n;
    }
    return true;
}

static bool read_u64(struct reader *reader, uint64_t offset, uint64_t *out)
{
    return read_bytes(reader, out, sizeof *out, offset);
}

/* calloc, but of nothing there is a pointer too. */
static void *allocate(struct reader *reader, size_t count, size_t item_bytes)
{
    void *memory = calloc(count ? count : 1, item_bytes);
    if (!memory)
        mw_error_set(reader->error, ENOMEM, "cannot be read");
    return memory;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- the header ---- */

static bool read_header(struct reader *reader)
{
    struct mw_segment_header *header = &reader->view->header;
    struct stat st = {0};
    int result = mw_sys_fstat(reader->fd, &st);
    if (result)
        return mw_error_set(reader->error, -result, "cannot be read");
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof *header)
        return mw_error_set(reader->error, 0, "is not a memwatch segment");
    return read_bytes(reader, header, sizeof *header, 0) &&
           mw_segment_check_header(header, (uint64_t)st.st_size, reader->error);
}

static uint64_t item_at(const struct reader *reader, enum mw_segment_section section, uint64_t index)
{
    const struct mw_segment_place *place = &reader->view->header.sections[section];
    return place->offset_bytes + index * place->item_bytes;
}

static bool read_items(struct reader *reader, enum mw_segment_section section, size_t count, void *to)
{
    size_t item_bytes = reader->view->header.sections[section].item_bytes;
    return read_bytes(reader, to, count * item_bytes, item_at(reader, section, 0));
}

/* ---- the counters ---- */

typedef void add_counters(struct mw_totals *totals, const struct mw_counters *counters, struct mw_measure measure);

static bool add_slots(struct reader *reader, add_counters *add, struct mw_segment_slot *slots)
{
    struct mw_segment_view *view = reader->view;
    for (uint32_t i = 0; i < view->header.slots_used; i += SLOTS_AT_ONCE) {
        uint32_t count = (uint32_t)least(SLOTS_AT_ONCE, view->header.slots_used - i);
        if (!read_bytes(reader, slots, count * sizeof *slots, item_at(reader, MW_SEGMENT_SLOTS, i)))
            return false;
        for (uint32_t k = 0; k < count; k++) {
            add(&view->totals, &slots[k].counters, view->header.measure);
            if (add == mw_totals_add_allocated)
                view->samples_chosen += slots[k].counters.samples;
        }
    }
    return true;
}

/* Twice over all slots, as the process itself sums them: a block that one thread has allocated, and another freed,
 * while the slots were being read must not count as freed only. */
static bool read_slots(struct reader *reader)
{
    struct mw_segment_header *header = &reader->view->header;
    struct mw_segment_slot *slots = aligned_alloc(_Alignof(struct mw_segment_slot), SLOTS_AT_ONCE * sizeof *slots);
    uint32_t used = 0;
    if (!slots)
        return mw_error_set(reader->error, ENOMEM, "cannot be read");
    bool done = add_slots(reader, mw_totals_add_freed, slots) &&
                read_bytes(reader, &used, sizeof used, HEADER_AT(slots_used)); /* a thread may have begun since */
    if (done) {
        header->slots_used = (uint32_t)least(used, header->sections[MW_SEGMENT_SLOTS].capacity);
        done = add_slots(reader, mw_totals_add_allocated, slots);
    }
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
        reader->view->totals.by_size[i].Size = mw_size_class_bytes(i);
    free(slots);
    return done;
}

/* ---- what stands under a sequence number ---- */

static void pause_before_retry(void)
{
    nanosleep(&(struct timespec){.tv_nsec = TRY_PAUSE_NS}, NULL);
}

static bool read_snapshot(struct reader *reader)
{
    struct mw_segment_view *view = reader->view;
    uint64_t offset = item_at(reader, MW_SEGMENT_SNAPSHOT, 0);
    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t before = 0;
        uint64_t after = 0;
        if (i && !reader->is_hasty)
            pause_before_retry();
        if (!read_u64(reader, offset, &before) || !read_bytes(reader, &view->snapshot, sizeof view->snapshot, offset) ||
            !read_u64(reader, offset, &after))
            return false;
        for (unsigned k = 0; k < MEMWATCH_ALLOCATORS; k++)
            mw_segment_make_printable(view->snapshot.stats.Allocators[k].Name,
                                      sizeof view->snapshot.stats.Allocators[k].Name);
        view->snapshot_is_torn = before != after || before % 2;
        if (!view->snapshot_is_torn)
            return true;
    }
    return true;
}

/* ---- the rings ---- */

/* Reads a ring in its order. *count: how many items it holds now. */
static void *read_ring(struct reader *reader, enum mw_segment_section section, uint64_t next, size_t *count)
{
    const struct mw_segment_place *place = &reader->view->header.sections[section];
    size_t used = (size_t)least(next, place->capacity);
    size_t first = used && next > used ? (size_t)(next % used) : 0; /* the oldest; the latest stand before it */
    size_t late_bytes = first * place->item_bytes;
    size_t early_bytes = (used - first) * place->item_bytes;
    char *items = allocate(reader, used, place->item_bytes);
    *count = used;
    if (items && read_bytes(reader, items, early_bytes, item_at(reader, section, first)) &&
        read_bytes(reader, items + early_bytes, late_bytes, item_at(reader, section, 0)))
        return items;
    free(items);
    return NULL;
}

static bool read_events(struct reader *reader)
{
    struct mw_segment_view *view = reader->view;
    size_t count;
    size_t kept = 0;
    view->events = read_ring(reader, MW_SEGMENT_EVENTS, view->header.events_next, &count);
    if (!view->events)
        return false;
    for (size_t i = 0; i < count; i++)
        if (view->events[i].kind != MW_SEGMENT_NO_EVENT && view->events[i].kind < MW_SEGMENT_EVENT_KINDS)
            view->events[kept++] = view->events[i];
    view->event_count = kept;
    return true;
}

static bool read_rows(struct reader *reader, enum mw_segment_section section, uint64_t next,
                      struct mw_segment_row **rows, size_t *row_count)
{
    size_t count;
    size_t kept = 0;
    *rows = read_ring(reader, section, next, &count);
    if (!*rows)
        return false;
    for (size_t i = 0; i < count; i++)
        if ((*rows)[i].time_unix_ns)
            (*rows)[kept++] = (*rows)[i];
    *row_count = kept;
    return true;
}

/* ---- the profile ---- */

static bool read_modules(struct reader *reader)
{
    struct mw_segment_view *view = reader->view;
    size_t count = view->header.modules_used;
    size_t kept = 0;
    view->modules = allocate(reader, count, sizeof *view->modules);
    if (!view->modules || !read_items(reader, MW_SEGMENT_MODULES, count, view->modules))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct mw_segment_module *module = &view->modules[i];
        if (!module->start)
            continue;
        if (module->end <= module->start || module->build_id_bytes > sizeof module->build_id) {
            view->damaged++;
            continue;
        }
        mw_segment_make_printable(module->path, sizeof module->path);
        view->modules[kept++] = *module;
    }
    view->module_count = kept;
    return true;
}

const struct mw_segment_stack *mw_segment_view_stack(const struct mw_segment_view *view, uint32_t number)
{
    return (const struct mw_segment_stack *)(const void *)&view->stack_words[number];
}

static bool is_stack(const struct mw_segment_view *view, uint64_t number)
{
    uint64_t words = view->header.stacks_used;
    if (number < MW_SEGMENT_FIRST_STACK || number > words || words - number < LEAST_STACK)
        return false;
    uint16_t depth = mw_segment_view_stack(view, (uint32_t)number)->depth;
    return depth && depth <= MW_SEGMENT_DEPTH && MW_SEGMENT_STACK_WORDS((uint64_t)depth) <= words - number;
}

/* Follows every chain, and marks the stacks that are published. Not from one end of the section to the other: SIGKILL
 * may have come between taking the words and filling them, and behind such a hole no start could be told. Links lead to
 * older stacks only, and no stack is in two chains, so that this ends after as many steps as there are stacks. */
static size_t mark_published(struct mw_segment_view *view, const uint32_t *buckets, uint64_t *published)
{
    size_t count = 0;
    for (uint32_t i = 0; i < view->header.sections[MW_SEGMENT_BUCKETS].capacity; i++) {
        uint64_t above = UINT64_MAX;
        for (uint32_t number = buckets[i]; number; number = mw_segment_view_stack(view, number)->next) {
            uint64_t bit = UINT64_C(1) << number % WORD_BITS;
            if (number >= above || !is_stack(view, number) || published[number / WORD_BITS] & bit) {
                view->damaged++;
                break;
            }
            published[number / WORD_BITS] |= bit;
            above = number;
            count++;
        }
    }
    return count;
}

static bool list_published(struct reader *reader, const uint32_t *buckets)
{
    struct mw_segment_view *view = reader->view;
    uint64_t *published = allocate(reader, view->header.stacks_used / WORD_BITS + 1, sizeof *published);
    if (!published)
        return false;
    size_t count = mark_published(view, buckets, published);
    view->stacks = allocate(reader, count, sizeof *view->stacks);
    uint64_t end = 0;
    for (uint64_t number = 0; view->stacks && number < view->header.stacks_used; number++) {
        if (!(published[number / WORD_BITS] >> number % WORD_BITS & 1))
            continue;
        if (number < end) { /* within the one before: together they would be larger than the file */
            view->damaged++;
            continue;
        }
        view->stacks[view->stack_count++] = (uint32_t)number;
        end = number + MW_SEGMENT_STACK_WORDS((uint64_t)mw_segment_view_stack(view, (uint32_t)number)->depth);
    }
    free(published);
    return view->stacks;
}

/* The words of all stacks, and the points of their histories, which stand in the header. */
static bool read_stack_words(struct reader *reader)
{
    struct mw_segment_header *header = &reader->view->header;
    bool is_torn = true;
    for (unsigned i = 0; i < TRIES && is_torn; i++) {
        uint64_t before = 0;
        uint64_t after = 0;
        if (i)
            pause_before_retry();
        if (!read_u64(reader, HEADER_AT(history_sequence), &before) ||
            !read_u64(reader, HEADER_AT(history_used), &header->history_used) ||
            !read_bytes(reader, header->history_ns, sizeof header->history_ns, HEADER_AT(history_ns)) ||
            !read_items(reader, MW_SEGMENT_STACKS, header->stacks_used, reader->view->stack_words) ||
            !read_u64(reader, HEADER_AT(history_sequence), &after))
            return false;
        is_torn = before != after || before % 2;
    }
    header->history_used = is_torn ? 0 : least(header->history_used, MW_SEGMENT_HISTORY);
    return true;
}

static bool read_stacks(struct reader *reader)
{
    struct mw_segment_view *view = reader->view;
    const struct mw_segment_place *places = view->header.sections;
    uint64_t used = 0;
    uint32_t *buckets = allocate(reader, places[MW_SEGMENT_BUCKETS].capacity, sizeof *buckets);
    bool done = buckets && read_items(reader, MW_SEGMENT_BUCKETS, places[MW_SEGMENT_BUCKETS].capacity, buckets) &&
                read_u64(reader, HEADER_AT(stacks_used), &used);
    if (done) {
        view->header.stacks_used = least(used, places[MW_SEGMENT_STACKS].capacity);
        view->stack_words = allocate(reader, view->header.stacks_used, sizeof *view->stack_words);
        done = view->stack_words && read_stack_words(reader) && list_published(reader, buckets);
    }
    free(buckets);
    return done;
}

static bool read_samples(struct reader *reader)
{
    struct mw_segment_view *view = reader->view;
    view->sample_count = view->header.samples_used;
    view->samples = allocate(reader, view->sample_count, sizeof *view->samples);
    return view->samples && read_items(reader, MW_SEGMENT_SAMPLES, view->sample_count, view->samples);
}

static void keep_live_samples(struct mw_segment_view *view)
{
    size_t kept = 0;
    for (size_t i = 0; i < view->sample_count; i++) {
        const struct mw_segment_sample *sample = &view->samples[i];
        if (!sample->address)
            continue;
        if (mw_segment_view_find(view, sample->stack) == SIZE_MAX)
            view->damaged++;
        else
            view->samples[kept++] = *sample;
    }
    view->sample_count = kept;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

size_t mw_segment_view_find(const struct mw_segment_view *view, uint32_t number)
{
    const uint32_t *found = bsearch(&number, view->stacks, view->stack_count, sizeof number, compare_numbers);
    return found ? (size_t)(found - view->stacks) : SIZE_MAX;
}

/* ---- all of it ---- */

static uint64_t latest_time(const struct mw_segment_view *view)
{
    const uint64_t times[] = {
        view->header.started_unix_ns,
        view->snapshot.time_unix_ns,
        view->event_count ? view->events[view->event_count - 1].time_unix_ns : 0,
        view->second_count ? view->seconds[view->second_count - 1].time_unix_ns : 0,
    };
    uint64_t latest = 0;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        latest = times[i] > latest ? times[i] : latest;
    return latest;
}

bool mw_segment_read(int fd, struct mw_segment_view *view, struct mw_error *error)
{
    struct reader reader = {.fd = fd, .view = view, .error = error};
    *view = (struct mw_segment_view){0};
    const struct mw_segment_header *header = &view->header;
    /* Samples before stacks: a stack is published before its first sample, so that none is without one. */
    if (read_header(&reader) && read_slots(&reader) && read_snapshot(&reader) &&
        read_items(&reader, MW_SEGMENT_CONTROL, 1, &view->control) && read_events(&reader) &&
        read_rows(&reader, MW_SEGMENT_SECONDS, header->seconds_next, &view->seconds, &view->second_count) &&
        read_rows(&reader, MW_SEGMENT_MINUTES, header->minutes_next, &view->minutes, &view->minute_count) &&
        read_samples(&reader) && read_stacks(&reader) && read_modules(&reader)) {
        keep_live_samples(view);
        view->moment_unix_ns = latest_time(view);
        return true;
    }
    mw_segment_view_free(view);
    return false;
}

bool mw_segment_read_figures(int fd, struct mw_segment_view *view, struct mw_error *error)
{
    struct reader reader = {.fd = fd, .is_hasty = true, .view = view, .error = error};
    *view = (struct mw_segment_view){0};
    if (!read_header(&reader))
        return false;
    if (view->header.slots_used > MOST_HASTY_SLOTS)
        return mw_error_set(error, 0, "is damaged: it has slots for %u threads", view->header.slots_used);
    if (!read_slots(&reader) || !read_snapshot(&reader))
        return false;
    view->moment_unix_ns = latest_time(view);
    return true;
}

void mw_segment_view_free(struct mw_segment_view *view)
{
    free(view->events);
    free(view->seconds);
    free(view->minutes);
    free(view->modules);
    free(view->stack_words);
    free(view->stacks);
    free(view->samples);
    *view = (struct mw_segment_view){0};
}

void mw_segment_view_stats(const struct mw_segment_view *view, struct memwatch_stats *stats)
{
    const struct mw_totals *totals = &view->totals;
    *stats = view->snapshot.stats;
    stats->TotalAlloc = totals->allocated_bytes;
    stats->Mallocs = totals->allocated_objects;
    stats->Frees = totals->freed_objects;
    stats->Alloc = less(totals->allocated_bytes, totals->freed_bytes);
    stats->HeapObjects = less(totals->allocated_objects, totals->freed_objects);
    stats->HeapAlloc = stats->Alloc;
    stats->HeapInuse = stats->Alloc;
    stats->HeapIdle = less(stats->HeapSys, stats->HeapInuse);
    stats->Samples = view->samples_chosen;
    memcpy(stats->BySize, totals->by_size, sizeof stats->BySize);
}
