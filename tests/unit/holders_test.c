/* SPDX-License-Identifier: MIT */
#include "holders.h"

#include <math.h>

#include "check.h"
#include "folded.h"
#include "places.h"
#include "profile_builder.h"

#define KIB UINT64_C(1024)

enum { APP, LIBC, CXX, MEMWATCH, OTHER };

static struct mw_profile_module modules[] = {[APP] = {.path = "/usr/bin/app"},
                                             [LIBC] = {.path = "/usr/lib/x86_64-linux-gnu/libc.so.6"},
                                             [CXX] = {.path = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30"},
                                             [MEMWATCH] = {.path = "/opt/libmemwatch.so"},
                                             [OTHER] = {.path = "/usr/lib/libother.so"}};

static const struct built_name names[] = {
    {1, MEMWATCH, "malloc", NULL, 0, NULL},
    {2, CXX, "operator new", NULL, 0, NULL},
    {3, APP, "std::vector<int>::reserve", "vector.h", 9, "std::allocator<int>::allocate"},
    {4, APP, "load", "load.c", 10, NULL},
    {5, APP, "serve", "serve.c", 20, NULL},
    {6, APP, "main", "main.c", 30, NULL},
    {7, LIBC, "__libc_start_call_main", NULL, 0, NULL},
    {8, APP, "_start", NULL, 0, NULL},
    {9, OTHER, "other_load", "other.c", 40, NULL},
    {10, APP, "load", "load.c", 11, NULL},
    {11, LIBC, "fopen", NULL, 0, NULL},
    {12, APP, "serve", "serve.c", 21, "inlined_in_serve"},
    {13, MW_SYMBOL_NO_MODULE, "0xd", NULL, 0, NULL},
    {14, APP, "stdlib_like", NULL, 0, NULL},
};

static const uint64_t by_load[] = {1, 2, 3, 4, 6, 7, 8, 0};
static const uint64_t by_load_too[] = {1, 10, 6, 7, 8, 0};
static const uint64_t by_serve[] = {1, 5, 6, 7, 8, 0};
static const uint64_t by_fopen[] = {1, 11, 12, 6, 0};
static const uint64_t by_other[] = {9, 4, 6, 0};
static const uint64_t plumbing_only[] = {1, 2, 7, 8, 0};
static const uint64_t no_module[] = {13, 0};
static const uint64_t no_frames[] = {0};

static int setup(void **state)
{
    static struct profile_builder builder;
    profile_builder_start(&builder, names, COUNT(names), modules, COUNT(modules));
    *state = &builder;
    return 0;
}

static int teardown(void **state)
{
    profile_builder_free(*state);
    return 0;
}

static void the_first_frame_that_is_no_plumbing_holds(void **state)
{
    const struct {
        const char *what;
        const uint64_t *frames;
        const char *walk; /* all frames in between */
        const char *module;
    } cases[] = {
        {"wrappers and containers", by_load, "main;load", modules[APP].path},
        {"none", by_other, "main;load;other_load", modules[OTHER].path},
        {"libc's own", by_fopen, "main;serve;inlined_in_serve", modules[APP].path},
        {"nothing else", plumbing_only, "_start;__libc_start_call_main;operator new;malloc", modules[MEMWATCH].path},
        {"no module", no_module, "0xd", "[unknown]"},
        {"no frames", no_frames, "", "[unknown]"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct profile_builder *builder = *state;
        struct mw_folded folded = {0};
        builder->profile.stack_count = 0;
        profile_builder_stack(builder, cases[i].frames, 1, KIB);
        mw_folded_add_profile(&folded, &builder->profile, profile_builder_namer(builder), true);
        CHECK_TEXT(cases[i].what, folded.stacks.strings[0], cases[i].walk);
        mw_folded_free(&folded);
        struct mw_holders holders =
            mw_holders_rank(&builder->profile, profile_builder_namer(builder), MW_HOLDERS_BY_MODULE);
        CHECK_U64(cases[i].what, holders.count, 1);
        CHECK_TEXT(cases[i].what, holders.items[0].name, cases[i].module);
        mw_holders_free(&holders);
    }
}

static void fill(struct profile_builder *builder)
{
    profile_builder_stack(builder, by_load, 10, 10 * KIB)->live_bytes_error = 3000;
    profile_builder_stack(builder, by_serve, 2, 40 * KIB);
    profile_builder_stack(builder, by_load_too, 50, 35 * KIB)->live_bytes_error = 4000;
    profile_builder_stack(builder, by_other, 1, 5 * KIB);
    profile_builder_stack(builder, by_fopen, 0, 0);
}

static void stacks_are_ranked_by_what_lives(void **state)
{
    static const size_t order[] = {1, 2, 0, 3};
    fill(*state);
    struct mw_holders holders = mw_holders_rank(&((struct profile_builder *)*state)->profile,
                                                profile_builder_namer(*state), MW_HOLDERS_BY_STACK);
    assert_int_equal(holders.count, COUNT(order)); /* what holds nothing is no holder */
    for (size_t i = 0; i < COUNT(order); i++)
        assert_int_equal(holders.items[i].stack, order[i]);
    assert_int_equal(holders.live.bytes, 90 * KIB);
    assert_int_equal(holders.live.objects, 63);
    assert_true(fabs(holders.live_bytes_error - 5000) < 1e-6);
    mw_holders_free(&holders);
}

static void stacks_of_one_function_are_one_holder(void **state)
{
    fill(*state);
    const struct mw_profile *profile = &((struct profile_builder *)*state)->profile;
    struct mw_holders holders = mw_holders_rank(profile, profile_builder_namer(*state), MW_HOLDERS_BY_FUNCTION);
    assert_int_equal(holders.count, 3);
    assert_string_equal(holders.items[0].name, "load");
    assert_int_equal(holders.items[0].live.bytes, 45 * KIB);
    assert_int_equal(holders.items[0].live.objects, 60);
    assert_int_equal(holders.items[0].allocated.bytes, 90 * KIB);
    assert_int_equal(holders.items[0].stack, 2); /* of the two the larger */
    assert_true(fabs(holders.items[0].live_bytes_error - 5000) < 1e-6);
    assert_string_equal(holders.items[1].name, "serve");
    assert_string_equal(holders.items[2].name, "other_load");
    mw_holders_free(&holders);
}

static void places_of_one_function_are_apart_by_line(void **state)
{
    fill(*state);
    const struct mw_profile *profile = &((struct profile_builder *)*state)->profile;
    struct mw_holders holders = mw_holders_rank(profile, profile_builder_namer(*state), MW_HOLDERS_BY_CALL);
    assert_int_equal(holders.count, 4);
    assert_string_equal(holders.items[1].name, "load");
    assert_int_equal(holders.items[1].live.bytes, 35 * KIB);
    assert_string_equal(holders.items[2].name, "load");
    assert_int_equal(holders.items[2].live.bytes, 10 * KIB);
    mw_holders_free(&holders);
}

static void sizes_come_from_the_live_samples(void **state)
{
    struct profile_builder *builder = *state;
    profile_builder_stack(builder, by_load, 10, 10 * KIB);
    profile_builder_sample(builder, 0, 100, 5);
    profile_builder_sample(builder, 0, 112, 5);
    profile_builder_sample(builder, 0, 3000, 2.5);
    profile_builder_sample(builder, 0, UINT64_MAX, 1e9); /* whatever a segment says */
    struct mw_holders holders = mw_holders_rank(&builder->profile, profile_builder_namer(builder), MW_HOLDERS_BY_SIZE);
    assert_int_equal(holders.count, 3);
    assert_int_equal(holders.items[1].size_bytes, 4096);
    assert_int_equal(holders.items[1].live.bytes, 7500);
    assert_int_equal(holders.items[2].size_bytes, 112);
    assert_int_equal(holders.items[2].live.bytes, 1060);
    assert_int_equal(holders.items[2].live.objects, 10);
    assert_int_equal(holders.items[2].live.samples, 2);
    mw_holders_free(&holders);
}

static void ways_to_one_place_are_one(void **state)
{
    static const uint64_t by_another_way[] = {1, 2, 3, 4, 6, 5, 6, 8, 0};
    struct profile_builder *builder = *state;
    fill(builder);
    struct mw_profile_stack *stack = profile_builder_stack(builder, by_another_way, 7, 12 * KIB);
    profile_builder_stack(builder, by_another_way, 1, KIB)->is_mmap = true;
    stack->live_bytes_error = 4000;
    stack->history_bytes[2] = 5;
    builder->stacks[0].history_bytes[2] = 6;
    profile_builder_sample(builder, 5, 100, 2);
    profile_builder_sample(builder, 1, 100, 2);
    struct mw_places places = mw_places_make(&builder->profile, profile_builder_namer(builder));
    assert_int_equal(places.profile.stack_count, builder->profile.stack_count - 1);
    const struct mw_profile_stack *place = &places.profile.stacks[0];
    assert_int_equal(places.stacks[0], 2);
    assert_int_equal(place->live.bytes, 22 * KIB);
    assert_int_equal(place->live.objects, 17);
    assert_int_equal(place->allocated.bytes, 44 * KIB);
    assert_int_equal(place->history_bytes[2], 11);
    assert_true(fabs(place->live_bytes_error - 5000) < 1e-6);
    assert_ptr_equal(place->frames, by_another_way); /* by which most came */
    assert_int_equal(places.profile.samples[0].stack, 0);
    assert_int_equal(places.profile.samples[1].stack, 1);
    mw_places_free(&places);
}

static void nothing_is_held_by_nobody(void **state)
{
    struct profile_builder *builder = *state;
    for (int by = MW_HOLDERS_BY_STACK; by <= MW_HOLDERS_BY_SIZE; by++) {
        struct mw_holders holders =
            mw_holders_rank(&builder->profile, profile_builder_namer(builder), (enum mw_holders_by)by);
        assert_int_equal(holders.count, 0);
        assert_int_equal(holders.live.bytes, 0);
        mw_holders_free(&holders);
    }
}

#define WITH_PROFILE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PROFILE(the_first_frame_that_is_no_plumbing_holds),
        WITH_PROFILE(stacks_are_ranked_by_what_lives),
        WITH_PROFILE(stacks_of_one_function_are_one_holder),
        WITH_PROFILE(places_of_one_function_are_apart_by_line),
        WITH_PROFILE(sizes_come_from_the_live_samples),
        WITH_PROFILE(ways_to_one_place_are_one),
        WITH_PROFILE(nothing_is_held_by_nobody),
    };
    return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}
