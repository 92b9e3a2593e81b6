/* SPDX-License-Identifier: MIT */
#include "unwind.h"

#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

#include "syscall.h"
#include "threads.h"
#include "unwind_rules.h"

#define PAGE_BYTES       ((uintptr_t)4096)
#define MAIN_STACK_BYTES ((uintptr_t)128 << 20) /* the kernel keeps at least so much below the top free of mappings */
#define FARTHEST_BYTES   ((uintptr_t)1 << 20)   /* from what is known of a stack to a frame that is believed */
#define FRAMES_TRIED     (1 << 10)              /* our own are few; a bound, never reached */

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

static enum mw_unwind_kind kind;
static uintptr_t main_stack_end;
static uintptr_t own_start;
static uintptr_t own_end;

void mw_unwind_start(enum mw_unwind_kind chosen)
{
    struct mw_unwind_module own;
    kind = chosen;
    /* The program's path is the last thing on the first thread's stack. */
    main_stack_end = ((uintptr_t)getauxval(AT_EXECFN) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    mw_rules_start();
    if (mw_unwind_module_of((uintptr_t)mw_unwind_start, &own)) {
        own_start = own.start;
        own_end = own.end;
    }
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
    uint64_t rule = mw_rule_of(frame->is_exact ? frame->pc : frame->pc - 1);
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

/* Odd numbers, for hashes. */
#define MIX_PC   UINT64_C(0x9e3779b97f4a7c15)
#define MIX_STEP UINT64_C(0xd6e8feb86659fd93)
#define MIX_CUT  UINT64_C(0x5851f42d4c957f2d)

/* MIX_STEP to the power of MW_UNWIND_DEPTH. */
#define SQUARE(x) ((x) * (x))
#define MIX_DEPTH SQUARE(SQUARE(SQUARE(SQUARE(SQUARE(SQUARE(MIX_STEP))))))
_Static_assert(MW_UNWIND_DEPTH == 1 << 6, "squared six times");

/* What tells the frames out to this one: a polynomial of their addresses, so that those too far out can be taken off
 * again. */
static uint64_t key_with(uint64_t outer_key, uintptr_t pc)
{
    uint64_t mixed = pc * MIX_PC;
    return outer_key * MIX_STEP + (mixed ^ mixed >> 29);
}

/* Our own frames lie behind each other at the same distances each time. True: it was that way, and frame is the
 * program's. */
static bool leave_by(const struct mw_unwind_way *way, struct frame *frame)
{
    uintptr_t base = frame->sp;
    uintptr_t pc;
    if (!way->length_bytes || !read_word(base + way->length_bytes - sizeof pc, &pc) || is_own(pc))
        return false;
    for (unsigned i = 0; i < way->count; i++)
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        if (*(const uintptr_t *)(base + way->frames[i].at_bytes) != way->frames[i].pc)
            return false;
    frame->pc = pc;
    frame->sp = base + way->length_bytes;
    frame->fp_at = way->fp_at_bytes ? base + way->fp_at_bytes : 0;
    if (frame->fp_at)
        frame->fp = *(const uintptr_t *)frame->fp_at; // NOLINT(performance-no-int-to-ptr)
    frame->is_exact = frame->used_fp = false;
    return true;
}

/* By the tables; learns the way, if it is one of fixed distances. */
static enum step leave_by_tables(struct mw_unwind_way *way, struct frame *frame)
{
    uintptr_t base = frame->sp;
    bool is_fixed = true;
    enum step step;
    *way = (struct mw_unwind_way){0};
    while ((step = take_step(frame)) == STEP_ON) {
        is_fixed = is_fixed && !frame->used_fp;
        if (frame->fp_at)
            way->fp_at_bytes = (uint32_t)(frame->fp_at - base);
        if (!is_own(frame->pc))
            break;
        if (way->count == MW_UNWIND_OWN)
            is_fixed = false;
        else
            way->frames[way->count++] =
                (struct mw_unwind_own){.at_bytes = (uint32_t)(frame->sp - base - sizeof frame->pc), .pc = frame->pc};
    }
    way->length_bytes = is_fixed && step == STEP_ON ? (uint32_t)(frame->sp - base) : 0;
    return step;
}

static inline __attribute__((always_inline)) enum step leave_own(struct mw_unwind_memory *memory, struct frame *frame)
{
    for (unsigned i = 0; i < MW_UNWIND_WAYS; i++)
        if (leave_by(&memory->ways[i], frame))
            return STEP_ON;
    return leave_by_tables(&memory->ways[memory->next_way++ % MW_UNWIND_WAYS], frame);
}

#define AND_FP UINT64_C(1)

/* Whether the frame pointer is what it was, too. */
static bool fp_holds(const struct mw_unwind_step *step)
{
    return step->fp_at >= mw_thread.stack_low && step->fp_at < step->sp &&
           *(const uintptr_t *)step->fp_at == step->fp; // NOLINT(performance-no-int-to-ptr)
}

/* Whether the words that led to the steps `from` (exclusive) out to `to` are what they were. If not, *from is the step
 * that is not. They lie in order: where the outermost can be read, all can. */
static inline __attribute__((always_inline)) bool holds(const struct mw_unwind_memory *memory, unsigned *from,
                                                        unsigned to)
{
    const struct mw_unwind_word *word = &memory->words[*from];
    const struct mw_unwind_word *end = &memory->words[to];
    uintptr_t ignored;
    if (word == end)
        return true;
    if (word->at < mw_thread.stack_low || !read_word(end->at & ~AND_FP, &ignored)) {
        *from = 0;
        return false;
    }
    do {
        word--;
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        if (UNLIKELY(*(const uintptr_t *)(word->at & ~AND_FP) != word->pc) ||
            (UNLIKELY(word->at & AND_FP) && !fp_holds(&memory->steps[word - memory->words]))) {
            *from = (unsigned)(word - memory->words);
            return false;
        }
    } while (word > end);
    return true;
}

/* Sets what follows from the step further out. */
static inline __attribute__((always_inline)) void connect(struct mw_unwind_memory *memory, unsigned index)
{
    struct mw_unwind_step *step = &memory->steps[index];
    const struct mw_unwind_step *outer = index ? step - 1 : NULL;
    step->fp_matters = step->uses_fp || step->fp_at == 1 || (outer && !outer->fp_at && outer->fp_matters);
    memory->words[index] = (struct mw_unwind_word){
        .at = (step->sp - sizeof step->pc) | (step->fp_matters && step->fp_at ? AND_FP : 0), .pc = step->pc};
    step->key = key_with(outer ? outer->key : 0, step->pc);
}

/* Makes room for so many more, of which those further out than all that is asked for are the ones to go. */
static void make_room(struct mw_unwind_memory *memory, unsigned fresh)
{
    unsigned total = memory->count + fresh;
    if (total <= MW_UNWIND_STEPS)
        return;
    unsigned gone = total - MW_UNWIND_STEPS * 3 / 4;
    if (gone > memory->count)
        gone = memory->count;
    memory->count -= gone;
    memory->is_whole = false;
    memmove(memory->steps, &memory->steps[gone], memory->count * sizeof *memory->steps);
    memmove(memory->words, &memory->words[gone], memory->count * sizeof *memory->words);
}

/* Does the walk come upon a step that it knows, from which on all is as it was? `known`: the steps that may be so. */
static inline __attribute__((always_inline)) bool comes_upon(const struct mw_unwind_memory *memory,
                                                             const struct frame *frame, unsigned *known, unsigned fresh)
{
    while (*known && memory->steps[*known - 1].sp < frame->sp)
        --*known;
    if (!*known)
        return false;
    const struct mw_unwind_step *same = &memory->steps[*known - 1];
    if (same->sp != frame->sp || same->pc != frame->pc || (same->fp_matters && same->fp != frame->fp))
        return false;
    unsigned all = *known + fresh;
    if (!memory->is_whole && all <= MW_UNWIND_DEPTH) {
        *known = 0; /* it is known, but not far enough */
        return false;
    }
    unsigned from = *known - 1;
    unsigned to = all > MW_UNWIND_DEPTH ? all - MW_UNWIND_DEPTH : 0;
    if (to >= *known || holds(memory, &from, to))
        return true;
    *known = from;
    return false;
}

/* From the program's innermost frame on, until the end, or until what is known holds from there on. */
static inline __attribute__((always_inline)) void walk(struct mw_unwind_memory *memory, struct frame frame)
{
    unsigned known = memory->count;
    unsigned fresh = 0;
    enum step step = STEP_ON;
    bool joins;
    while (!(joins = comes_upon(memory, &frame, &known, fresh)) && step == STEP_ON && fresh < MW_UNWIND_STEPS) {
        struct mw_unwind_step *own = &memory->fresh[fresh++];
        *own = (struct mw_unwind_step){.sp = frame.sp, .pc = frame.pc, .fp = frame.fp, .fp_at = frame.fp_at};
        step = take_step(&frame);
        own->uses_fp = step == STEP_ON ? frame.used_fp : step == STEP_LOST || !frame.fp; /* an fp of 0 is an end, too */
    }
    if (joins) {
        memory->count = known;
        make_room(memory, fresh);
        if (fresh && memory->count) { /* its fp stands in a frame that is new */
            memory->steps[memory->count - 1].fp = frame.fp;
            memory->steps[memory->count - 1].fp_at = frame.fp_at;
            connect(memory, memory->count - 1);
        }
    } else {
        memory->count = 0;
        memory->is_whole = step != STEP_ON;
        memory->is_lost = step == STEP_LOST;
    }
    while (fresh) {
        memory->steps[memory->count] = memory->fresh[--fresh];
        connect(memory, memory->count++);
    }
}

static bool is_cut(const struct mw_unwind_memory *memory)
{
    return memory->count > MW_UNWIND_DEPTH || !memory->is_whole || memory->is_lost;
}

uint64_t mw_unwind_again(struct mw_unwind_memory *memory)
{
    struct frame frame = here();
    uint32_t now = __atomic_load_n(&mw_rules_generation, __ATOMIC_RELAXED);
    begin_stack(frame.sp);
    if (UNLIKELY(memory->generation != now)) {
        memory->generation = now;
        memory->count = 0;
    }
    if (UNLIKELY(leave_own(memory, &frame) != STEP_ON)) {
        memory->count = 0;
        memory->is_lost = true;
        return 0;
    }
    walk(memory, frame);
    const struct mw_unwind_step *innermost = &memory->steps[memory->count - 1];
    uint64_t key = innermost->key + now;
    if (memory->count > MW_UNWIND_DEPTH)
        key -= (innermost - MW_UNWIND_DEPTH)->key * MIX_DEPTH;
    return is_cut(memory) ? key ^ MIX_CUT : key;
}

unsigned mw_unwind_remembered(const struct mw_unwind_memory *memory, uint64_t *frames, bool *truncated)
{
    unsigned depth = memory->count < MW_UNWIND_DEPTH ? memory->count : MW_UNWIND_DEPTH;
    for (unsigned i = 0; i < depth; i++)
        frames[i] = memory->steps[memory->count - 1 - i].pc;
    *truncated = is_cut(memory);
    return depth;
}
