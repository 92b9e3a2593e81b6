/* SPDX-License-Identifier: MIT
 *
 * Stacks that are not what one expects. Each way allocates by a function that is called after it, says "done", and
 * kills the program.
 *
 *     strange coroutine|handler|bare|small|deep
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

#define APART  __attribute__((noinline, noclone))
#define BLOCKS 400
#define BYTES  1000

static void *volatile kept;

/* ---- coroutines ---- */

#define COROUTINES    16
#define STACK_BYTES   32768
#define BLOCKS_A_TURN (BLOCKS / COROUTINES / 5)

static ucontext_t scheduler;
static ucontext_t contexts[COROUTINES];

static APART void allocate_in_coroutine(void)
{
    for (unsigned i = 0; i < BLOCKS_A_TURN; i++)
        kept = malloc(BYTES);
}

static void run_coroutine(int number)
{
    for (unsigned turn = 0; turn < 5; turn++) {
        allocate_in_coroutine();
        swapcontext(&contexts[number], &scheduler);
    }
}

/* Their stacks are in one mapping without guards between them: what is above one is another. */
static void coroutine(void)
{
    char *stacks = mmap(NULL, COROUTINES * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stacks != MAP_FAILED, "mmap");
    memset(stacks, 0x41, COROUTINES * STACK_BYTES);
    for (int i = 0; i < COROUTINES; i++) {
        getcontext(&contexts[i]);
        contexts[i].uc_stack.ss_sp = stacks + i * STACK_BYTES;
        contexts[i].uc_stack.ss_size = STACK_BYTES;
        contexts[i].uc_link = &scheduler;
        makecontext(&contexts[i], (void (*)(void))run_coroutine, 1, i);
    }
    for (unsigned turn = 0; turn < 5; turn++)
        for (int i = 0; i < COROUTINES; i++)
            swapcontext(&scheduler, &contexts[i]);
}

/* ---- a handler on a stack of its own ---- */

static APART void allocate_in_handler(void)
{
    kept = malloc(BYTES);
    __asm__ volatile("");
}

static void handle(int number)
{
    (void)number;
    allocate_in_handler();
    __asm__ volatile("");
}

static APART void interrupt(void)
{
    raise(SIGUSR1);
    __asm__ volatile("");
}

static void handler(void)
{
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
    for (unsigned i = 0; i < BLOCKS; i++)
        interrupt();
}

/* ---- code without unwind tables, whose frame pointer points anywhere ---- */

#ifdef __x86_64__
void call_with_frame_pointer(void (*function)(void), uintptr_t frame_pointer);
__asm__(".text\n"
        ".globl call_with_frame_pointer\n"
        ".type call_with_frame_pointer, @function\n"
        "call_with_frame_pointer:\n"
        "    push %rbp\n"
        "    mov %rsi, %rbp\n"
        "    call *%rdi\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size call_with_frame_pointer, . - call_with_frame_pointer\n");
#else
static APART void call_with_frame_pointer(void (*function)(void), uintptr_t frame_pointer)
{
    (void)frame_pointer;
    function();
    __asm__ volatile("");
}
#endif

static APART void allocate_bare(void)
{
    kept = malloc(BYTES + 1); /* or it would be the very code of another way */
    __asm__ volatile("");
}

static void bare(void)
{
    uint64_t here[4] = {0};
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(edge != MAP_FAILED && munmap(edge + 4096, 4096) == 0, "mmap");
    here[0] = (uintptr_t)here; /* a frame that is its own caller */
    here[1] = (uintptr_t)bare;
    here[2] = (uintptr_t)&here[0];
    here[3] = UINT64_MAX;
    const uintptr_t pointers[] = {0,
                                  1,
                                  UINTPTR_MAX,
                                  UINTPTR_MAX - 15,
                                  (uintptr_t)1 << 47,
                                  0xdeadbeef,
                                  (uintptr_t)here,
                                  (uintptr_t)&here[2],
                                  (uintptr_t)here + 3,
                                  (uintptr_t)edge + 4096 - 8,
                                  (uintptr_t)edge + 4096 - 1,
                                  (uintptr_t)edge + 4096,
                                  (uintptr_t)bare,
                                  (uintptr_t)&kept,
                                  (uintptr_t)here + (4 << 20)};
    const unsigned count = sizeof pointers / sizeof pointers[0];
    for (unsigned i = 0; i < BLOCKS; i++)
        call_with_frame_pointer(allocate_bare, pointers[i % count]);
}

/* ---- a thread with a small stack ---- */

static APART void allocate_at_the_end(unsigned left)
{
    volatile char some[256];
    some[0] = 0;
    if (left)
        allocate_at_the_end(left - 1);
    else
        for (unsigned i = 0; i < BLOCKS; i++)
            kept = malloc(BYTES);
    some[1] = some[0];
}

/* Down to the last 8 KiB or so. */
static void *use_up(void *unused)
{
    (void)unused;
    allocate_at_the_end(150);
    return NULL;
}

static void small(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, 65536) == 0, "pthread_attr_setstacksize");
    CHECK(pthread_create(&thread, &attributes, use_up, NULL) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

/* ---- more frames than are kept ---- */

static APART void allocate_deep(unsigned left)
{
    if (left)
        allocate_deep(left - 1);
    else
        kept = malloc(BYTES);
    __asm__ volatile("");
}

static void deep(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        allocate_deep(60 + i);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*way)(void);
    } ways[] = {{"coroutine", coroutine}, {"handler", handler}, {"bare", bare}, {"small", small}, {"deep", deep}};
    CHECK(argc == 2, "one way");
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(argv[1], ways[i].name) == 0)
            ways[i].way();
    (void)!write(STDOUT_FILENO, "done\n", 5);
    kill(getpid(), SIGKILL);
    return 0;
}
