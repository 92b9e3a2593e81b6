/* SPDX-License-Identifier: MIT */
#include "diff.h"

#include "check.h"

static struct mw_folded_row holding(uint64_t bytes, double error)
{
    return (struct mw_folded_row){.live = {.objects = 1, .bytes = bytes}, .live_bytes_error = error};
}

static void add(struct mw_folded *folded, const char *stack, struct mw_folded_row row)
{
    mw_folded_add(folded, stack, &row);
}

static void what_grew_most_comes_first_and_what_shrank_most_last(void **state)
{
    static const struct {
        const char *stack;
        double change;
    } due[] = {{"new", 500}, {"grown", 100}, {"shrunk", -50}, {"gone", -300}};
    struct mw_folded before = {0};
    struct mw_folded after = {0};
    (void)state;
    add(&before, "same", holding(10, 0));
    add(&before, "gone", holding(300, 0));
    add(&before, "grown", holding(100, 3));
    add(&before, "shrunk", holding(100, 0));
    add(&after, "new", holding(500, 0));
    add(&after, "shrunk", holding(50, 0));
    add(&after, "same", holding(4, 0));
    add(&after, "same", holding(6, 0));
    add(&after, "grown", holding(200, 4));
    struct mw_diff diff = mw_diff_make(&before, &after);
    assert_int_equal(diff.count, COUNT(due));
    for (size_t i = 0; i < COUNT(due); i++) {
        assert_string_equal(diff.rows[i].stack, due[i].stack);
        assert_true(diff.rows[i].change_bytes == due[i].change);
    }
    assert_true(diff.change_bytes == 250);
    assert_true(diff.rows[1].change_error > 4.99 && diff.rows[1].change_error < 5.01);
    mw_diff_free(&diff);
    mw_folded_free(&before);
    mw_folded_free(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_grew_most_comes_first_and_what_shrank_most_last),
    };
    return cmocka_run_group_tests_name("diff", tests, NULL, NULL);
}
