/* SPDX-License-Identifier: MIT
 *
 * Nothing here allocates on behalf of the counters: blocks are sizes that are passed from hand to hand.
 */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "store.h"

#define DEADLINE_S 50

/* The round of a thread's destructors in which code can run last: glibc's fourth, but the thread sanitizer forgets the
 * thread in that one. */
#ifdef __SANITIZE_THREAD__
#define LAST_ROUND 3
#else
#define LAST_ROUND 4
#endif

#define GRANT 8192

/* What is done about a block whose usable size is its weight (preload/count.c). */
static void count_allocated(uint64_t usable_bytes)
{
    struct mw_counters *counters = mw_thread.counters;
    uint64_t class = usable_bytes % 8 ? UINT64_MAX : usable_bytes / 8;
    bool is_fast = !mw_counter_take(&counters->countdown, usable_bytes) && class < MW_ALLOCATED_CLASSES;
    if (!is_fast && !mw_threads_renew_grant(counters))
        mw_threads_is_sample_due(usable_bytes);
    mw_threads_allocated_slow(class, usable_bytes);
}

static void count_freed(uint64_t usable_bytes)
{
    uint64_t class = usable_bytes % 8 ? UINT64_MAX : usable_bytes / 8;
    if (class < MW_FREED_CLASSES && class < mw_thread.counters->freed_classes)
        mw_counter_add(&mw_thread.counters->freed[class], 1);
    else
        mw_threads_freed_slow(class, usable_bytes);
}

/* For all that the tests wait for. */
static int set_deadline(void **state)
{
    (void)state;
    alarm(DEADLINE_S);
    return 0;
}

/* Keys made before and after the library's own: their destructors run on either side of it. */
static pthread_key_t early_key;
static pthread_key_t late_key;

static unsigned destructions; /* of both keys */

/* A destructor that allocates and frees, and asks to be run as often as there is. The value is the round. */
static void allocate_late(pthread_key_t key, void *value)
{
    uintptr_t round = (uintptr_t)value;
    count_allocated(48);
    count_allocated(100000);
    count_freed(48);
    __atomic_fetch_add(&destructions, 1, __ATOMIC_RELAXED);
    if (round < LAST_ROUND)
        pthread_setspecific(key, (void *)(round + 1)); // NOLINT(performance-no-int-to-ptr)
}

static void early_destructor(void *value)
{
    allocate_late(early_key, value);
}

static void late_destructor(void *value)
{
    allocate_late(late_key, value);
}

static int start_threads(void **state)
{
    static const struct mw_options options = {.directory = MW_SEGMENT_DIRECTORY, .run = ""};
    (void)state;
    mw_threads_measure((struct mw_measure){.scale_bytes = 8}, GRANT, MW_FREED_CLASSES);
    count_allocated(16); /* this thread has allocated before the library starts */
    if (mw_store_start(&options))
        return -1;
    if (pthread_key_create(&early_key, early_destructor))
        return -1;
    mw_threads_start();
    return pthread_key_create(&late_key, late_destructor);
}

static int end_store(void **state)
{
    (void)state;
    mw_store_end(0);
    return 0;
}

/* What has been counted since `before`. */
static struct mw_totals since(const struct mw_totals *before)
{
    struct mw_totals now;
    mw_threads_sum(&now);
    now.allocated_bytes -= before->allocated_bytes;
    now.freed_bytes -= before->freed_bytes;
    now.allocated_objects -= before->allocated_objects;
    now.freed_objects -= before->freed_objects;
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        now.by_size[i].Mallocs -= before->by_size[i].Mallocs;
        now.by_size[i].Frees -= before->by_size[i].Frees;
    }
    return now;
}

static pthread_t start(void *(*run)(void *), void *context)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, context), 0);
    return thread;
}

/* ---- the slots that threads were seen to have ---- */

#define MOST_SEEN 4096
static struct {
    uintptr_t slot;
    unsigned round; /* in which it was seen last */
} seen[MOST_SEEN];
static unsigned seen_count;
static unsigned round_now;
static unsigned round_count; /* different ones seen in this round */

static void begin_round(void)
{
    round_now++;
    round_count = 0;
}

static unsigned find_slot(uintptr_t slot)
{
    unsigned i = 0;
    while (i < seen_count && seen[i].slot != slot)
        i++;
    return i;
}

static void note_slot(uintptr_t slot)
{
    unsigned i = find_slot(slot);
    assert_true(i < MOST_SEEN);
    if (i == seen_count)
        seen[seen_count++].slot = slot;
    round_count += seen[i].round != round_now;
    seen[i].round = round_now;
}

static void a_thread_counts_what_it_does(void **state)
{
    struct mw_totals before;
    (void)state;
    mw_threads_sum(&before);
    for (unsigned i = 0; i < 1000; i++)
        count_allocated(64);
    count_allocated(12345);
    count_allocated(7);
    for (unsigned i = 0; i < 400; i++)
        count_freed(64);
    struct mw_totals totals = since(&before);
    assert_int_equal(totals.allocated_objects, 1002);
    assert_int_equal(totals.allocated_bytes, 64000 + 12345 + 7);
    assert_int_equal(totals.freed_objects, 400);
    assert_int_equal(totals.freed_bytes, 25600);
    assert_int_equal(totals.by_size[3].Size, 64);
    assert_int_equal(totals.by_size[3].Mallocs, 1000);
    assert_int_equal(totals.by_size[3].Frees, 400);
}

/* ---- blocks that are freed by other threads than those that allocated them ---- */

#define WORKERS 8
#define BLOCKS  20000

/* Between two neighbours a ring of blocks on their way, by size; 0: none. */
#define RING 256
static uint64_t rings[WORKERS][RING];
static unsigned workers_running;

static uint64_t block_size(unsigned worker, unsigned i)
{
    return i % 7 == 0 ? 2000 + i % 100000 : i % 5 == 0 ? 3 + worker : 16 * (1 + i % 60);
}

/* Allocates into its ring and frees from its neighbour's. */
static void *exchange(void *context)
{
    unsigned self = *(const unsigned *)context;
    unsigned given = 0;
    unsigned taken = 0;
    while (given < BLOCKS || taken < BLOCKS) {
        uint64_t *to = &rings[self][given % RING];
        uint64_t *from = &rings[(self + 1) % WORKERS][taken % RING];
        bool moved = false;
        if (given < BLOCKS && !__atomic_load_n(to, __ATOMIC_ACQUIRE)) {
            uint64_t size = block_size(self, given++);
            count_allocated(size);
            __atomic_store_n(to, size, __ATOMIC_RELEASE);
            moved = true;
        }
        uint64_t size = taken < BLOCKS ? __atomic_load_n(from, __ATOMIC_ACQUIRE) : 0;
        if (size) {
            count_freed(size);
            taken++;
            __atomic_store_n(from, 0, __ATOMIC_RELEASE);
            moved = true;
        }
        if (!moved)
            sched_yield();
    }
    __atomic_fetch_sub(&workers_running, 1, __ATOMIC_RELEASE);
    return mw_thread.counters;
}

static void counts_are_exact_over_threads_and_live_is_never_below_0(void **state)
{
    struct mw_totals before;
    pthread_t threads[WORKERS];
    unsigned numbers[WORKERS];
    uint64_t bytes = 0;
    (void)state;
    mw_threads_sum(&before);
    workers_running = WORKERS;
    for (unsigned i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        threads[i] = start(exchange, &numbers[i]);
    }
    while (__atomic_load_n(&workers_running, __ATOMIC_ACQUIRE)) {
        struct mw_totals totals = since(&before);
        assert_true(totals.allocated_bytes >= totals.freed_bytes);
        assert_true(totals.allocated_objects >= totals.freed_objects);
        for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
            assert_true(totals.by_size[i].Mallocs >= totals.by_size[i].Frees);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        void *slot;
        pthread_join(threads[i], &slot);
        note_slot((uintptr_t)slot);
    }
    for (unsigned worker = 0; worker < WORKERS; worker++)
        for (unsigned i = 0; i < BLOCKS; i++)
            bytes += block_size(worker, i);
    struct mw_totals totals = since(&before);
    assert_int_equal(totals.allocated_objects, WORKERS * BLOCKS);
    assert_int_equal(totals.freed_objects, WORKERS * BLOCKS);
    assert_int_equal(totals.allocated_bytes, bytes);
    assert_int_equal(totals.freed_bytes, bytes);
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
        assert_int_equal(totals.by_size[i].Mallocs, totals.by_size[i].Frees);
}

/* ---- how long slots are kept ---- */

/* Counts, and returns its slot. */
static void *live_shortly(void *unused)
{
    (void)unused;
    count_allocated(32);
    count_freed(32);
    return mw_thread.counters;
}

/* Starts `count` threads, `at_once` at a time, and returns how many different slots they had. */
static unsigned slots_of(unsigned count, unsigned at_once, void *(*run)(void *))
{
    pthread_t threads[16];
    assert_true(at_once <= COUNT(threads));
    begin_round();
    for (unsigned done = 0; done < count; done += at_once) {
        for (unsigned i = 0; i < at_once; i++)
            threads[i] = start(run, NULL);
        for (unsigned i = 0; i < at_once; i++) {
            void *slot;
            pthread_join(threads[i], &slot);
            note_slot((uintptr_t)slot);
        }
    }
    return round_count;
}

static void ten_thousand_short_threads_need_as_many_slots_as_live_at_once(void **state)
{
    struct mw_totals before;
    (void)state;
    mw_threads_sum(&before);
    assert_int_equal(slots_of(5000, 1, live_shortly), 1);
    assert_in_range(slots_of(5000, 10, live_shortly), 1, 10);
    struct mw_totals totals = since(&before);
    assert_int_equal(totals.allocated_objects, 10000);
    assert_int_equal(totals.allocated_bytes, 320000);
    assert_int_equal(totals.freed_objects, 10000);
    assert_int_equal(totals.freed_bytes, 320000);
}

static void *live_with_destructors(void *unused)
{
    (void)unused;
    count_allocated(32);
    pthread_setspecific(early_key, (void *)1);
    pthread_setspecific(late_key, (void *)1);
    return mw_thread.counters;
}

static void what_destructors_do_to_the_last_is_counted(void **state)
{
    const unsigned threads = 1000;
    struct mw_totals before;
    (void)state;
    destructions = 0;
    mw_threads_sum(&before);
    assert_int_equal(slots_of(threads, 1, live_with_destructors), 1);
    struct mw_totals totals = since(&before);
    assert_int_equal(destructions, 2 * threads * LAST_ROUND);
    assert_int_equal(totals.allocated_objects, threads + 2 * destructions);
    assert_int_equal(totals.allocated_bytes, 32 * threads + (48 + 100000) * (uint64_t)destructions);
    assert_int_equal(totals.freed_objects, destructions);
    assert_int_equal(totals.freed_bytes, 48 * (uint64_t)destructions);
}

static pthread_key_t freeing_key;
static uintptr_t freeing_slot;

static void free_first_thing(void *unused)
{
    (void)unused;
    count_freed(48);
    freeing_slot = (uintptr_t)mw_thread.counters;
}

static void *live_without_a_block(void *value)
{
    pthread_setspecific(freeing_key, value);
    return NULL;
}

/* A thread whose first and only heap call comes from a destructor: it frees what its creator gave it. */
static void a_thread_that_only_frees_at_its_end_leaves_no_slot_behind(void **state)
{
    struct mw_totals before;
    const unsigned threads = 1000;
    (void)state;
    assert_int_equal(pthread_key_create(&freeing_key, free_first_thing), 0);
    mw_threads_sum(&before);
    begin_round();
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(start(live_without_a_block, &freeing_key), NULL);
        note_slot(freeing_slot); /* nobody where the shared one had to do: as good */
    }
    assert_int_equal(since(&before).freed_objects, threads);
    assert_in_range(round_count, 1, 2);
    pthread_key_delete(freeing_key);
}

/* ---- fork ---- */

#define SIBLINGS 5

static pthread_barrier_t siblings_counted;
static pthread_barrier_t siblings_may_end;

static uintptr_t sibling_slots[SIBLINGS];

static void *count_and_wait(void *context)
{
    count_allocated(1000);
    *(uintptr_t *)context = (uintptr_t)mw_thread.counters;
    pthread_barrier_wait(&siblings_counted);
    pthread_barrier_wait(&siblings_may_end);
    return NULL;
}

/* In the child. Takes slots as new threads would, and tells which step went wrong; 0: none. */
static int use_slots_after_fork(const struct mw_totals *before)
{
    struct mw_counters *own = mw_thread.counters;
    static struct mw_counters *taken[MOST_SEEN + 1];
    alarm(DEADLINE_S);
    mw_store_after_fork();
    mw_threads_after_fork();
    struct mw_totals totals = since(before);
    if (totals.allocated_objects != SIBLINGS || totals.freed_objects != 0)
        return 1; /* what the others had counted stays */
    count_allocated(8);
    if (mw_thread.counters != own)
        return 2;
    unsigned known = seen_count - (find_slot((uintptr_t)&mw_threads_nobody) <
                                   seen_count); /* every slot there is but this thread's own */
    for (unsigned i = 0; i <= known; i++) {
        mw_thread.counters = &mw_threads_nobody;
        count_allocated(8);
        taken[i] = mw_thread.counters;
        if (taken[i] == &mw_threads_nobody || taken[i] == own)
            return 3; /* a slot that a living thread has */
        for (unsigned k = 0; k < i; k++)
            if (taken[k] == taken[i])
                return 4;
        if (i < known && find_slot((uintptr_t)taken[i]) == seen_count)
            return 5; /* a new one, while those of threads that are no more lie about */
    }
    mw_thread.counters = own;
    return since(before).allocated_objects == SIBLINGS + 1 + known + 1 ? 0 : 6;
}

static void a_forked_child_keeps_the_counts_and_reuses_the_slots(void **state)
{
    struct mw_totals before;
    pthread_t threads[SIBLINGS];
    int status;
    (void)state;
    pthread_barrier_init(&siblings_counted, NULL, SIBLINGS + 1);
    pthread_barrier_init(&siblings_may_end, NULL, SIBLINGS + 1);
    slots_of(3 * SIBLINGS, 3 * SIBLINGS, live_shortly); /* free slots, which the child may take as well */
    mw_threads_sum(&before);
    for (unsigned i = 0; i < SIBLINGS; i++)
        threads[i] = start(count_and_wait, &sibling_slots[i]);
    pthread_barrier_wait(&siblings_counted);
    for (unsigned i = 0; i < SIBLINGS; i++)
        note_slot(sibling_slots[i]);
    pid_t child = fork();
    if (child == 0) {
        int wrong = use_slots_after_fork(&before);
        mw_store_end(0);
        _exit(wrong);
    }
    assert_true(child > 0);
    pthread_barrier_wait(&siblings_may_end);
    for (unsigned i = 0; i < SIBLINGS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(since(&before).allocated_objects, SIBLINGS); /* the child's are the child's */
}

/* ---- threads that begin while a sum is taken ---- */

/* The thread sanitizer delivers one for each sum, and is slow to sum. */
#ifdef __SANITIZE_THREAD__
#define BEGINNINGS 50
#else
#define BEGINNINGS 2000
#endif

static struct mw_counters *late_slot; /* one that a sum comes to late */
static volatile sig_atomic_t beginnings;

/* A block that is allocated by what is to the counters a new thread, and freed by an old one. */
static void begin_a_thread(int signal)
{
    struct mw_counters *own = mw_thread.counters;
    (void)signal;
    mw_thread.counters = &mw_threads_nobody;
    count_allocated(100000);
    mw_thread.counters = late_slot;
    count_freed(100000);
    mw_thread.counters = own;
    beginnings = beginnings + 1;
}

static void live_is_not_below_0_while_threads_begin(void **state)
{
    const struct itimerspec often = {.it_interval = {.tv_nsec = 50000}, .it_value = {.tv_nsec = 50000}};
    struct sigaction action = {.sa_handler = begin_a_thread, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct mw_counters *own = mw_thread.counters;
    struct mw_totals before;
    timer_t timer;
    (void)state;
    for (unsigned i = 0; i < 500; i++) { /* more than were ever given back: from here on every slot is a new one */
        mw_thread.counters = &mw_threads_nobody;
        count_allocated(8);
    }
    late_slot = mw_thread.counters;
    mw_thread.counters = own;
    mw_threads_sum(&before); /* what lives on from before would hide what is missed */
    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
    while (beginnings < BEGINNINGS) { /* or until set_deadline's alarm */
        struct mw_totals totals = since(&before);
        assert_true(totals.allocated_bytes >= totals.freed_bytes);
        assert_true(totals.allocated_objects >= totals.freed_objects);
        getppid(); /* the thread sanitizer delivers signals at calls of libc only */
    }
    timer_delete(timer);
    signal(SIGUSR1, SIG_IGN);
    struct mw_totals totals = since(&before);
    assert_int_equal(totals.allocated_objects, beginnings);
    assert_int_equal(totals.freed_objects, beginnings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_thread_counts_what_it_does, set_deadline),
        cmocka_unit_test_setup(counts_are_exact_over_threads_and_live_is_never_below_0, set_deadline),
        cmocka_unit_test_setup(ten_thousand_short_threads_need_as_many_slots_as_live_at_once, set_deadline),
        cmocka_unit_test_setup(what_destructors_do_to_the_last_is_counted, set_deadline),
        cmocka_unit_test_setup(a_thread_that_only_frees_at_its_end_leaves_no_slot_behind, set_deadline),
        cmocka_unit_test_setup(a_forked_child_keeps_the_counts_and_reuses_the_slots, set_deadline),
        /* The last: it leaves slots behind that the others would not know. */
        cmocka_unit_test_setup(live_is_not_below_0_while_threads_begin, set_deadline),
    };
    return cmocka_run_group_tests_name("threads", tests, start_threads, end_store);
}
