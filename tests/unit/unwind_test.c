/* SPDX-License-Identifier: MIT
 *
 * A walk with a memory finds what a walk of the whole stack finds, whatever the stack has done in between.
 */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unwinding.h"

#define DEEPEST 220 /* more than is asked for, more than is remembered */
#define LOOKS   60000

/* What one thread does. */
static __thread struct walker {
    struct mw_unwind_memory memory;
    uint64_t random;
    unsigned looks;
    unsigned depth;
    bool goes_deep; /* rather than back */
    unsigned cut;
    unsigned most;
    jmp_buf *back_to;
} walker;

/* The stacks that keys have stood for. */
#define SEEN 65536
static __thread struct seen {
    uint64_t key;
    struct unwound stack;
} * seen;

static unsigned any(unsigned below)
{
    walker.random ^= walker.random << 13;
    walker.random ^= walker.random >> 7;
    walker.random ^= walker.random << 17;
    return (unsigned)(walker.random >> 33) % below;
}

static bool is_same(const struct unwound *a, const struct unwound *b)
{
    return a->depth == b->depth && a->is_truncated == b->is_truncated &&
           memcmp(a->frames, b->frames, a->depth * sizeof *a->frames) == 0;
}

static uint64_t hash_of(const struct unwound *stack)
{
    uint64_t hash = stack->is_truncated;
    for (unsigned i = 0; i < stack->depth; i++)
        hash = (hash ^ stack->frames[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

/* Not cmocka's assertions: these are in other threads and in signal handlers, too. */
static void fail_look(const char *what, const struct unwound *whole, const struct unwound *again)
{
    // NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): raised, not sent
    fprintf(stderr, "look %u, depth %u: %s: %u frames%s, and again %u%s\n", walker.looks, walker.depth, what,
            whole->depth, whole->is_truncated ? " cut" : "", again->depth, again->is_truncated ? " cut" : "");
    abort();
}

static __attribute__((noinline)) void look(void)
{
    struct unwound whole;
    struct unwound again;
    // NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c)
    uint64_t key = unwinding_both(&walker.memory, &whole, &again);
    walker.looks++;
    walker.cut += whole.is_truncated;
    walker.most = whole.depth > walker.most ? whole.depth : walker.most;
    if (!is_same(&whole, &again))
        fail_look("another stack", &whole, &again);
    struct seen *by_key = &seen[key % SEEN];
    struct seen *by_stack = &seen[SEEN + hash_of(&whole) % SEEN];
    if (by_key->key == key && !is_same(&by_key->stack, &whole))
        fail_look("a key for two stacks", &by_key->stack, &whole);
    if (by_stack->key != key && is_same(&by_stack->stack, &whole))
        fail_look("two keys for a stack", &by_stack->stack, &whole);
    *by_key = *by_stack = (struct seen){key, whole};
}

static void go_on(void);
static void sized_otherwise(volatile int *sink);

/* Frames of all kinds. What is written into them after the call keeps the call from being the last thing done. */
static __attribute__((noinline)) void plain(volatile int *sink)
{
    go_on();
    *sink = 1;
}

static __attribute__((noinline)) void large(volatile int *sink)
{
    volatile unsigned char room[3000];
    room[0] = 1;
    go_on();
    *sink = room[0];
}

/* Two of them can change places, so that what is further in stands where it stood. */
static __attribute__((noinline)) void sized_at_run_time(volatile int *sink)
{
    volatile unsigned char *room = alloca(16 + any(4) * 16);
    room[0] = 1;
    if (any(2))
        go_on();
    else
        sized_otherwise(sink);
    *sink = room[0];
}

static __attribute__((noinline)) void sized_otherwise(volatile int *sink)
{
    volatile unsigned char *room = alloca(16 + any(4) * 16);
    room[0] = 1;
    if (any(2))
        go_on();
    else
        sized_at_run_time(sink);
    *sink = room[0];
}

static __attribute__((noinline)) void aligned(volatile int *sink)
{
    volatile unsigned char room[64] __attribute__((aligned(64)));
    room[0] = 1;
    go_on();
    *sink = room[0];
}

static __attribute__((noinline)) void full_of_registers(volatile int *sink)
{
    int a = sink[0];
    int b = sink[1];
    int c = sink[2];
    int d = sink[3];
    go_on();
    *sink = a + b * 3 + c * 5 + d * 7;
    go_on();
    *sink = a - b * 3 - c * 5 - d * 7;
}

static int compare(const void *a, const void *b)
{
    (void)a;
    (void)b;
    if (any(4) == 0)
        go_on();
    return 0;
}

/* Through libc's code, with our function at the other end. */
static __attribute__((noinline)) void called_back(volatile int *sink)
{
    int values[2] = {1, 2};
    qsort(values, 2, sizeof *values, compare);
    *sink = values[0];
}

static __attribute__((noinline)) void jumped_over(volatile int *sink)
{
    jmp_buf here;
    jmp_buf *before = walker.back_to;
    unsigned depth = walker.depth;
    walker.back_to = &here;
    if (!setjmp(here))
        go_on();
    walker.back_to = before;
    walker.depth = depth;
    *sink = 1;
}

static void on_signal(int number)
{
    (void)number;
    look();
}

static __attribute__((noinline)) void interrupted(volatile int *sink)
{
    raise(SIGUSR1);
    go_on();
    *sink = 1;
}

static void go_on(void)
{
    static void (*const kinds[])(volatile int *) = {
        plain,       large,       sized_at_run_time, aligned, full_of_registers,
        called_back, jumped_over, interrupted,       plain,   large};
    volatile int sink[4] = {0};
    if (++walker.depth >= DEEPEST)
        walker.goes_deep = false;
    while (walker.looks < LOOKS) {
        look();
        if (any(300) == 0)
            walker.goes_deep = !walker.goes_deep;
        if (any(200) == 0 && walker.back_to)
            longjmp(*walker.back_to, 1);
        if (any(10) < (walker.goes_deep ? 3 : 6) || walker.depth >= DEEPEST)
            break;
        kinds[any(sizeof kinds / sizeof kinds[0])](sink);
    }
    walker.depth--;
}

static void *walk(void *seed) /* a pointer to it */
{
    memset(&walker, 0, sizeof walker);
    seen = calloc(2 * (size_t)SEEN, sizeof *seen);
    assert_non_null(seen);
    walker.random = *(const uint64_t *)seed;
    while (walker.looks < LOOKS)
        go_on();
    free(seen);
    if (walker.most < MW_UNWIND_DEPTH || !walker.cut || walker.cut == walker.looks) {
        fprintf(stderr, "never deep, or never not: %u, %u of %u cut\n", walker.most, walker.cut, walker.looks);
        abort();
    }
    return NULL;
}

static void same_as_a_whole_walk(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t seed = i * UINT64_C(0x9e3779b97f4a7c15);
        walk(&seed);
    }
}

static void same_in_other_threads(void **state)
{
    static uint64_t seeds[] = {UINT64_C(0xd6e8feb86659fd93), UINT64_C(0xa3b195354a39b70d)};
    pthread_t threads[2];
    (void)state;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, walk, &seeds[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* One takes little room and the next much, or the other way about: the innermost frames then stand at the same place,
 * and where the first one's return address stood nothing else has been written. */
static __attribute__((noinline)) void next(volatile int *sink, unsigned room_bytes)
{
    volatile unsigned char *room = alloca(room_bytes);
    room[0] = 1;
    look();
    *sink = room[0];
}

static __attribute__((noinline)) void little(volatile int *sink, unsigned little_bytes, unsigned much_bytes)
{
    volatile unsigned char *room = alloca(little_bytes);
    room[0] = 1;
    next(sink, much_bytes);
    *sink += room[0];
}

static __attribute__((noinline)) void much(volatile int *sink, unsigned little_bytes, unsigned much_bytes)
{
    volatile unsigned char *room = alloca(much_bytes);
    room[0] = 1;
    next(sink, little_bytes);
    *sink -= room[0];
}

static void with_another_frame_pointer(void **state)
{
    void (*volatile kinds[])(volatile int *, unsigned, unsigned) = {little, much, little, much};
    volatile int sink = 0;
    (void)state;
    memset(&walker, 0, sizeof walker);
    seen = calloc(2 * (size_t)SEEN, sizeof *seen);
    assert_non_null(seen);
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        kinds[i](&sink, 16, 512);
    assert_int_equal(walker.looks, sizeof kinds / sizeof kinds[0]);
    free(seen);
}

static void on_a_stack_of_its_own(void **state)
{
    static char room[256 * 1024];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    (void)state;
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    walk(&(uint64_t){UINT64_C(0x2545f4914f6cdd1d)});
    stack.ss_flags = SS_DISABLE;
    assert_int_equal(sigaltstack(&stack, NULL), 0);
}

static int start(void **state)
{
    (void)state;
    unwinding_start();
    return signal(SIGUSR1, on_signal) == SIG_ERR;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_a_whole_walk),
        cmocka_unit_test(same_in_other_threads),
        cmocka_unit_test(with_another_frame_pointer),
        cmocka_unit_test(on_a_stack_of_its_own),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
