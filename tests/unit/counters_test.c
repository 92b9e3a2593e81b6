/* SPDX-License-Identifier: MIT */
#include "counters.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define DEADLINE_S 50

static int set_deadline(void **state)
{
    (void)state;
    alarm(DEADLINE_S);
    return 0;
}

/* Counts multiples of 8 by class, as is done above allocators without a readable header. */
static const struct mw_measure measure = {.scale_bytes = 8};

typedef void count_function(struct mw_counters *counters, uint64_t usable_bytes);

static void count_own(struct mw_counters *counters, uint64_t usable_bytes)
{
    if (usable_bytes % 8 == 0 && usable_bytes / 8 < MW_ALLOCATED_CLASSES)
        mw_counter_add(&counters->allocated[usable_bytes / 8], 1);
    else
        mw_others_count(&counters->allocated_others, usable_bytes, false);
}

static void count_shared(struct mw_counters *counters, uint64_t usable_bytes)
{
    mw_others_count(&counters->allocated_others, usable_bytes, true);
}

static void count_freed(struct mw_counters *counters, uint64_t usable_bytes)
{
    if (usable_bytes % 8 == 0 && usable_bytes / 8 < MW_FREED_CLASSES)
        mw_counter_add(&counters->freed[usable_bytes / 8], 1);
    else
        mw_others_count(&counters->freed_others, usable_bytes, false);
}

/* The two ways to count come to the same. */
static count_function *const ways[] = {count_own, count_shared};

static struct mw_totals totals_of(const struct mw_counters *counters)
{
    struct mw_totals totals = {0};
    mw_totals_add_freed(&totals, counters, measure);
    mw_totals_add_allocated(&totals, counters, measure);
    return totals;
}

/* The one class in which a single block was counted. */
static unsigned class_of(const struct mw_totals *totals)
{
    unsigned found = MEMWATCH_SIZE_CLASSES;
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        if (!totals->by_size[i].Mallocs)
            continue;
        assert_int_equal(totals->by_size[i].Mallocs, 1);
        assert_int_equal(found, MEMWATCH_SIZE_CLASSES);
        found = i;
    }
    return found;
}

static void check_one_block(uint64_t size)
{
    char label[64];
    snprintf(label, sizeof label, "%llu bytes", (unsigned long long)size);
    for (size_t way = 0; way < COUNT(ways); way++) {
        struct mw_counters counters = {0};
        ways[way](&counters, size);
        struct mw_totals totals = totals_of(&counters);
        CHECK_U64(label, totals.allocated_objects, 1);
        CHECK_U64(label, totals.allocated_bytes, size);
        CHECK_U64(label, totals.freed_objects, 0);
        CHECK_U64(label, totals.freed_bytes, 0);
        unsigned class = class_of(&totals);
        CHECK(label, class < MEMWATCH_SIZE_CLASSES);
        CHECK(label, size <= mw_size_class_bytes(class)); /* Size is the largest that falls into the class */
        CHECK(label, class == 0 || size > mw_size_class_bytes(class - 1));
    }
}

static void every_size_is_counted_to_the_byte_and_in_its_class(void **state)
{
    (void)state;
    for (uint64_t size = 0; size <= 5000; size++)
        check_one_block(size);
    for (unsigned power = 12; power <= 48; power++)
        for (int off = -9; off <= 9; off++)
            if (power < 48 || off <= 0)
                check_one_block((UINT64_C(1) << power) + (uint64_t)off);
}

/* No machine hands these out; they must count all the same. */
static void sizes_beyond_the_last_class_fall_into_it(void **state)
{
    static const uint64_t sizes[] = {(UINT64_C(1) << 48) + 1, UINT64_C(1) << 61, (UINT64_C(1) << 61) + 8,
                                     UINT64_C(1) << 63,       UINT64_MAX - 7,    UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t way = 0; way < COUNT(ways); way++) {
            struct mw_counters counters = {0};
            ways[way](&counters, sizes[i]);
            struct mw_totals totals = totals_of(&counters);
            assert_int_equal(totals.allocated_objects, 1);
            assert_int_equal(totals.allocated_bytes, sizes[i]);
            assert_int_equal(class_of(&totals), MEMWATCH_SIZE_CLASSES - 1);
        }
    }
}

static void classes_grow_and_the_last_is_as_large_as_an_address_space(void **state)
{
    (void)state;
    assert_int_equal(mw_size_class_bytes(0), 16);
    assert_int_equal(mw_size_class_bytes(63), 1024);
    assert_int_equal(mw_size_class_bytes(64), 2048);
    assert_int_equal(mw_size_class_bytes(MEMWATCH_SIZE_CLASSES - 1), UINT64_C(1) << 48);
    for (unsigned i = 1; i < MEMWATCH_SIZE_CLASSES; i++)
        assert_true(mw_size_class_bytes(i) > mw_size_class_bytes(i - 1));
}

/* As glibc's chunk sizes do: the header is not the program's. */
static void classes_mean_what_the_measure_says(void **state)
{
    static struct mw_counters counters;
    struct mw_totals totals = {0};
    const struct mw_measure chunks = {.scale_bytes = 16, .overhead_bytes = 8};
    (void)state;
    counters.allocated[2] = 3; /* of 24 bytes */
    counters.allocated[MW_ALLOCATED_CLASSES - 1] = 1;
    counters.freed[MW_FREED_CLASSES - 1] = 2;
    mw_totals_add_freed(&totals, &counters, chunks);
    mw_totals_add_allocated(&totals, &counters, chunks);
    assert_int_equal(totals.allocated_objects, 4);
    assert_int_equal(totals.allocated_bytes, 3 * 24 + 16 * (MW_ALLOCATED_CLASSES - 1) - 8);
    assert_int_equal(totals.freed_objects, 2);
    assert_int_equal(totals.freed_bytes, 2 * (16 * (MW_FREED_CLASSES - 1) - 8));
    assert_int_equal(totals.by_size[mw_size_class(24)].Mallocs, 3);
}

/* Whatever classes mean afterwards: the sums stay what they were. */
static void what_is_counted_anew_comes_to_the_same(void **state)
{
    static struct mw_counters counters;
    const struct mw_measure none = {.scale_bytes = 1};
    struct mw_totals after = {0};
    (void)state;
    for (uint64_t size = 1; size < 5000; size += 7) {
        count_own(&counters, size);
        if (size % 3)
            count_freed(&counters, size);
    }
    struct mw_totals before = totals_of(&counters);
    mw_others_take(&counters.freed_others, counters.freed, MW_FREED_CLASSES, measure);
    mw_others_take(&counters.allocated_others, counters.allocated, MW_ALLOCATED_CLASSES, measure);
    mw_totals_add_freed(&after, &counters, none);
    mw_totals_add_allocated(&after, &counters, none);
    assert_true(before.freed_bytes > 0);
    assert_memory_equal(&before, &after, sizeof before);
}

static void a_countdown_tells_when_it_falls_below_0(void **state)
{
    int64_t countdown = 100;
    (void)state;
    assert_false(mw_counter_take(&countdown, 60));
    assert_false(mw_counter_take(&countdown, 40));
    assert_int_equal(countdown, 0);
    assert_true(mw_counter_take(&countdown, 1));
    assert_true(mw_counter_take(&countdown, UINT64_C(1) << 61));
    assert_int_equal(countdown, -1 - (INT64_C(1) << 61));
}

static void totals_add_up_over_threads_and_directions(void **state)
{
    enum { THREADS = 3 };
    static struct mw_counters counters[THREADS];
    struct mw_totals totals = {0};
    uint64_t allocated = 0;
    uint64_t freed = 0;
    (void)state;
    for (unsigned thread = 0; thread < THREADS; thread++) {
        for (uint64_t size = 0; size < 3000; size++) {
            count_own(&counters[thread], size * (thread + 1));
            allocated += size * (thread + 1);
            if (size % 3)
                continue;
            count_freed(&counters[thread], size * (thread + 1));
            freed += size * (thread + 1);
        }
    }
    for (unsigned thread = 0; thread < THREADS; thread++)
        mw_totals_add_freed(&totals, &counters[thread], measure);
    assert_int_equal(totals.allocated_objects, 0);
    for (unsigned thread = 0; thread < THREADS; thread++)
        mw_totals_add_allocated(&totals, &counters[thread], measure);
    assert_int_equal(totals.allocated_objects, THREADS * 3000);
    assert_int_equal(totals.freed_objects, THREADS * 1000);
    assert_int_equal(totals.allocated_bytes, allocated);
    assert_int_equal(totals.freed_bytes, freed);
    uint64_t mallocs = 0;
    uint64_t frees = 0;
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        mallocs += totals.by_size[i].Mallocs;
        frees += totals.by_size[i].Frees;
    }
    assert_int_equal(mallocs, totals.allocated_objects);
    assert_int_equal(frees, totals.freed_objects);
}

/* ---- several writers ---- */

#define WRITERS 4
#define WRITES  50000

static struct mw_counters common;

static void *write_shared(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < WRITES; i++) {
        count_shared(&common, 64);
        count_shared(&common, 65);
        count_shared(&common, 4096);
    }
    return NULL;
}

static void shared_counters_lose_nothing(void **state)
{
    pthread_t threads[WRITERS];
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_shared, NULL), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    struct mw_totals totals = totals_of(&common);
    assert_int_equal(totals.allocated_objects, 3 * WRITERS * WRITES);
    assert_int_equal(totals.allocated_bytes, (uint64_t)(64 + 65 + 4096) * WRITERS * WRITES);
}

static struct mw_counters interrupted;
static volatile sig_atomic_t handler_runs;

static void count_in_handler(int signal)
{
    (void)signal;
    for (unsigned i = 0; i < 10; i++) {
        count_own(&interrupted, 64);
        count_own(&interrupted, 65);
        count_own(&interrupted, 4096);
    }
    handler_runs = handler_runs + 1;
}

/* A signal handler that allocates, in the midst of the counting. */
static void a_signal_handler_loses_nothing(void **state)
{
    const struct itimerval often = {.it_interval = {.tv_usec = 100}, .it_value = {.tv_usec = 100}};
    const struct itimerval never = {0};
    struct sigaction action = {.sa_handler = count_in_handler, .sa_flags = SA_RESTART};
    uint64_t counted = 0;
    (void)state;
    sigaction(SIGVTALRM, &action, NULL);
    setitimer(ITIMER_VIRTUAL, &often, NULL);
    while (handler_runs < 200) { /* or until set_deadline's alarm */
        for (unsigned i = 0; i < 1000; i++) {
            count_own(&interrupted, 64);
            count_own(&interrupted, 65);
            count_own(&interrupted, 4096);
        }
        counted += 1000;
        getppid(); /* the thread sanitizer delivers signals at calls of libc only */
    }
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    signal(SIGVTALRM, SIG_IGN);
    counted += 10 * (uint64_t)handler_runs;
    struct mw_totals totals = totals_of(&interrupted);
    assert_int_equal(totals.allocated_objects, 3 * counted);
    assert_int_equal(totals.allocated_bytes, (64 + 65 + 4096) * counted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_counted_to_the_byte_and_in_its_class),
        cmocka_unit_test(sizes_beyond_the_last_class_fall_into_it),
        cmocka_unit_test(classes_grow_and_the_last_is_as_large_as_an_address_space),
        cmocka_unit_test(classes_mean_what_the_measure_says),
        cmocka_unit_test(what_is_counted_anew_comes_to_the_same),
        cmocka_unit_test(a_countdown_tells_when_it_falls_below_0),
        cmocka_unit_test(totals_add_up_over_threads_and_directions),
        cmocka_unit_test_setup(shared_counters_lose_nothing, set_deadline),
        cmocka_unit_test_setup(a_signal_handler_loses_nothing, set_deadline),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
