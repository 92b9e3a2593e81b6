/* SPDX-License-Identifier: MIT */
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "segment_builder.h"

#define SECOND_NS UINT64_C(1000000000)

static const uint64_t leaf_and_main[] = {0x1000, 0x2000};
static const uint64_t leaf_alone[] = {0x1000};
static const uint64_t other[] = {0x1008, 0x2000};

static int setup(void **state)
{
    static struct segment_builder builder;
    segment_builder_start(&builder, &segment_builder_tiny);
    *state = &builder;
    return 0;
}

static int teardown(void **state)
{
    segment_builder_free(*state);
    return 0;
}

static struct mw_profile load(const struct segment_builder *builder)
{
    struct mw_segment_view view;
    struct mw_profile profile;
    struct mw_error error = {0};
    int fd = segment_builder_file(builder, builder->length);
    if (!mw_segment_read(fd, &view, &error) || !mw_profile_load(&view, &profile, &error)) {
        fail_msg("%s", error.text);
        abort(); /* the above does not return, but nobody says so */
    }
    close(fd);
    mw_segment_view_free(&view); /* it need not be kept */
    return profile;
}

static const struct mw_profile_stack *find(const struct mw_profile *profile, unsigned depth, const uint64_t *frames,
                                           bool is_mmap)
{
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct mw_profile_stack *stack = &profile->stacks[i];
        if (stack->depth == depth && stack->is_mmap == is_mmap &&
            memcmp(stack->frames, frames, depth * sizeof *frames) == 0)
            return stack;
    }
    fail_msg("there is no such stack");
    return NULL;
}

static void an_empty_segment_is_an_empty_profile(void **state)
{
    struct mw_profile profile = load(*state);
    assert_int_equal(profile.stack_count, 0);
    assert_int_equal(profile.module_count, 0);
    assert_int_equal(profile.sample_count, 0);
    assert_int_equal(profile.sample_mean_bytes, 512 << 10);
    assert_int_equal(profile.started_unix_ns, 1000 * SECOND_NS);
    assert_int_equal(profile.age_ns, 0);
    mw_profile_free(&profile);
    mw_profile_free(&profile);
}

static void equal_stacks_are_one(void **state)
{
    struct segment_builder *builder = *state;
    uint32_t a = segment_builder_stack(builder, 0, 2, leaf_and_main);
    uint32_t b = segment_builder_stack(builder, 0, 1, leaf_alone);
    uint32_t again = segment_builder_stack(builder, 0, 2, leaf_and_main);
    uint32_t mapped = segment_builder_stack(builder, MW_SEGMENT_STACK_MMAP, 2, leaf_and_main);
    segment_builder_sample(builder, a, 1 << 20, MW_SEGMENT_OBJECT);
    segment_builder_sample(builder, b, 100, MW_SEGMENT_OBJECT);
    segment_builder_sample(builder, again, 1 << 20, MW_SEGMENT_OBJECT);
    segment_builder_sample(builder, mapped, 4096, MW_SEGMENT_OBJECT);
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.stack_count, 3);
    const struct mw_profile_stack *one = find(&profile, 2, leaf_and_main, false);
    assert_int_equal(one->live.bytes, 2 << 20);
    assert_int_equal(one->live.objects, 2);
    assert_int_equal(one->live.samples, 2);
    assert_int_equal(find(&profile, 2, leaf_and_main, true)->live.bytes, 4096);
    assert_int_equal(profile.sample_count, 4);
    for (size_t i = 0; i < profile.sample_count; i++)
        if (profile.samples[i].bytes == 1 << 20)
            assert_ptr_equal(&profile.stacks[profile.samples[i].stack], one);
    mw_profile_free(&profile);
}

static void live_is_what_is_not_freed(void **state)
{
    static const struct {
        const char *label;
        uint64_t allocated;
        uint64_t freed;
        uint64_t live;
    } cases[] = {
        {"none", 0, 0, 0},
        {"all", 1000, 0, 1000},
        {"some", 1000, 999, 1},
        {"freed all", 1000, 1000, 0},
        {"more freed", 1000, 1001, 0},
        {"endless", UINT64_MAX, 1, UINT64_MAX - 1},
        {"endless freed", 1, UINT64_MAX, 0},
    };
    struct segment_builder *builder = *state;
    struct mw_segment_stack *stack = segment_builder_stack_at(builder, segment_builder_stack(builder, 0, 2, other));
    for (size_t i = 0; i < COUNT(cases); i++) {
        stack->allocated_bytes = stack->allocated_samples = cases[i].allocated;
        stack->freed_bytes = stack->freed_samples = cases[i].freed;
        struct mw_profile profile = load(builder);
        CHECK_U64(cases[i].label, profile.stacks[0].allocated.bytes, cases[i].allocated);
        CHECK_U64(cases[i].label, profile.stacks[0].live.bytes, cases[i].live);
        CHECK_U64(cases[i].label, profile.stacks[0].live.samples, cases[i].live);
        mw_profile_free(&profile);
    }
}

static void objects_are_rounded(void **state)
{
    struct segment_builder *builder = *state;
    struct mw_segment_stack *stack = segment_builder_stack_at(builder, segment_builder_stack(builder, 0, 2, other));
    stack->allocated_objects = 10 * MW_SEGMENT_OBJECT + MW_SEGMENT_OBJECT / 2;
    stack->freed_objects = 7 * MW_SEGMENT_OBJECT + 1;
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.stacks[0].allocated.objects, 11);
    assert_int_equal(profile.stacks[0].live.objects, 3);
    mw_profile_free(&profile);
}

static void the_error_is_that_of_the_samples(void **state)
{
    struct segment_builder *builder = *state;
    uint32_t a = segment_builder_stack(builder, 0, 2, leaf_and_main);
    uint32_t b = segment_builder_stack(builder, 0, 2, other);
    segment_builder_sample(builder, a, 100, 5 * MW_SEGMENT_OBJECT);      /* 100^2 * 5 * 4 = 200000 */
    segment_builder_sample(builder, a, 1000, 3 * MW_SEGMENT_OBJECT / 2); /* 1000^2 * 1.5 * 0.5 = 750000 */
    segment_builder_sample(builder, b, 4096, MW_SEGMENT_OBJECT);
    segment_builder_sample(builder, b, 4096, 1); /* stands for less than itself, which cannot be */
    struct mw_profile profile = load(builder);
    assert_float_equal(find(&profile, 2, leaf_and_main, false)->live_bytes_error, sqrt(950000), 1e-6);
    assert_float_equal(find(&profile, 2, other, false)->live_bytes_error, 0, 0);
    assert_float_equal(profile.samples[1].objects, 1.5, 0);
    mw_profile_free(&profile);
}

/* Samples of blocks of one size, kept by chance: does the error say how far the estimate is off? */
static void the_error_is_right(void **state)
{
    enum { ROUNDS = 400, BLOCKS = 200 };
    const double kept = 0.25;
    const uint64_t bytes = 1000;
    uint64_t random = 1;
    double squares = 0;
    double variances = 0;
    struct segment_builder builder;
    struct segment_builder_sizes sizes = segment_builder_tiny;
    (void)state;
    sizes.samples = BLOCKS;
    for (unsigned round = 0; round < ROUNDS; round++) {
        segment_builder_start(&builder, &sizes);
        uint32_t stack = segment_builder_stack(&builder, 0, 2, other);
        for (unsigned i = 0; i < BLOCKS; i++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            if ((double)(random >> 11) * 0x1p-53 < kept)
                segment_builder_sample(&builder, stack, bytes, (uint64_t)((double)MW_SEGMENT_OBJECT / kept));
        }
        struct mw_profile profile = load(&builder);
        double off = (double)profile.stacks[0].live.bytes - (double)(BLOCKS * bytes);
        squares += off * off;
        variances += profile.stacks[0].live_bytes_error * profile.stacks[0].live_bytes_error;
        mw_profile_free(&profile);
        segment_builder_free(&builder);
    }
    assert_float_equal(squares / variances, 1, 0.2); /* 400 rounds: 7 % is one standard deviation */
}

static void exact_mode_needs_no_samples(void **state)
{
    struct segment_builder *builder = *state;
    struct mw_segment_stack *stack = segment_builder_stack_at(builder, segment_builder_stack(builder, 0, 2, other));
    builder->header->sample_mean_bytes = 1;
    stack->allocated_bytes = 1000;
    stack->allocated_objects = 10 * MW_SEGMENT_OBJECT;
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.sample_mean_bytes, 1);
    assert_int_equal(profile.stacks[0].live.bytes, 1000);
    assert_float_equal(profile.stacks[0].live_bytes_error, 0, 0);
    mw_profile_free(&profile);
}

static void flags_are_told(void **state)
{
    struct segment_builder *builder = *state;
    segment_builder_stack(builder, MW_SEGMENT_STACK_TRUNCATED | 0xfff0, 2, other); /* flags of a later day */
    segment_builder_stack(builder, MW_SEGMENT_STACK_TRUNCATED, 2, other);
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.stack_count, 1);
    assert_true(profile.stacks[0].is_truncated);
    assert_false(profile.stacks[0].is_mmap);
    mw_profile_free(&profile);
}

static void the_program_is_the_first_module(void **state)
{
    struct segment_builder *builder = *state;
    segment_builder_module(builder, 0x1000, 0x2000, "[vdso]");
    segment_builder_module(builder, 0x3000, 0x4000, "/usr/lib/libone.so");
    segment_builder_module(builder, 0x5000, 0x6000, "/usr/bin/app");
    segment_builder_module(builder, 0x7000, 0x8000, "/usr/lib/libtwo.so");
    struct mw_profile profile = load(builder);
    static const char *const paths[] = {"/usr/bin/app", "[vdso]", "/usr/lib/libone.so", "/usr/lib/libtwo.so"};
    assert_int_equal(profile.module_count, COUNT(paths));
    for (size_t i = 0; i < COUNT(paths); i++)
        assert_string_equal(profile.modules[i].path, paths[i]);
    assert_int_equal(profile.modules[0].bias, 0x5000);
    assert_int_equal(profile.modules[0].build_id_bytes, 20);
    assert_int_equal(profile.modules[0].build_id[19], 0xb1);
    mw_profile_free(&profile);
}

static void times_are_since_the_start(void **state)
{
    struct segment_builder *builder = *state;
    uint32_t stack = segment_builder_stack(builder, 0, 2, other);
    struct mw_segment_stack *at = segment_builder_stack_at(builder, stack);
    segment_builder_sample(builder, stack, 100, MW_SEGMENT_OBJECT);
    segment_builder_sample(builder, stack, 100, MW_SEGMENT_OBJECT);
    builder->samples[1].born_ns = 1; /* before the start: inherited over a fork */
    builder->header->history_used = 2;
    builder->header->history_ns[0] = 510 * SECOND_NS;
    builder->header->history_ns[1] = 520 * SECOND_NS;
    builder->header->history_ns[2] = 999 * SECOND_NS;
    at->history_kib[0] = 3;
    at->history_kib[1] = UINT32_MAX;
    at->history_kib[2] = 77;
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.samples[0].born_ns, SECOND_NS);
    assert_int_equal(profile.samples[1].born_ns, 0);
    assert_int_equal(profile.age_ns, SECOND_NS); /* nothing tells of a later time than the sample */
    assert_int_equal(profile.history_used, 2);
    assert_int_equal(profile.history_ns[1], 20 * SECOND_NS);
    assert_int_equal(profile.stacks[0].history_bytes[0], 3072);
    assert_int_equal(profile.stacks[0].history_bytes[1], UINT64_C(1024) * UINT32_MAX);
    assert_int_equal(profile.stacks[0].history_bytes[2], 0);
    mw_profile_free(&profile);
    segment_builder_event(builder, 1060 * SECOND_NS, MW_SEGMENT_TRIM, 0);
    profile = load(builder);
    assert_int_equal(profile.age_ns, 60 * SECOND_NS);
    mw_profile_free(&profile);
}

static void drops_are_told(void **state)
{
    struct segment_builder *builder = *state;
    builder->header->dropped_samples = 1;
    builder->header->dropped_bytes = 2;
    builder->header->dropped_stacks = 3;
    builder->header->dropped_modules = 4;
    builder->header->dropped_slots = 5;
    struct mw_profile profile = load(builder);
    assert_int_equal(profile.dropped_samples, 1);
    assert_int_equal(profile.dropped_bytes, 2);
    assert_int_equal(profile.dropped_stacks, 3);
    assert_int_equal(profile.dropped_modules, 4);
    assert_int_equal(profile.dropped_threads, 5);
    mw_profile_free(&profile);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_segment_is_an_empty_profile),
        TEST(equal_stacks_are_one),
        TEST(live_is_what_is_not_freed),
        TEST(objects_are_rounded),
        TEST(the_error_is_that_of_the_samples),
        TEST(the_error_is_right),
        TEST(exact_mode_needs_no_samples),
        TEST(flags_are_told),
        TEST(the_program_is_the_first_module),
        TEST(times_are_since_the_start),
        TEST(drops_are_told),
    };
    return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
