/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

#include "cfi.h"
#include "real.h"
#include "syscall.h"
#include "threads.h"

#define PAGE_BYTES       ((uintptr_t)4096)
#define MAIN_STACK_BYTES ((uintptr_t)128 << 20) /* the kernel keeps at least so much below the top free of mappings */
#define FARTHEST_BYTES   ((uintptr_t)1 << 20)   /* from what is known of a stack to a frame that is believed */
#define FRAMES_TRIED     (1 << 10)              /* our own are few; a bound, never reached */
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
        mw_real_forget_error();
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

/* Each in its place or next door; shared by all threads without a lock: the first word is the address and the second
 * combined, so that a pair of which two threads wrote one half each fits no address. */
static struct {
    uint64_t mixed;
    uint64_t rule;
} remembered[REMEMBERED];

static size_t place_of(uintptr_t address)
{
    return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
}

_Static_assert(REMEMBERED == 1 << (64 - 52), "place_of yields 12 bits");

/* Goes up when what was remembered may not hold any more. */
static uint32_t generation = 1;

void mw_unwind_forget(void)
{
    __atomic_fetch_add(&generation, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < REMEMBERED; i++)
        __atomic_store_n(&remembered[i].mixed, 0, __ATOMIC_RELAXED);
}

static void remember(size_t place, uintptr_t address, uint64_t packed)
{
    __atomic_store_n(&remembered[place].rule, packed, __ATOMIC_RELAXED);
    __atomic_store_n(&remembered[place].mixed, packed ^ address, __ATOMIC_RELAXED);
}

/* What it says, if it is remembered in that place; else 0. */
static inline uint64_t recall(size_t place, uintptr_t address)
{
    uint64_t mixed = __atomic_load_n(&remembered[place].mixed, __ATOMIC_RELAXED);
    uint64_t packed = __atomic_load_n(&remembered[place].rule, __ATOMIC_RELAXED);
    return LIKELY((mixed ^ packed) == address) ? packed : 0;
}

/* Its place is empty or another's. The other goes next door, where it is found as well: two frames of one stack that
 * share a place must not drive each other out time and again. */
static __attribute__((noinline)) uint64_t learn_rule(uintptr_t address)
{
    struct mw_cfi_rule rule = {.kind = MW_CFI_NONE};
    struct found_object found;
    size_t place = place_of(address);
    uint64_t next_door = recall(place ^ 1, address);
    if (next_door)
        return next_door;
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    if (find_object && find_object((void *)address, &found) == 0 && found.eh_frame)
        rule = mw_cfi_find(found.eh_frame, (uintptr_t)found.map_start, (uintptr_t)found.map_end, address);
    uint64_t packed = mw_cfi_pack(rule);
    uint64_t others = __atomic_load_n(&remembered[place].rule, __ATOMIC_RELAXED);
    if (others)
        remember(place ^ 1, others ^ __atomic_load_n(&remembered[place].mixed, __ATOMIC_RELAXED), others);
    remember(place, address, packed);
    return packed;
}

/* `address` lies in the call, or is where a signal came. */
static inline __attribute__((always_inline)) uint64_t rule_of(uintptr_t address)
{
    uint64_t packed = recall(place_of(address), address);
    return LIKELY(packed) ? packed : learn_rule(address);
}

/* ---- from frame to frame ---- */

struct frame {
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
    uintptr_t fp_at; /* where it was read; 0: it is the callee's still; 1: this frame was not found by words alone */
    bool is_exact;   /* pc is where a signal came, not a return address */
    bool used_fp;    /* it was found by the callee's fp */
};

enum step { STEP_ON, STEP_END, STEP_LOST };

static enum step by_frame_pointer(struct frame *frame)
{
    uintptr_t fp;
    uintptr_t pc;
    if (frame->fp < frame->sp || !read_word(frame->fp, &fp) || !read_word(frame->fp + sizeof fp, &pc))
        return frame->fp ? STEP_LOST : STEP_END;
    /* Where it is none, these are any two words: code is neither in the stack nor in the kernel. */
    if ((intptr_t)pc < 0 || pc - mw_thread.stack_low < mw_thread.stack_high - mw_thread.stack_low)
        return STEP_LOST;
    *frame = (struct frame){.pc = pc, .sp = frame->fp + 2 * sizeof fp, .fp = fp, .fp_at = frame->fp, .used_fp = true};
    return STEP_ON;
}

#if defined(__x86_64__)

/* The kernel has left the interrupted registers on the stack (struct ucontext behind the return address). */
static enum step through_signal(struct frame *frame)
{
    uintptr_t registers = frame->sp + offsetof(ucontext_t, uc_mcontext.gregs);
    struct frame before = {.is_exact = true, .fp_at = 1};
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
    uintptr_t fp = frame->fp;
    uintptr_t fp_at = 0;
    if (LIKELY(found == MW_CFI_FROM_SP))
        cfa = frame->sp + (uintptr_t)mw_cfi_packed_cfa_offset(rule);
    else if (LIKELY(found == MW_CFI_FROM_FP))
        cfa = frame->fp + (uintptr_t)mw_cfi_packed_cfa_offset(rule);
    else if (found != MW_CFI_AT_FP)
        return by_rare_rule(frame, found);
    else if (!read_word(frame->fp + (uintptr_t)mw_cfi_packed_cfa_offset(rule), &cfa))
        return STEP_LOST;
    if (mw_cfi_packed_saves_fp(rule))
        fp_at = cfa + (uintptr_t)mw_cfi_packed_fp_offset(rule);
    /* A caller's frame lies above, always: so there is an end. */
    if (UNLIKELY(cfa <= frame->sp) || !read_word(cfa - sizeof cfa, &frame->pc) || (fp_at && !read_word(fp_at, &fp)))
        return STEP_LOST;
    frame->sp = cfa;
    frame->fp = fp;
    frame->fp_at = UNLIKELY(found == MW_CFI_AT_FP) ? 1 : fp_at;
    frame->used_fp = found != MW_CFI_FROM_SP;
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

static inline __attribute__((always_inline)) enum step take_step(struct frame *frame)
{
    /* Out of our own frames by their tables, which are surely there. */
    enum step step =
        UNLIKELY(kind == MW_UNWIND_FRAME_POINTERS) && !is_own(frame->pc) ? by_frame_pointer(frame) : by_table(frame);
    return step == STEP_ON && UNLIKELY(frame->pc < PAGE_BYTES) ? STEP_END : step;
}

unsigned mw_unwind(uint64_t *frames, unsigned capacity, bool *truncated)
{
    unsigned depth = 0;
    struct frame frame = here();
    enum step step;
    begin_stack(frame.sp);
    for (unsigned tries = 0; (step = take_step(&frame)) == STEP_ON && depth < capacity && tries < FRAMES_TRIED; tries++)
        if (depth || !is_own(frame.pc))
            frames[depth++] = frame.pc;
    *truncated = step != STEP_END;
    return depth;
}

/* ---- with a memory ---- */

/* How far, from there on, the trail's words are what they were. They lie in order: where the outermost can be read, all
 * can. */
static unsigned follow(const struct mw_unwind_trail *trail, unsigned from)
{
    const struct mw_unwind_step *step = &trail->steps[from];
    const struct mw_unwind_step *end = &trail->steps[trail->count];
    uintptr_t low = mw_thread.stack_low;
    uintptr_t ignored;
    if (step == end || step->sp - sizeof ignored < low || !read_word((end - 1)->sp - sizeof ignored, &ignored))
        return from;
    for (; step < end; step++) {
        // NOLINTBEGIN(performance-no-int-to-ptr)
        if (UNLIKELY(((const uintptr_t *)step->sp)[-1] != step->pc))
            break;
        if (step->fp_at && step->fp_matters &&
            (step->fp_at < low || step->fp_at >= step->sp || *(const uintptr_t *)step->fp_at != step->fp))
            break;
        // NOLINTEND(performance-no-int-to-ptr)
    }
    return (unsigned)(step - trail->steps);
}

/* From the last of its own steps back. */
static void see_where_fp_matters(struct mw_unwind_trail *trail, unsigned own_count)
{
    for (unsigned i = own_count; i-- > 0;) {
        struct mw_unwind_step *step = &trail->steps[i];
        const struct mw_unwind_step *next = step + 1;
        step->fp_matters =
            step->uses_fp || step->fp_at == 1 || (i + 1 < trail->count && !next->fp_at && next->fp_matters);
    }
}

/* What is left of an old trail goes on behind a new one, as far as there is room. */
static void append(struct mw_unwind_trail *trail, const struct mw_unwind_trail *old, unsigned from)
{
    unsigned left = old->count - from;
    unsigned room = MW_UNWIND_STEPS - trail->count;
    trail->is_truncated = old->is_truncated || left > room;
    left = left < room ? left : room;
    memcpy(&trail->steps[trail->count], &old->steps[from], left * sizeof *trail->steps);
    trail->count += left;
}

/* Walks until the end, or until it comes upon the old trail. True: on its very first step, so that all is as it was. */
static inline __attribute__((always_inline)) bool walk(struct mw_unwind_trail *trail, const struct mw_unwind_trail *old,
                                                       struct frame frame)
{
    unsigned old_count = old->generation == trail->generation ? old->count : 0;
    unsigned at = 0;
    unsigned tried = 0; /* below it the old trail has been followed, and did not hold */
    unsigned own_count = 0;
    enum step step;
    trail->count = 0;
    while ((step = take_step(&frame)) == STEP_ON && own_count < MW_UNWIND_STEPS) {
        if (own_count)
            trail->steps[own_count - 1].uses_fp = frame.used_fp;
        trail->steps[own_count++] = (struct mw_unwind_step){frame.sp, frame.pc, frame.fp, frame.fp_at, false, false};
        while (at < old_count && old->steps[at].sp < frame.sp)
            at++;
        const struct mw_unwind_step *known = &old->steps[at];
        if (at >= old_count || at < tried || known->sp != frame.sp || known->pc != frame.pc ||
            (known->fp_matters && known->fp != frame.fp))
            continue;
        tried = follow(old, at + 1);
        if (tried < old_count)
            continue;
        if (at == 0 && own_count == 1)
            return true;
        trail->steps[own_count - 1].uses_fp = known->uses_fp;
        trail->count = own_count;
        append(trail, old, at + 1);
        see_where_fp_matters(trail, own_count);
        return false;
    }
    if (own_count)
        trail->steps[own_count - 1].uses_fp = step != STEP_END || !frame.fp; /* an fp of 0 is an end, too */
    trail->count = own_count;
    trail->is_truncated = step != STEP_END;
    see_where_fp_matters(trail, own_count);
    return false;
}

unsigned mw_unwind_again(struct mw_unwind_memory *memory, uint64_t *frames, unsigned capacity, bool *truncated)
{
    struct mw_unwind_trail *trail = &memory->trails[!memory->current];
    struct frame frame = here();
    memory->is_busy = true;
    trail->generation = __atomic_load_n(&generation, __ATOMIC_RELAXED);
    begin_stack(frame.sp);
    if (walk(trail, &memory->trails[memory->current], frame)) {
        if (memory->number) {
            memory->is_busy = false;
            return MW_UNWIND_SAME;
        }
        trail = &memory->trails[memory->current];
    } else {
        memory->current = !memory->current;
        memory->number = 0;
        for (trail->own = 0; trail->own < trail->count && is_own(trail->steps[trail->own].pc);)
            trail->own++;
    }
    unsigned depth = trail->count - trail->own < capacity ? trail->count - trail->own : capacity;
    for (unsigned i = 0; i < depth; i++)
        frames[i] = trail->steps[trail->own + i].pc;
    *truncated = trail->is_truncated || depth < trail->count - trail->own;
    memory->is_busy = false;
    return depth;
}
