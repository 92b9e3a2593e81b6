/* SPDX-License-Identifier: MIT */
#include "segment_view.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"
#include "segment_builder.h"

#define SECOND_NS UINT64_C(1000000000)

/* Reads the first `length` bytes of what was built. */
static bool read_part(const struct segment_builder *builder, size_t length, struct mw_segment_view *view,
                      struct mw_error *error)
{
    int fd = segment_builder_file(builder, length);
    *error = (struct mw_error){0};
    bool done = mw_segment_read(fd, view, error);
    close(fd);
    return done;
}

static struct mw_segment_view read_well(const struct segment_builder *builder)
{
    struct mw_segment_view view;
    struct mw_error error;
    if (!read_part(builder, builder->length, &view, &error))
        fail_msg("%s", error.text);
    return view;
}

static void a_whole_segment_is_read(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct mw_segment_view view = read_well(&sample.builder);
    const uint32_t numbers[] = {sample.a, sample.b, sample.c};
    (void)state;
    assert_int_equal(view.header.pid, 1234);
    assert_string_equal(view.header.comm, "app");
    assert_int_equal(view.damaged, 0);
    assert_int_equal(view.stack_count, 3);
    assert_memory_equal(view.stacks, numbers, sizeof numbers);
    assert_int_equal(mw_segment_view_stack(&view, sample.b)->frames[2], 0x3000);
    assert_int_equal(mw_segment_view_find(&view, sample.c), 2);
    assert_int_equal(mw_segment_view_find(&view, sample.c + 1), SIZE_MAX);
    assert_int_equal(view.sample_count, 2);
    assert_int_equal(view.samples[1].bytes, 4096);
    assert_int_equal(view.module_count, 2);
    assert_string_equal(view.modules[1].path, "/usr/bin/app");
    assert_int_equal(view.event_count, 2);
    assert_int_equal(view.events[1].values[0], 7);
    assert_int_equal(view.second_count, 1);
    assert_int_equal(view.minutes[0].Alloc, 6);
    assert_false(view.snapshot_is_torn);
    assert_int_equal(view.moment_unix_ns, 1003 * SECOND_NS);
    mw_segment_view_free(&view);
    segment_builder_free(&sample.builder);
}

static void the_heap_is_that_of_the_slots(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct mw_segment_view view = read_well(&sample.builder);
    struct memwatch_stats stats;
    (void)state;
    mw_segment_view_stats(&view, &stats);
    assert_int_equal(stats.TotalAlloc, 240 + 100000);
    assert_int_equal(stats.Alloc, 144 + 100000);
    assert_int_equal(stats.HeapInuse, stats.Alloc);
    assert_int_equal(stats.Mallocs, 11);
    assert_int_equal(stats.Frees, 4);
    assert_int_equal(stats.HeapObjects, 7);
    assert_int_equal(stats.HeapIdle, (1 << 20) - stats.Alloc);
    assert_int_equal(stats.Samples, 4);
    assert_int_equal(stats.BySize[1].Size, 32);
    assert_int_equal(stats.BySize[1].Mallocs, 10);
    assert_int_equal(stats.RSS, 8 << 20);
    assert_int_equal(stats.NumTrim, 2);
    mw_segment_view_free(&view);
    segment_builder_free(&sample.builder);
}

static void rings_are_read_in_order(void **state)
{
    struct segment_builder builder;
    (void)state;
    for (uint64_t written = 0; written < 10; written++) {
        segment_builder_start(&builder, &segment_builder_tiny);
        for (uint64_t i = 1; i <= written; i++) {
            segment_builder_event(&builder, i, MW_SEGMENT_TRIM, i);
            builder.seconds[(i - 1) % 4] = (struct mw_segment_row){.time_unix_ns = i, .RSS = i};
        }
        builder.header->seconds_next = written;
        struct mw_segment_view view = read_well(&builder);
        size_t kept = written < 4 ? written : 4;
        assert_int_equal(view.event_count, kept);
        assert_int_equal(view.second_count, kept);
        for (size_t i = 0; i < kept; i++) {
            assert_int_equal(view.events[i].values[0], written - kept + 1 + i);
            assert_int_equal(view.seconds[i].RSS, written - kept + 1 + i);
        }
        mw_segment_view_free(&view);
        segment_builder_free(&builder);
    }
}

/* SIGKILL may come between any two stores: what is not published is not seen. */
static void what_is_being_written_is_left_out(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct segment_builder *builder = &sample.builder;
    (void)state;
    builder->events[0].kind = MW_SEGMENT_NO_EVENT;
    builder->seconds[0].time_unix_ns = 0;
    builder->modules[0].start = 0;
    builder->samples[0].address = 0;
    builder->header->stacks_used += 30; /* taken, and nothing written yet */
    builder->header->samples_used += 2;
    struct mw_segment_view view = read_well(builder);
    assert_int_equal(view.damaged, 0);
    assert_int_equal(view.event_count, 1);
    assert_int_equal(view.second_count, 0);
    assert_int_equal(view.module_count, 1);
    assert_int_equal(view.sample_count, 1);
    assert_int_equal(view.stack_count, 3);
    mw_segment_view_free(&view);
    segment_builder_free(builder);
}

static void what_stands_under_a_sequence(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct segment_builder *builder = &sample.builder;
    (void)state;
    builder->header->history_used = 3;
    builder->header->history_sequence = 6;
    struct mw_segment_view view = read_well(builder);
    assert_int_equal(view.header.history_used, 3);
    mw_segment_view_free(&view);
    builder->header->history_sequence++;
    builder->snapshot->sequence++;
    view = read_well(builder);
    assert_int_equal(view.header.history_used, 0); /* half of them may have been halved */
    assert_true(view.snapshot_is_torn);
    assert_int_equal(view.snapshot.stats.RSS, 8 << 20);
    mw_segment_view_free(&view);
    segment_builder_free(builder);
}

/* ---- while it is being written ---- */

/* Allocates by one slot what it frees by an earlier one, and gives all statistics of a snapshot the same value. */
static void write_for_ever(struct segment_builder *builder, int fd)
{
    uint8_t *bytes = mmap(NULL, builder->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        _exit(1);
    struct mw_segment_slot *slots = (void *)(bytes + ((uint8_t *)builder->slots - builder->bytes));
    struct mw_segment_snapshot *snapshot = (void *)(bytes + ((uint8_t *)builder->snapshot - builder->bytes));
    for (uint64_t i = 1;; i++) {
        mw_counter_add(&slots[1].counters.allocated[1 + i % 100], 1);
        mw_counter_add(&slots[0].counters.freed[1 + i % 100], 1);
        if (i % 64)
            continue;
        __atomic_store_n(&snapshot->sequence, i / 32 - 1, __ATOMIC_SEQ_CST);
        snapshot->stats.RSS = i;
        snapshot->stats.Swap = i;
        __atomic_store_n(&snapshot->sequence, i / 32, __ATOMIC_SEQ_CST);
    }
}

static void a_segment_that_is_being_written(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct segment_builder *builder = &sample.builder;
    (void)state;
    memset(builder->slots, 0, 2 * sizeof *builder->slots);
    int fd = segment_builder_file(builder, builder->length);
    pid_t writer = fork();
    if (writer == 0)
        write_for_ever(builder, fd);
    assert_true(writer > 0);
    unsigned whole = 0;
    uint64_t last = 0;
    for (unsigned i = 0; i < 2000 || last < 100000; i++) {
        struct mw_segment_view view;
        struct mw_error error;
        assert_true(mw_segment_read(fd, &view, &error));
        assert_true(view.totals.allocated_objects >= view.totals.freed_objects);
        assert_true(view.totals.allocated_objects >= last);
        last = view.totals.allocated_objects;
        if (!view.snapshot_is_torn && view.snapshot.stats.Swap) {
            whole++;
            assert_int_equal(view.snapshot.stats.RSS, view.snapshot.stats.Swap);
        }
        mw_segment_view_free(&view);
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    assert_true(whole);
    close(fd);
    segment_builder_free(builder);
}

static void nothing_is_left_open(void **state)
{
    unsigned before = open_descriptors();
    a_whole_segment_is_read(state);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_segment_is_read),      cmocka_unit_test(the_heap_is_that_of_the_slots),
        cmocka_unit_test(rings_are_read_in_order),      cmocka_unit_test(what_is_being_written_is_left_out),
        cmocka_unit_test(what_stands_under_a_sequence), cmocka_unit_test(a_segment_that_is_being_written),
        cmocka_unit_test(nothing_is_left_open),
    };
    return cmocka_run_group_tests_name("segment_view", tests, NULL, NULL);
}
