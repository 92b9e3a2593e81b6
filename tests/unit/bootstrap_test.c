/* SPDX-License-Identifier: MIT
 *
 * The arena gives nothing back: the tests use it up in the order of main.
 */
#include "bootstrap.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

#define DEADLINE_S 50

static int set_deadline(void **state)
{
    (void)state;
    alarm(DEADLINE_S);
    return 0;
}

static void check_zeroed(const unsigned char *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(block[i], 0);
}

static void the_arena_owns_its_bytes_and_no_others(void **state)
{
    int local;
    (void)state;
    assert_true(mw_bootstrap_owns(mw_bootstrap_arena));
    assert_true(mw_bootstrap_owns(mw_bootstrap_arena + MW_BOOTSTRAP_BYTES - 1));
    assert_false(mw_bootstrap_owns((const void *)((uintptr_t)mw_bootstrap_arena - 1))); // NOLINT
    assert_false(mw_bootstrap_owns(mw_bootstrap_arena + MW_BOOTSTRAP_BYTES));
    assert_false(mw_bootstrap_owns(NULL));
    assert_false(mw_bootstrap_owns((const void *)UINTPTR_MAX)); // NOLINT
    assert_false(mw_bootstrap_owns(&local));
}

static void blocks_are_aligned_zeroed_apart_and_know_their_size(void **state)
{
    static const struct {
        size_t alignment;
        size_t size;
    } asked[] = {{1, 1},    {1, 0},    {2, 3},    {8, 24}, {16, 16},  {1, 9}, {1, 10},    {1, 25},  {1, 7},
                 {1, 41},   {1, 40},   {16, 17},  {32, 1}, {64, 100}, {1, 1}, {128, 128}, {256, 0}, {512, 1},
                 {1, 4096}, {1024, 7}, {4096, 1}, {1, 31}, {4096, 0}, {8, 8}, {64, 1000}};
    unsigned char *blocks[COUNT(asked)];
    (void)state;
    for (size_t i = 0; i < COUNT(asked); i++) {
        blocks[i] = mw_bootstrap_allocate(asked[i].alignment, asked[i].size);
        assert_non_null(blocks[i]);
        assert_true(mw_bootstrap_owns(blocks[i]));
        assert_int_equal((uintptr_t)blocks[i] % asked[i].alignment, 0);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0); /* as malloc */
        check_zeroed(blocks[i], asked[i].size);
        assert_true(mw_bootstrap_usable_size(blocks[i]) >= asked[i].size);
        memset(blocks[i], (int)i + 1, mw_bootstrap_usable_size(blocks[i]));
    }
    /* Neither a block nor what the arena keeps beside it lies in another block. */
    for (size_t i = 0; i < COUNT(asked); i++) {
        size_t usable = mw_bootstrap_usable_size(blocks[i]);
        assert_in_range(usable, asked[i].size, asked[i].size + 4096);
        for (size_t byte = 0; byte < usable; byte++)
            assert_int_equal(blocks[i][byte], i + 1);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(blocks[i], blocks[k]);
    }
}

static void what_cannot_be_had_is_refused_and_costs_nothing(void **state)
{
    static const struct {
        size_t alignment;
        size_t size;
    } asked[] = {
        {16, MW_BOOTSTRAP_BYTES},
        {16, MW_BOOTSTRAP_BYTES + 1},
        {16, SIZE_MAX},
        {16, SIZE_MAX - 15},
        {16, SIZE_MAX - MW_BOOTSTRAP_BYTES},
        {MW_BOOTSTRAP_BYTES, 1},
        {2 * MW_BOOTSTRAP_BYTES, 1},
        {SIZE_MAX / 2 + 1, 1},
        {SIZE_MAX / 2 + 1, SIZE_MAX},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(asked); i++) {
        errno = 0;
        assert_null(mw_bootstrap_allocate(asked[i].alignment, asked[i].size));
        assert_int_equal(errno, ENOMEM);
    }
    assert_non_null(mw_bootstrap_allocate(16, 16));
}

#define THREADS          4
#define BLOCKS_OF_THREAD 200

static struct taker {
    unsigned char *blocks[BLOCKS_OF_THREAD];
    unsigned char mark;
} takers[THREADS];

static void *take_blocks(void *context)
{
    struct taker *self = context;
    for (unsigned i = 0; i < BLOCKS_OF_THREAD; i++) {
        self->blocks[i] = mw_bootstrap_allocate(16, 24);
        if (self->blocks[i])
            memset(self->blocks[i], self->mark, 24);
    }
    return NULL;
}

static void threads_get_blocks_of_their_own(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        takers[i].mark = (unsigned char)(i + 1);
        assert_int_equal(pthread_create(&threads[i], NULL, take_blocks, &takers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        for (unsigned k = 0; k < BLOCKS_OF_THREAD; k++) {
            const unsigned char *block = takers[i].blocks[k];
            assert_non_null(block);
            assert_int_equal(mw_bootstrap_usable_size(block), 24);
            for (unsigned byte = 0; byte < 24; byte++)
                assert_int_equal(block[byte], takers[i].mark);
        }
    }
}

static void it_is_used_up_to_the_end_and_then_refuses(void **state)
{
    size_t got = 0;
    void *last = NULL;
    (void)state;
    for (void *block; (block = mw_bootstrap_allocate(16, 1000)); last = block) {
        check_zeroed(block, 1000);
        assert_in_range((uintptr_t)block, (uintptr_t)mw_bootstrap_arena,
                        (uintptr_t)mw_bootstrap_arena + MW_BOOTSTRAP_BYTES - 1000);
        assert_true(++got <= MW_BOOTSTRAP_BYTES / 1000);
    }
    assert_true(got > 0);
    assert_int_equal(errno, ENOMEM);
    while (mw_bootstrap_allocate(1, 1))
        assert_true(++got <= MW_BOOTSTRAP_BYTES);
    errno = 0;
    assert_null(mw_bootstrap_allocate(1, 1));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(mw_bootstrap_usable_size(last), 1000); /* what was given stays */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_arena_owns_its_bytes_and_no_others),
        cmocka_unit_test(blocks_are_aligned_zeroed_apart_and_know_their_size),
        cmocka_unit_test(what_cannot_be_had_is_refused_and_costs_nothing),
        cmocka_unit_test_setup(threads_get_blocks_of_their_own, set_deadline),
        cmocka_unit_test_setup(it_is_used_up_to_the_end_and_then_refuses, set_deadline),
    };
    return cmocka_run_group_tests_name("bootstrap", tests, NULL, NULL);
}
