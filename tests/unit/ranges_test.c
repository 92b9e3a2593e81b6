/* SPDX-License-Identifier: MIT */
#include "ranges.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "check.h"

#define PAGE  UINT64_C(4096)
#define BASE  UINT64_C(0x7f0000000000)
#define PAGES 100

/* The plain model: what each page is. Every promise of the set can be read off it. */
enum page { NONE, OTHER, DATA };

static void set_pages(char *pages, unsigned from, unsigned to, enum page what)
{
    for (unsigned i = from; i < to; i++)
        pages[i] = (char)what;
}

static bool add(struct mw_ranges *set, uintptr_t start, uintptr_t end, bool is_data)
{
    return mw_ranges_add(set, (struct mw_range){start, end, .is_data = is_data});
}

static bool is_data_at(const struct mw_ranges *set, uintptr_t address)
{
    const struct mw_range *range = mw_ranges_find(set, address);
    return range && range->is_data;
}

static void check_sorted(const char *label, const struct mw_ranges *set)
{
    uint64_t bytes = 0;
    uint64_t data_bytes = 0;
    CHECK(label, set->count <= set->capacity);
    for (size_t i = 0; i < set->count; i++) {
        const struct mw_range *range = &set->items[i];
        CHECK(label, range->start < range->end);
        CHECK(label, i == 0 || set->items[i - 1].end <= range->start);
        bytes += range->end - range->start;
        data_bytes += range->is_data ? range->end - range->start : 0;
    }
    CHECK_U64(label, set->bytes, bytes);
    CHECK_U64(label, set->data_bytes, data_bytes);
}

static void check_against(const char *label, const struct mw_ranges *set, const char *pages)
{
    uint64_t held = 0;
    uint64_t data = 0;
    size_t runs = 0;
    for (unsigned i = 0; i < PAGES; i++) {
        uintptr_t address = BASE + i * PAGE;
        held += pages[i] != NONE;
        data += pages[i] == DATA;
        runs += pages[i] != NONE && (i == 0 || pages[i - 1] != pages[i]);
        CHECK(label, is_data_at(set, address) == (pages[i] == DATA));
        CHECK(label, is_data_at(set, address + PAGE - 1) == (pages[i] == DATA));
    }
    check_sorted(label, set);
    CHECK_U64(label, set->bytes, held * PAGE);
    CHECK_U64(label, set->data_bytes, data * PAGE);
    CHECK_U64(label, set->count, runs); /* a table that does not merge grows without end */
}

static void drop(struct mw_ranges *set)
{
    if (set->items)
        munmap(set->items, set->capacity * sizeof *set->items);
    *set = (struct mw_ranges){0};
}

/* A step: '+' adds other, 'd' adds data, '-' removes pages [from, to). */
struct step {
    char what;
    unsigned from;
    unsigned to;
};

#define MOST_STEPS 6

static void changes_one_by_one(void **state)
{
    /* The pages after all steps, one character each: '.' none, 'o' other, 'd' data. */
    static const struct {
        const char *name;
        struct step steps[MOST_STEPS];
        const char *pages;
    } cases[] = {
        {"nothing", {{0}}, "...."},
        {"one", {{'+', 1, 3}}, ".oo."},
        {"data", {{'d', 1, 3}}, ".dd."},
        {"empty range", {{'+', 2, 2}}, "...."},
        {"backward range", {{'+', 3, 1}}, "...."},
        {"apart", {{'+', 0, 1}, {'+', 2, 3}}, "o.o."},
        {"beside, same kind", {{'+', 0, 1}, {'+', 1, 2}}, "oo.."},
        {"beside before, same kind", {{'d', 1, 2}, {'d', 0, 1}}, "dd.."},
        {"beside, other kind", {{'+', 0, 1}, {'d', 1, 2}}, "od.."},
        {"fills a gap", {{'d', 0, 1}, {'d', 2, 3}, {'d', 1, 2}}, "ddd."},
        {"fills a gap of another kind", {{'d', 0, 1}, {'d', 2, 3}, {'+', 1, 2}}, "dod."},
        {"twice the same", {{'+', 1, 3}, {'+', 1, 3}}, ".oo."},
        {"over it", {{'+', 1, 3}, {'d', 0, 4}}, "dddd"},
        {"into its middle", {{'+', 0, 4}, {'d', 1, 3}}, "oddo"},
        {"over its start", {{'+', 1, 4}, {'d', 0, 2}}, "ddoo"},
        {"over its end", {{'+', 0, 3}, {'d', 2, 4}}, "oodd"},
        {"over many", {{'+', 0, 1}, {'d', 2, 3}, {'+', 4, 5}, {'d', 6, 7}, {'d', 0, 7}}, "ddddddd."},
        {"back to what it was", {{'+', 0, 4}, {'d', 1, 3}, {'+', 1, 3}}, "oooo"},
        {"remove nothing", {{'-', 0, 4}}, "...."},
        {"remove beside", {{'+', 1, 2}, {'-', 0, 1}, {'-', 2, 4}}, ".o.."},
        {"remove empty", {{'+', 0, 4}, {'-', 2, 2}}, "oooo"},
        {"remove backward", {{'+', 0, 4}, {'-', 3, 1}}, "oooo"},
        {"remove all", {{'+', 1, 3}, {'-', 1, 3}}, "...."},
        {"remove more than all", {{'d', 1, 3}, {'-', 0, 4}}, "...."},
        {"remove the start", {{'+', 0, 4}, {'-', 0, 1}}, ".ooo"},
        {"remove the end", {{'+', 0, 4}, {'-', 3, 4}}, "ooo."},
        {"split", {{'d', 0, 4}, {'-', 1, 3}}, "d..d"},
        {"split twice", {{'d', 0, 8}, {'-', 1, 2}, {'-', 5, 6}}, "d.ddd.dd"},
        {"remove across two", {{'+', 0, 3}, {'d', 4, 7}, {'-', 2, 5}}, "oo...dd."},
        {"remove across three", {{'+', 0, 2}, {'d', 3, 4}, {'+', 5, 7}, {'-', 1, 6}}, "o.....o."},
        {"twice removed", {{'+', 0, 4}, {'-', 1, 3}, {'-', 1, 3}}, "o..o"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_ranges set = {0};
        char pages[PAGES] = {0};
        for (size_t k = 0; k < MOST_STEPS && cases[i].steps[k].what; k++) {
            const struct step *step = &cases[i].steps[k];
            uintptr_t start = BASE + step->from * PAGE;
            uintptr_t end = BASE + step->to * PAGE;
            CHECK(cases[i].name,
                  step->what == '-' ? mw_ranges_remove(&set, start, end) : add(&set, start, end, step->what == 'd'));
        }
        for (size_t k = 0; cases[i].pages[k]; k++)
            pages[k] = (char)(cases[i].pages[k] == 'd' ? DATA : cases[i].pages[k] == 'o' ? OTHER : NONE);
        check_against(cases[i].name, &set, pages);
        drop(&set);
    }
}

static uint32_t next_random(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*random >> 33);
}

static void many_random_changes_agree_with_a_page_array(void **state)
{
    struct mw_ranges set = {0};
    char pages[PAGES] = {0};
    uint64_t random = 20240229;
    (void)state;
    for (unsigned step = 0; step < 30000; step++) {
        char label[64];
        unsigned from = next_random(&random) % PAGES;
        unsigned longest = next_random(&random) % 16 ? 8 : PAGES;
        unsigned to = from + next_random(&random) % (longest + 1);
        enum page what = next_random(&random) % 3;
        if (to > PAGES)
            to = PAGES;
        uintptr_t start = BASE + from * PAGE;
        uintptr_t end = BASE + to * PAGE;
        snprintf(label, sizeof label, "step %u: [%u, %u) becomes %d", step, from, to, what);
        CHECK(label, what == NONE ? mw_ranges_remove(&set, start, end) : add(&set, start, end, what == DATA));
        set_pages(pages, from, to, what);
        check_against(label, &set, pages);
    }
    drop(&set);
}

/* As a program that maps twenty thousand files, and unmaps them in another order. */
static void it_grows_as_far_as_it_must(void **state)
{
    const unsigned count = 20000;
    struct mw_ranges set = {0};
    (void)state;
    for (unsigned i = 0; i < count; i++)
        assert_true(add(&set, BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE, i % 2));
    assert_int_equal(set.count, count);
    check_sorted("grown", &set);
    assert_int_equal(set.bytes, count * PAGE);
    assert_int_equal(set.data_bytes, count / 2 * PAGE);
    for (unsigned i = 0; i < count; i += 2)
        assert_true(mw_ranges_remove(&set, BASE + 2 * i * PAGE, BASE + (2 * i + 1) * PAGE));
    assert_int_equal(set.bytes, count / 2 * PAGE);
    assert_int_equal(set.data_bytes, set.bytes);
    assert_true(mw_ranges_remove(&set, 0, UINT64_MAX / 2));
    assert_int_equal(set.count, 0);
    assert_int_equal(set.bytes, 0);
    assert_int_equal(set.data_bytes, 0);
    drop(&set);
}

static void the_ends_of_the_address_space(void **state)
{
    const uintptr_t highest = UINTPTR_MAX / 2 & ~(PAGE - 1); /* far above what any kernel hands out */
    struct mw_ranges set = {0};
    (void)state;
    assert_true(add(&set, 0, PAGE, true));
    assert_true(add(&set, highest - PAGE, highest, true));
    assert_true(is_data_at(&set, 0));
    assert_false(is_data_at(&set, PAGE));
    assert_false(is_data_at(&set, highest - PAGE - 1));
    assert_true(is_data_at(&set, highest - 1));
    assert_false(is_data_at(&set, highest));
    assert_false(is_data_at(&set, UINTPTR_MAX));
    assert_int_equal(set.bytes, 2 * PAGE);
    drop(&set);
}

/* Nothing can be mapped while `limited`: the address space is full. */
static void limit_address_space(bool limited)
{
    static struct rlimit before;
    if (limited) {
        assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
        assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = PAGE, .rlim_max = before.rlim_max}), 0);
    } else {
        assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    }
}

static void without_memory_the_first_range_is_refused(void **state)
{
    struct mw_ranges set = {0};
    (void)state;
    limit_address_space(true);
    bool added = add(&set, BASE, BASE + PAGE, true);
    limit_address_space(false);
    assert_false(added);
    check_sorted("refused", &set);
    assert_true(add(&set, BASE, BASE + PAGE, true));
    assert_int_equal(set.bytes, PAGE);
    drop(&set);
}

static void without_memory_to_split_the_lower_part_stays_and_the_upper_goes(void **state)
{
    struct mw_ranges set = {0};
    unsigned count = 0;
    (void)state;
    do { /* until the table is full */
        assert_true(add(&set, BASE + count * 8 * PAGE, BASE + (count * 8 + 4) * PAGE, true));
        count++;
    } while (set.count < set.capacity);
    uint64_t before = set.bytes;
    limit_address_space(true);
    bool removed = mw_ranges_remove(&set, BASE + PAGE, BASE + 2 * PAGE);
    limit_address_space(false);
    assert_false(removed);
    check_sorted("split", &set);
    assert_true(is_data_at(&set, BASE));
    assert_false(is_data_at(&set, BASE + PAGE));
    assert_false(is_data_at(&set, BASE + 2 * PAGE));
    assert_int_equal(set.bytes, before - 3 * PAGE);
    drop(&set);
}

/* ---- owners ---- */

#define OWNERS 4
static uint64_t lost_bytes[OWNERS];

static void lose(uint32_t owner, uint64_t bytes)
{
    assert_in_range(owner, 1, OWNERS - 1);
    lost_bytes[owner] += bytes;
}

static void owners_are_told_of_each_byte_that_is_cut_out(void **state)
{
    struct mw_ranges set = {.lost = lose};
    (void)state;
    assert_true(mw_ranges_add(&set, (struct mw_range){BASE, BASE + 4 * PAGE, .owner = 1, .is_data = true}));
    assert_true(mw_ranges_add(&set, (struct mw_range){BASE + 4 * PAGE, BASE + 6 * PAGE, .owner = 1, .is_data = true}));
    assert_int_equal(set.count, 1); /* neighbours of one owner are one */
    assert_true(mw_ranges_add(&set, (struct mw_range){BASE + 6 * PAGE, BASE + 8 * PAGE, .owner = 2, .is_data = true}));
    assert_int_equal(set.count, 2);
    assert_int_equal(lost_bytes[1] + lost_bytes[2], 0);
    /* over the end of the one and the begin of the other; then from the middle, then all, and nobody's besides */
    assert_true(mw_ranges_add(&set, (struct mw_range){BASE + 5 * PAGE, BASE + 7 * PAGE, .owner = 3, .is_data = true}));
    assert_int_equal(lost_bytes[1], PAGE);
    assert_int_equal(lost_bytes[2], PAGE);
    assert_true(mw_ranges_remove(&set, BASE + PAGE, BASE + 2 * PAGE));
    assert_int_equal(lost_bytes[1], 2 * PAGE);
    assert_true(add(&set, BASE + 20 * PAGE, BASE + 30 * PAGE, true));
    assert_true(mw_ranges_remove(&set, 0, BASE + 40 * PAGE));
    assert_int_equal(lost_bytes[1], 6 * PAGE);
    assert_int_equal(lost_bytes[2], 2 * PAGE);
    assert_int_equal(lost_bytes[3], 2 * PAGE);
    assert_int_equal(set.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_one_by_one),
        cmocka_unit_test(many_random_changes_agree_with_a_page_array),
        cmocka_unit_test(it_grows_as_far_as_it_must),
        cmocka_unit_test(the_ends_of_the_address_space),
        cmocka_unit_test(without_memory_the_first_range_is_refused),
        cmocka_unit_test(without_memory_to_split_the_lower_part_stays_and_the_upper_goes),
        cmocka_unit_test(owners_are_told_of_each_byte_that_is_cut_out),
    };
    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
