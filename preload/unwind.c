/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

#include "cfi.h"
#include "syscall.h"
#include "threads.h"

#define PAGE_BYTES       ((uintptr_t)4096)
#define MAIN_STACK_BYTES ((uintptr_t)128 << 20) /* the kernel keeps at least so much below the top free of mappings */
#define FARTHEST_BYTES   ((uintptr_t)1 << 20)   /* from what is known of a stack to a frame that is believed */
#define FRAMES_TRIED     (1 << 16)              /* of our own and of others'; a bound, never reached */
#define REMEMBERED       4096                   /* return addresses; a power of two */

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* What glibc's dlfcn.h has from 2.35 on. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    void *link_map;
    void *eh_frame; /* the module's .eh_frame_hdr */
    unsigned long long reserved[7];
};

static int (*find_object)(void *address, struct found_object *result);
static enum mw_unwind_kind kind;
static uintptr_t main_stack_end;
static uintptr_t own_start;
static uintptr_t own_end;

void mw_unwind_start(enum mw_unwind_kind chosen)
{
    struct found_object own;
    kind = chosen;
    /* The program's path is the last thing on the first thread's stack. */
    main_stack_end = ((uintptr_t)getauxval(AT_EXECFN) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    void *found = dlsym(RTLD_DEFAULT, "_dl_find_object");
    if (found)
        memcpy(&find_object, &found, sizeof found);
    else
        dlerror();
    if (find_object && find_object((void *)mw_unwind_start, &own) == 0) {
        own_start = (uintptr_t)own.map_start;
        own_end = (uintptr_t)own.map_end;
    }
}

bool mw_unwind_module_of(uintptr_t address, struct mw_unwind_module *module)
{
    struct found_object found;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (!find_object || find_object((void *)address, &found))
        return false;
    *module = (struct mw_unwind_module){
        .start = (uintptr_t)found.map_start, .end = (uintptr_t)found.map_end, .link_map = found.link_map};
    return true;
}

/* ---- the stack's memory ---- */

/* Can the kernel read there? It looks at the mask before it finds that there is no such operation. */
static bool is_readable(uintptr_t address)
{
    return mw_syscall6(SYS_rt_sigprocmask, -1, (long)address, 0, 8, 0, 0) != -EFAULT;
}

/* The stack has grown: is it the one that is known? */
static bool extend_down_to(uintptr_t page)
{
    if (page >= mw_thread.stack_low || mw_thread.stack_low - page > 64 * PAGE_BYTES)
        return false;
    while (mw_thread.stack_low > page && is_readable(mw_thread.stack_low - PAGE_BYTES))
        mw_thread.stack_low -= PAGE_BYTES;
    return mw_thread.stack_low <= page;
}

/* The pages around sp; the page that it points into is in use. */
static void begin_stack(uintptr_t sp)
{
    uintptr_t page = sp & ~(PAGE_BYTES - 1);
    if (sp < main_stack_end && main_stack_end - sp < MAIN_STACK_BYTES) {
        mw_thread.stack_low = page;
        mw_thread.stack_high = main_stack_end;
    } else if ((sp < mw_thread.stack_low || sp >= mw_thread.stack_high) && !extend_down_to(page)) {
        mw_thread.stack_low = page;
        mw_thread.stack_high = page + PAGE_BYTES;
    }
}

/* The word lies above what is known: looks further, page by page. */
static bool extend_up_to(uintptr_t address)
{
    if (address < mw_thread.stack_high)
        return false; /* below the stack, then */
    while (address >= mw_thread.stack_high) {
        if (address - mw_thread.stack_high >= FARTHEST_BYTES || !is_readable(mw_thread.stack_high))
            return false;
        mw_thread.stack_high += PAGE_BYTES;
    }
    return true;
}

static inline __attribute__((always_inline)) bool read_word(uintptr_t address, uintptr_t *value)
{
    if (UNLIKELY(address % sizeof *value) ||
        (UNLIKELY(address - mw_thread.stack_low >= mw_thread.stack_high - mw_thread.stack_low) &&
         !extend_up_to(address)))
        return false;
    *value = *(const uintptr_t *)address; // NOLINT(performance-no-int-to-ptr)
    return true;
}

/* ---- what a return address says ---- */

/* Direct-mapped, shared by all threads without a lock: the first word is the address and the second combined, so that a
 * pair of which two threads wrote one half each fits no address. */
static struct {
    uint64_t mixed;
    uint64_t rule;
} remembered[REMEMBERED];

static size_t place_of(uintptr_t address)
{
    return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
}

_Static_assert(REMEMBERED == 1 << (64 - 52), "place_of yields 12 bits");

void mw_unwind_forget(void)
{
    for (size_t i = 0; i < REMEMBERED; i++)
        __atomic_store_n(&remembered[i].mixed, 0, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) uint64_t learn_rule(uintptr_t address)
{
    struct mw_cfi_rule rule = {.kind = MW_CFI_NONE};
    struct found_object found;
    size_t place = place_of(address);
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (find_object && find_object((void *)address, &found) == 0 && found.eh_frame)
        rule = mw_cfi_find(found.eh_frame, (uintptr_t)found.map_start, (uintptr_t)found.map_end, address);
    uint64_t packed = mw_cfi_pack(rule);
    __atomic_store_n(&remembered[place].rule, packed, __ATOMIC_RELAXED);
    __atomic_store_n(&remembered[place].mixed, packed ^ address, __ATOMIC_RELAXED);
    return packed;
}

/* `address` lies in the call, or is where a signal came. */
static inline __attribute__((always_inline)) uint64_t rule_of(uintptr_t address)
{
    size_t place = place_of(address);
    uint64_t mixed = __atomic_load_n(&remembered[place].mixed, __ATOMIC_RELAXED);
    uint64_t packed = __atomic_load_n(&remembered[place].rule, __ATOMIC_RELAXED);
    return LIKELY((mixed ^ packed) == address) ? packed : learn_rule(address);
}

/* ---- from frame to frame ---- */

struct frame {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
    bool is_exact; /* pc is where a signal came, not a return address */
};

enum step { STEP_ON, STEP_END, STEP_LOST };

static enum step by_frame_pointer(struct frame *frame)
{
    uintptr_t fp;
    uintptr_t pc;
    if (frame->fp < frame->sp || !read_word(frame->fp, &fp) || !read_word(frame->fp + sizeof fp, &pc))
        return frame->fp ? STEP_LOST : STEP_END;
    *frame = (struct frame){.pc = pc, .sp = frame->fp + 2 * sizeof fp, .fp = fp};
    return STEP_ON;
}

#if defined(__x86_64__)

/* The kernel has left the interrupted registers on the stack (struct ucontext behind the return address). */
static enum step through_signal(struct frame *frame)
{
    uintptr_t registers = frame->sp + offsetof(ucontext_t, uc_mcontext.gregs);
    struct frame before = {.is_exact = true};
    if (!read_word(registers + REG_RIP * sizeof(greg_t), &before.pc) ||
        !read_word(registers + REG_RSP * sizeof(greg_t), &before.sp) ||
        !read_word(registers + REG_RBP * sizeof(greg_t), &before.fp))
        return STEP_LOST;
    /* A handler on a stack of its own has interrupted another one, anywhere. */
    if (before.sp < mw_thread.stack_low || before.sp >= mw_thread.stack_high) {
        if (!is_readable(before.sp))
            return STEP_LOST;
        mw_thread.stack_low = mw_thread.stack_high = 0;
        begin_stack(before.sp);
    }
    *frame = before;
    return STEP_ON;
}

/* What is not the common case. */
static __attribute__((noinline)) enum step by_rare_rule(struct frame *frame, enum mw_cfi_kind rare)
{
    switch (rare) {
    case MW_CFI_SIGNAL:
        return through_signal(frame);
    case MW_CFI_END:
        return STEP_END;
    default:
        return by_frame_pointer(frame);
    }
}

static inline __attribute__((always_inline)) enum step by_table(struct frame *frame)
{
    uint64_t rule = rule_of(frame->is_exact ? frame->pc : frame->pc - 1);
    enum mw_cfi_kind found = mw_cfi_packed_kind(rule);
    uintptr_t cfa;
    if (LIKELY(found == MW_CFI_FROM_SP))
        cfa = frame->sp + (uintptr_t)mw_cfi_packed_cfa_offset(rule);
    else if (LIKELY(found == MW_CFI_FROM_FP))
        cfa = frame->fp + (uintptr_t)mw_cfi_packed_cfa_offset(rule);
    else if (found != MW_CFI_AT_FP)
        return by_rare_rule(frame, found);
    else if (!read_word(frame->fp + (uintptr_t)mw_cfi_packed_cfa_offset(rule), &cfa))
        return STEP_LOST;
    uintptr_t fp = frame->fp;
    /* A caller's frame lies above, always: so there is an end. */
    if (UNLIKELY(cfa <= frame->sp) || !read_word(cfa - sizeof cfa, &frame->pc) ||
        (mw_cfi_packed_saves_fp(rule) && !read_word(cfa + (uintptr_t)mw_cfi_packed_fp_offset(rule), &fp)))
        return STEP_LOST;
    frame->sp = cfa;
    frame->fp = fp;
    frame->is_exact = false;
    return STEP_ON;
}

static inline __attribute__((always_inline)) struct frame here(void)
{
    struct frame frame;
    __asm__ volatile("leaq 0(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2"
                     : "=r"(frame.pc), "=r"(frame.sp), "=r"(frame.fp));
    frame.is_exact = true;
    return frame;
}

#else

static enum step by_table(struct frame *frame)
{
    return by_frame_pointer(frame);
}

static inline __attribute__((always_inline)) struct frame here(void)
{
    uintptr_t fp = (uintptr_t)__builtin_frame_address(0);
    return (struct frame){.pc = own_start, .sp = fp, .fp = fp};
}

#endif

static bool is_own(uintptr_t pc)
{
    return pc - own_start < own_end - own_start;
}

unsigned mw_unwind(uint64_t *frames, unsigned capacity, bool *truncated)
{
    unsigned depth = 0;
    struct frame frame = here();
    enum step step = STEP_ON;
    begin_stack(frame.sp);
    /* Out of our own frames by their tables, which are surely there. */
    for (unsigned tries = 0; tries < FRAMES_TRIED && step == STEP_ON && is_own(frame.pc); tries++)
        step = by_table(&frame);
    while (step == STEP_ON && frame.pc >= PAGE_BYTES) {
        frames[depth++] = frame.pc;
        if (depth == capacity)
            break;
        step = kind == MW_UNWIND_FRAME_POINTERS ? by_frame_pointer(&frame) : by_table(&frame);
    }
    *truncated = step == STEP_LOST || depth == capacity;
    return depth;
}
