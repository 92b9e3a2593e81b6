/* SPDX-License-Identifier: MIT
 *
 * Segments that nobody should believe: every field, count and link of them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "check.h"
#include "profile.h"
#include "scratch.h"
#include "segment_builder.h"
#include "segment_view.h"

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

/* ---- headers that are none ---- */

#define FIELD(name) offsetof(struct mw_segment_header, name), sizeof(((struct mw_segment_header *)0)->name)

static void header_fields(void **state)
{
    static const struct {
        const char *label;
        size_t offset;
        size_t bytes;
        uint64_t value;
        const char *error; /* NULL: it is read all the same */
    } cases[] = {
        {"magic 0", FIELD(magic), 0, "is not a memwatch segment"},
        {"magic", FIELD(magic), MW_SEGMENT_MAGIC + 1, "is not a memwatch segment"},
        {"version 0", FIELD(version), 0, "is of version 0, this memwatch reads version 2"},
        {"version 7", FIELD(version), 7, "is of version 7, this memwatch reads version 2"},
        {"few sections", FIELD(section_count), MW_SEGMENT_SECTION_COUNT - 1, "is damaged: it has 9 sections"},
        {"many sections", FIELD(section_count), 33, "is damaged: it has 33 sections"},
        {"spare sections", FIELD(section_count), 32, NULL},
        {"no length", FIELD(segment_bytes), 0, "is damaged"},
        {"short", FIELD(segment_bytes), 4096, "is damaged"},
        {"long", FIELD(segment_bytes), 128 << 20, "is cut off"},
        {"too long", FIELD(segment_bytes), (256 << 20) + 1, "is damaged: it says that it has 268435457 bytes"},
        {"endless", FIELD(segment_bytes), UINT64_MAX, "is damaged"},
        {"scale", FIELD(measure.scale_bytes), 4097, "classes have no meaning"},
        {"endless scale", FIELD(measure.scale_bytes), UINT64_MAX, "classes have no meaning"},
        {"overhead", FIELD(measure.overhead_bytes), 17, "classes have no meaning"},
        {"endless overhead", FIELD(measure.overhead_bytes), UINT64_MAX, "classes have no meaning"},
        {"page", FIELD(page_bytes), 0, NULL},
        {"pid", FIELD(pid), UINT32_MAX, NULL},
        {"state", FIELD(state), UINT32_MAX, NULL},
        {"mean", FIELD(sample_mean_bytes), UINT64_MAX, NULL},
        {"started", FIELD(started_ns), UINT64_MAX, NULL},
        {"started at", FIELD(started_unix_ns), UINT64_MAX, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct segment_example sample = segment_builder_example();
        struct mw_segment_view view;
        struct mw_error error;
        memcpy(sample.builder.bytes + cases[i].offset, &cases[i].value, cases[i].bytes);
        bool done = read_part(&sample.builder, sample.builder.length, &view, &error);
        CHECK_I64(cases[i].label, done, !cases[i].error);
        if (cases[i].error)
            CHECK_HAS(cases[i].label, error.text, cases[i].error);
        mw_segment_view_free(&view); /* of nothing too */
        segment_builder_free(&sample.builder);
    }
}

static void places_of_sections(void **state)
{
    static const struct {
        const char *label;
        uint64_t offset_bytes;
        uint32_t item_bytes;
        uint32_t capacity;
        const char *error;
    } cases[] = {
        {"item 0", 0, 0, 1, "is not as this memwatch knows it"},
        {"item endless", 0, UINT32_MAX, 1, "is not as this memwatch knows it"},
        {"in the header", UINT64_MAX, 0, 1, "is not within it"}, /* -1: 0, see below */
        {"between pages", 4100, 0, 1, "is not within it"},
        {"at the end", 1 << 20, 0, 1, "is not within it"},
        {"beyond all", UINT64_MAX - 4095, 0, 1, "is not within it"},
        {"over all", 0, 0, UINT32_MAX, NULL},
        {"on the first section", 4096, 0, 1, NULL},
    };
    (void)state;
    for (unsigned section = 0; section < MW_SEGMENT_SECTION_COUNT; section++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct segment_example sample = segment_builder_example();
            struct mw_segment_view view;
            struct mw_error error;
            struct mw_segment_place *place = &sample.builder.header->sections[section];
            bool own_place = section == 0 && cases[i].offset_bytes == 4096;
            if (cases[i].offset_bytes)
                place->offset_bytes = cases[i].offset_bytes == UINT64_MAX ? 0 : cases[i].offset_bytes;
            else if (cases[i].capacity == 1)
                place->item_bytes = cases[i].item_bytes;
            place->capacity = cases[i].capacity;
            bool done = read_part(&sample.builder, sample.builder.length, &view, &error);
            CHECK_I64(cases[i].label, done, own_place);
            if (!own_place)
                CHECK_HAS(cases[i].label, error.text, cases[i].error ? cases[i].error : "is damaged: it");
            mw_segment_view_free(&view);
            segment_builder_free(&sample.builder);
        }
    }
}

static void a_segment_that_is_cut_off(void **state)
{
    struct segment_example sample = segment_builder_example();
    (void)state;
    for (size_t length = 0; length < sample.builder.length; length += length < 4096 ? 64 : 1024) {
        struct mw_segment_view view;
        struct mw_error error;
        char label[32];
        snprintf(label, sizeof label, "%zu bytes", length);
        CHECK(label, !read_part(&sample.builder, length, &view, &error));
        CHECK_HAS(label, error.text,
                  length < sizeof(struct mw_segment_header) ? "is not a memwatch segment" : "is cut off: ");
    }
    segment_builder_free(&sample.builder);
}

static void what_is_no_file(void **state)
{
    static const char *const paths[] = {"/dev/null", "/dev/zero", "/", "/proc/self/status"};
    int ends[2];
    struct mw_segment_view view;
    struct mw_error error;
    (void)state;
    for (size_t i = 0; i < COUNT(paths); i++) {
        int fd = open(paths[i], O_RDONLY | O_CLOEXEC);
        CHECK(paths[i], !mw_segment_read(fd, &view, &error));
        CHECK_TEXT(paths[i], error.text, "is not a memwatch segment");
        close(fd);
    }
    assert_return_code(pipe(ends), 0);
    assert_false(mw_segment_read(ends[0], &view, &error));
    close(ends[0]);
    close(ends[1]);
    assert_false(mw_segment_read(-1, &view, &error));
}

static void counts_beyond_their_capacity_are_bounded(void **state)
{
    static const uint64_t counts[] = {1 << 20, UINT32_MAX, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct segment_example sample = segment_builder_example();
        struct mw_segment_header *header = sample.builder.header;
        header->modules_used = (uint32_t)counts[i];
        header->slots_used = (uint32_t)counts[i];
        header->stacks_used = counts[i];
        header->samples_used = counts[i];
        header->history_used = counts[i];
        header->events_next = counts[i];
        header->seconds_next = counts[i];
        struct mw_segment_view view = read_well(&sample.builder);
        assert_int_equal(view.header.slots_used, segment_builder_tiny.slots);
        assert_int_equal(view.header.stacks_used, segment_builder_tiny.stacks);
        assert_int_equal(view.header.history_used, MW_SEGMENT_HISTORY);
        assert_int_equal(view.stack_count, 3);
        assert_int_equal(view.sample_count, 2);
        assert_int_equal(view.module_count, 2);
        assert_int_equal(view.event_count, 2);
        mw_segment_view_free(&view);
        segment_builder_free(&sample.builder);
    }
}

/* ---- chains ---- */

static void point_at_itself(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->c)->next = s->c;
}
static void point_in_a_circle(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->a)->next = s->c;
}
static void point_at_the_other_chain(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->c)->next = s->b;
}
static void point_beyond_all(struct segment_example *s)
{
    s->builder.buckets[2] = UINT32_MAX;
}
static void point_at_the_end(struct segment_example *s)
{
    s->builder.buckets[2] = (uint32_t)s->builder.header->stacks_used;
}
static void point_near_the_end(struct segment_example *s)
{
    s->builder.buckets[2] = (uint32_t)s->builder.header->stacks_used - 16;
}
static void point_before_the_first(struct segment_example *s)
{
    s->builder.buckets[2] = 7;
}
static void point_into_another(struct segment_example *s)
{
    s->builder.stacks[s->a + 2] = 1; /* reads as a depth of 1 */
    s->builder.buckets[2] = s->a + 1;
}
static void have_no_frames(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->c)->depth = 0;
}
static void have_too_many_frames(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->c)->depth = MW_SEGMENT_DEPTH + 1;
}
static void have_frames_beyond_the_end(struct segment_example *s)
{
    segment_builder_stack_at(&s->builder, s->c)->depth = 2;
}
static void point_at_what_is_not_used(struct segment_example *s)
{
    s->builder.header->stacks_used = s->c;
}

static void chains(void **state)
{
    static const struct {
        const char *label;
        void (*damage)(struct segment_example *);
        size_t stacks;
    } cases[] = {
        {"itself", point_at_itself, 2},
        {"a circle", point_in_a_circle, 3},
        {"the other chain", point_at_the_other_chain, 2},
        {"beyond all", point_beyond_all, 3},
        {"the end", point_at_the_end, 3},
        {"near the end", point_near_the_end, 3},
        {"before the first", point_before_the_first, 3},
        {"into another", point_into_another, 3},
        {"no frames", have_no_frames, 1},
        {"too many frames", have_too_many_frames, 1},
        {"frames beyond the end", have_frames_beyond_the_end, 1},
        {"not used", point_at_what_is_not_used, 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct segment_example sample = segment_builder_example();
        cases[i].damage(&sample);
        struct mw_segment_view view = read_well(&sample.builder);
        CHECK_U64(cases[i].label, view.stack_count, cases[i].stacks);
        CHECK(cases[i].label, view.damaged);
        for (size_t k = 0; k < view.sample_count; k++)
            CHECK(cases[i].label, mw_segment_view_find(&view, view.samples[k].stack) != SIZE_MAX);
        mw_segment_view_free(&view);
        segment_builder_free(&sample.builder);
    }
}

static void entries_that_make_no_sense(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct segment_builder *builder = &sample.builder;
    (void)state;
    builder->samples[0].stack = sample.a + 1;
    builder->modules[0].end = builder->modules[0].start;
    builder->modules[1].build_id_bytes = 33;
    builder->events[0].kind = MW_SEGMENT_EVENT_KINDS;
    struct mw_segment_view view = read_well(builder);
    assert_int_equal(view.sample_count, 1);
    assert_int_equal(view.module_count, 0);
    assert_int_equal(view.event_count, 1);
    assert_int_equal(view.damaged, 3);
    mw_segment_view_free(&view);
    segment_builder_free(builder);
}

static void strings_are_terminated_and_printable(void **state)
{
    struct segment_example sample = segment_builder_example();
    struct segment_builder *builder = &sample.builder;
    (void)state;
    memset(builder->header->program, 'p', sizeof builder->header->program);
    memset(builder->header->run, 0xff, sizeof builder->header->run);
    memset(builder->snapshot->stats.Allocators, 0x1b, sizeof builder->snapshot->stats.Allocators);
    builder->header->pressure_source = MW_SEGMENT_PRESSURE_SOURCE_COUNT;
    memset(builder->modules[0].path, 0xc2, sizeof builder->modules[0].path);
    memcpy(builder->header->comm, "a\033[2J\n\xc2\x9b\xc3\xa9", sizeof "a\033[2J\n\xc2\x9b\xc3\xa9");
    struct mw_segment_view view = read_well(builder);
    assert_string_equal(view.header.comm, "a?[2J???\xc3\xa9");
    assert_string_equal(view.snapshot.stats.Allocators[0].Name, "???????????????");
    assert_int_equal(view.header.pressure_source, MW_SEGMENT_PRESSURE_NOBODY);
    assert_int_equal(strlen(view.header.program), sizeof view.header.program - 1);
    assert_int_equal(strlen(view.header.run), sizeof view.header.run - 1);
    assert_int_equal(strlen(view.modules[0].path), sizeof view.modules[0].path - 1);
    mw_segment_view_free(&view);
    segment_builder_free(builder);
}

/* Any word of the segment may hold anything: the fuzzer's poor relation, the same each time. */
static void words_by_chance(void **state)
{
    static const uint64_t values[] = {0, 1, 8, 64, 0xffff, UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX};
    uint64_t random = 1;
    unsigned read = 0;
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct segment_example sample = segment_builder_example();
        struct mw_segment_view view;
        struct mw_profile profile;
        struct mw_error error;
        for (unsigned k = 0; k < 1 + round % 4; k++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            size_t words = (k % 2 ? sample.builder.length : sizeof(struct mw_segment_header)) / sizeof(uint64_t);
            uint64_t value = random >> 61 ? values[random >> 61] : random;
            memcpy(sample.builder.bytes + (random >> 16) % words * sizeof value, &value, sizeof value);
        }
        sample.builder.snapshot->sequence &= ~UINT64_C(1); /* else each round waits for its end */
        sample.builder.header->history_sequence &= ~UINT64_C(1);
        if (read_part(&sample.builder, sample.builder.length, &view, &error)) {
            assert_true(mw_profile_load(&view, &profile, &error));
            mw_profile_free(&profile);
            mw_segment_view_free(&view);
            read++;
        } else {
            assert_true(*error.text);
        }
        segment_builder_free(&sample.builder);
    }
    assert_in_range(read, 100, 2900);
}

static void nothing_is_left_open(void **state)
{
    unsigned before = open_descriptors();
    header_fields(state);
    a_segment_that_is_cut_off(state);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_fields),
        cmocka_unit_test(places_of_sections),
        cmocka_unit_test(counts_beyond_their_capacity_are_bounded),
        cmocka_unit_test(a_segment_that_is_cut_off),
        cmocka_unit_test(what_is_no_file),
        cmocka_unit_test(chains),
        cmocka_unit_test(entries_that_make_no_sense),
        cmocka_unit_test(strings_are_terminated_and_printable),
        cmocka_unit_test(words_by_chance),
        cmocka_unit_test(nothing_is_left_open),
    };
    return cmocka_run_group_tests_name("segment_damage", tests, NULL, NULL);
}
