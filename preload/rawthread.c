/* SPDX-License-Identifier: MIT */
#include "rawthread.h"

#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "syscall.h"
#include "threads.h"

#define STACK_BYTES ((size_t)64 * 1024)
#define TLS_BYTES   ((size_t)64 * 1024) /* room below the thread pointer for the static TLS of all modules */
#define TCB_BYTES   ((size_t)4096)      /* and above it for what libc keeps there */

/* Whom the monitor becomes. The first is in no range that distributions, systemd or containers hand out: processes are
 * counted by user (RLIMIT_NPROC), and some program that runs as nobody may count on having few. The second is for user
 * namespaces that know no other. */
static const uid_t nobodies[] = {2147483646, 65534};

#if defined(__x86_64__)

/* The words of the thread control block that compiled code itself looks at (x86-64 TLS ABI; the canary and the pointer
 * guard are glibc's). */
struct tcb {
    void *self;
    void *dtv;
    void *thread;
    uint64_t unused[2];
    uint64_t stack_guard;
    uint64_t pointer_guard;
};

static char *thread_pointer(void)
{
    char *self;
    __asm__("movq %%fs:0, %0" : "=r"(self));
    return self;
}

static void make_thread_block(char *tcb)
{
    const struct tcb *mine = (const struct tcb *)(void *)thread_pointer();
    *(struct tcb *)(void *)tcb = (struct tcb){
        .self = tcb, .thread = tcb, .stack_guard = mine->stack_guard, .pointer_guard = mine->pointer_guard};
    struct mw_thread *thread = (struct mw_thread *)(void *)(tcb + ((char *)&mw_thread - thread_pointer()));
    *thread = (struct mw_thread){.counters = &mw_threads_nobody, .ended = true};
}

bool mw_raw_thread_is_possible(void)
{
    ptrdiff_t ours = thread_pointer() - (char *)&mw_thread;
    ptrdiff_t libcs = thread_pointer() - (char *)&errno;
    return ours > 0 && libcs > 0 && (size_t)ours <= TLS_BYTES && (size_t)libcs <= TLS_BYTES;
}

/* clone(flags, stack, parent_tid, child_tid, tls); the child calls run on the new stack. Returns the tid or -errno. */
static long raw_clone(unsigned long flags, char *stack, int *tid, char *tls, void (*run)(void))
{
    register int *r10 __asm__("r10") = tid;
    register char *r8 __asm__("r8") = tls;
    register void (*r9)(void) __asm__("r9") = run;
    long result;
    __asm__ volatile("syscall\n\t"
                     "testq %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xorl %%ebp, %%ebp\n\t" /* the last frame */
                     "callq *%%r9\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "0"(SYS_clone), "D"(flags), "S"(stack), "d"(tid), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#else

static void make_thread_block(char *tcb)
{
    (void)tcb;
}

bool mw_raw_thread_is_possible(void)
{
    return false;
}

static long raw_clone(unsigned long flags, char *stack, int *tid, char *tls, void (*run)(void))
{
    (void)flags, (void)stack, (void)tid, (void)tls, (void)run;
    return -ENOSYS;
}

#endif

static void set_signal_mask(const uint64_t *mask, uint64_t *before)
{
    mw_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, (long)before, sizeof *mask, 0, 0);
}

size_t mw_raw_thread_bytes(void)
{
    return STACK_BYTES + TLS_BYTES + TCB_BYTES;
}

int mw_raw_thread_start(struct mw_raw_thread *thread, void (*run)(void))
{
    const uint64_t all = UINT64_MAX; /* libc's own signals too, which sigfillset leaves out */
    uint64_t before;
    if (!thread->memory) {
        void *memory = mw_sys_mmap(NULL, mw_raw_thread_bytes(), PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return -ENOMEM;
        thread->memory = memory;
    }
    char *stack_end = (char *)thread->memory + STACK_BYTES;
    char *tcb = stack_end + TLS_BYTES;
    make_thread_block(tcb);
    /* What pthread_create asks for: valgrind knows no other threads. */
    const unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    set_signal_mask(&all, &before);
    long tid = raw_clone(flags, stack_end, &thread->tid, tcb, run);
    set_signal_mask(&before, NULL);
    return tid < 0 ? (int)tid : 0;
}

/* Does this thread have, or could it get back, any right that its user has not? */
static bool is_privileged(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    long uid = mw_syscall6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
    mw_syscall6(SYS_capget, (long)&header, (long)data, 0, 0, 0, 0);
    return uid == 0 || data[0].permitted || data[1].permitted;
}

static bool may_set_uid(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    mw_syscall6(SYS_capget, (long)&header, (long)data, 0, 0, 0, 0);
    return data[0].permitted & 1U << CAP_SETUID;
}

static bool become_nobody(void)
{
    if (!may_set_uid())
        return true; /* then the program cannot change its user either */
    mw_syscall6(SYS_setgroups, 0, 0, 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof nobodies / sizeof nobodies[0]; i++) {
        long id = nobodies[i];
        mw_syscall6(SYS_setresgid, id, id, id, 0, 0, 0);
        if (mw_syscall6(SYS_setresuid, id, id, id, 0, 0, 0) == 0)
            return true;
    }
    return false;
}

bool mw_raw_thread_shed_privilege(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (!is_privileged())
        return true;
    /* The kernel takes a change of credentials for a reason to deny the process its core dumps and debuggers. */
    long dumpable = mw_syscall6(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0, 0);
    bool shed = become_nobody();
    mw_syscall6(SYS_capset, (long)&header, (long)none, 0, 0, 0, 0);
    mw_syscall6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
    if (dumpable == 1)
        mw_syscall6(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
    return shed;
}

/* Linux 5.9 and later close a range at once; before, one by one, as far as a program is likely to have gone. */
static void close_descriptors(unsigned first, unsigned last)
{
    if (first > last || mw_syscall6(SYS_close_range, first, last, 0, 0, 0, 0) == 0)
        return;
    for (unsigned fd = first; fd <= last && fd < 65536; fd++)
        mw_sys_close((int)fd);
}

bool mw_raw_thread_own_descriptors(unsigned keep)
{
    if (mw_syscall6(SYS_unshare, CLONE_FILES, 0, 0, 0, 0, 0))
        return false;
    if (keep)
        close_descriptors(0, keep - 1);
    close_descriptors(keep ? keep + 1 : 0, UINT_MAX);
    return true;
}

void mw_raw_thread_exit(void)
{
    for (;;)
        mw_syscall6(SYS_exit, 0, 0, 0, 0, 0, 0);
}

void mw_raw_thread_wait(struct mw_raw_thread *thread)
{
    uint64_t give_up_ns = mw_clock_ns(CLOCK_MONOTONIC) + 1000000000;
    struct timespec wait = {.tv_nsec = 10000000};
    for (int tid; (tid = __atomic_load_n(&thread->tid, __ATOMIC_ACQUIRE)) && mw_clock_ns(CLOCK_MONOTONIC) < give_up_ns;)
        mw_syscall6(SYS_futex, (long)&thread->tid, FUTEX_WAIT, tid, (long)&wait, 0, 0);
}
