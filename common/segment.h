/* SPDX-License-Identifier: MIT
 *
 * The segment: a file in shared memory, one a process image, in which libmemwatch.so keeps what it knows. Its counters
 * and its profile are born there, so that whoever opens the file, also after SIGKILL, reads the last state.
 *
 * This header is the layout, and the one contract between the library, which writes, and the agent, which reads and
 * must take every byte for hostile. docs/segment.md says it in words. All numbers are in the machine's own byte order.
 *
 * Writers never wait. A figure is one aligned word, written whole; what takes several words is published by the last
 * of them (a count or an address other than 0), or stands under a sequence number, odd while it is being written.
 * Times are CLOCK_MONOTONIC in ns where they are called _ns, and since 1970 where they are called _unix_ns.
 */
#ifndef MW_SEGMENT_H
#define MW_SEGMENT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"
#include "memwatch.h"

#define MW_SEGMENT_MAGIC   UINT64_C(0x68637461776d656d) /* "memwatch", where the lowest byte comes first */
#define MW_SEGMENT_VERSION 2

#define MW_SEGMENT_DIRECTORY "/dev/shm" /* in it stands memwatch-UID, mode 0700, and in that the files, mode 0600 */
#define MW_SEGMENT_SUFFIX    ".mw"      /* PID-STARTTICKS-PIDNAMESPACE.mw */

/* X(NAME, name, item): the sections, in the order of the file. */
/* clang-format off */
#define MW_SEGMENT_SECTIONS(X) \
    X(SNAPSHOT, snapshot, struct mw_segment_snapshot) /* one: all statistics at the monitor's last tick */ \
    X(CONTROL,  control,  struct mw_segment_control)  /* one: what the agent asks for */ \
    X(EVENTS,   events,   struct mw_segment_event)    /* a ring */ \
    X(SECONDS,  seconds,  struct mw_segment_row)      /* a ring: the timeline of the last hour, a row a second */ \
    X(MINUTES,  minutes,  struct mw_segment_row)      /* a ring: the same of the last day, a row a minute */ \
    X(MODULES,  modules,  struct mw_segment_module)   /* append only */ \
    X(BUCKETS,  buckets,  uint32_t)                   /* the hash table over stacks: the first stack of each chain */ \
    X(STACKS,   stacks,   uint64_t)                   /* struct mw_segment_stack, of different lengths, in words; append only */ \
    X(SAMPLES,  samples,  struct mw_segment_sample)   /* live sampled blocks, reused */ \
    X(SLOTS,    slots,    struct mw_segment_slot)     /* the threads' counters; the first is shared */
/* clang-format on */

enum mw_segment_section {
#define MW_SEGMENT_ENUM(NAME, name, item) MW_SEGMENT_##NAME,
    MW_SEGMENT_SECTIONS(MW_SEGMENT_ENUM)
#undef MW_SEGMENT_ENUM
        MW_SEGMENT_SECTION_COUNT
};

struct mw_segment_place {
    uint64_t offset_bytes; /* from the start of the file; a multiple of 4096 */
    uint32_t item_bytes;
    uint32_t capacity; /* items */
};

enum mw_segment_state {
    MW_SEGMENT_STARTING,
    MW_SEGMENT_RUNNING,
    MW_SEGMENT_ENDED /* by itself: exit, or exec of another program */
};

#define MW_SEGMENT_SPARE_SECTIONS 22 /* a later version may have more */
#define MW_SEGMENT_HISTORY        16 /* points of each stack's own history */
#define MW_SEGMENT_FIRST_STACK    8  /* words: before it nothing stands, for 0 is no stack */

/* The first page. What is written while the program runs stands apart from what is written once. */
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): the padding is what keeps them apart
struct mw_segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t section_count;
    uint64_t segment_bytes;
    uint32_t page_bytes;
    uint32_t pid; /* in its own PID namespace */
    uint64_t pid_namespace;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat: with the pid, which process this is */
    uint64_t started_ns;
    uint64_t started_unix_ns;
    uint64_t sample_mean_bytes; /* 0: no sampling; 1: every block */
    struct mw_measure measure;  /* what the classes of the slots mean */
    uint64_t parent_pid;        /* forked: from whom; else 0 */
    char comm[64];              /* as at the start */
    char program[512];          /* /proc/self/exe, cut off where it is longer */
    char run[64];               /* MEMWATCH_RUN: the launcher's name for all that it has started together */
    struct mw_segment_place sections[MW_SEGMENT_SECTION_COUNT + MW_SEGMENT_SPARE_SECTIONS];

    /* Written while the program runs. */
    _Alignas(64) uint32_t state;
    uint32_t modules_used;
    uint32_t slots_used;    /* that were ever handed out, the shared one too */
    uint32_t exited_status; /* when the state is ENDED by exit: its status; else 0 */
    uint64_t stacks_used;   /* words of the section that are taken */
    uint64_t events_next;   /* events ever written; the latest is at (events_next - 1) % capacity */
    uint64_t seconds_next;  /* rows ever written, as events */
    uint64_t minutes_next;
    uint64_t history_sequence; /* of the stacks' histories: odd while they are being written */
    uint64_t history_used;     /* points; the same for all stacks */
    uint64_t history_ns[MW_SEGMENT_HISTORY];

    _Alignas(64) uint64_t samples_used; /* that were ever handed out */
    uint64_t samples_free;              /* index + 1 of the first free one; above it 32 bits that change each time */

    /* What could not be kept, for want of room. */
    _Alignas(64) uint64_t dropped_samples;
    uint64_t dropped_bytes; /* what these stood for */
    uint64_t dropped_stacks;
    uint64_t dropped_modules;
    uint64_t dropped_slots; /* threads that began without a slot of their own: they count in the shared one */

    uint32_t pressure_source; /* enum mw_segment_pressure_source */
    uint32_t arenas_cap;      /* how many the library lets glibc make; 0: it has not said so */
};

/* X(NAME, text): who is listened to for memory being short. */
#define MW_SEGMENT_PRESSURE_SOURCES(X)                                                                                 \
    X(NOBODY, "nobody")                                                                                                \
    X(WATCH, "MEMORY_PRESSURE_WATCH")                                                                                  \
    X(GROUP_STALLS, "memory.pressure")                                                                                 \
    X(GROUP_LEVELS, "memory.pressure_level")                                                                           \
    X(MACHINE_STALLS, "/proc/pressure/memory")

enum mw_segment_pressure_source {
#define MW_SEGMENT_SOURCE_ENUM(NAME, text) MW_SEGMENT_PRESSURE_##NAME,
    MW_SEGMENT_PRESSURE_SOURCES(MW_SEGMENT_SOURCE_ENUM)
#undef MW_SEGMENT_SOURCE_ENUM
        MW_SEGMENT_PRESSURE_SOURCE_COUNT
};

struct mw_segment_snapshot {
    uint64_t sequence; /* odd while it is being written */
    uint64_t time_unix_ns;
    struct memwatch_stats stats;
};

/* What the agent asks for: it takes `owner` (its pid, by compare-and-exchange from 0), writes the values, adds 1 to
 * `asked` and wakes it (a futex, shared). The monitor does what is asked, fills the results, sets `answered` to the
 * `asked` that it has seen, and wakes that. The agent then lets go of `owner`. Others may add to `asked` meanwhile (the
 * library itself does, to wake its monitor): whoever waits does so for an answer to his own number or a later one. */
struct mw_segment_control {
    uint32_t owner;
    uint32_t asked;
    uint32_t answered;
    uint32_t what; /* bits of enum mw_segment_request */
    uint64_t interval_ns;
    uint64_t sample_mean_bytes; /* neither to nor from 1 */
    int64_t limit_bytes;        /* INT64_MAX: none */
    int64_t result;             /* of a trim: bytes returned; or a negative errno value */
    uint64_t pause_ns;          /* of a trim */
    int64_t trim_percent;       /* below 0: off */
    uint64_t spare[7];
};

enum mw_segment_request {
    MW_SEGMENT_ASK_TRIM = 1,
    MW_SEGMENT_ASK_INTERVAL = 2,
    MW_SEGMENT_ASK_SAMPLE = 4,
    MW_SEGMENT_ASK_LIMIT = 8,
    MW_SEGMENT_ASK_PERCENT = 16,
};

/* X(NAME, text, meanings of values[0], values[1], …) */
#define MW_SEGMENT_EVENTS_LIST(X)                                                                                      \
    X(START, "start", "")                                                                                              \
    X(FORK, "forked", "parent's pid")                                                                                  \
    X(TRIM, "trim",                                                                                                    \
      "limit_bytes (0: not for a limit), rss_before_bytes, rss_after_bytes, returned_bytes, pause_ns, reason "         \
      "(format.h)")                                                                                                    \
    X(PRESSURE, "pressure", "parts per million, of the last 10 s, in which some task waited for memory")               \
    X(NEAR_LIMIT, "near the limit", "usage_bytes, limit_bytes")                                                        \
    X(SET_LIMIT, "limit set", "limit_bytes")                                                                           \
    X(SET_INTERVAL, "interval set", "interval_ns")                                                                     \
    X(SET_SAMPLE, "sampling set", "sample_mean_bytes")                                                                 \
    X(EXIT, "exit", "status")                                                                                          \
    X(HARD_LIMIT, "allocation failed at the hard limit",                                                               \
      "asked_bytes, rss_bytes, limit_bytes, stack (0: none), how many have failed so far")

enum mw_segment_event_kind {
    MW_SEGMENT_NO_EVENT,
#define MW_SEGMENT_EVENT_ENUM(NAME, text, values) MW_SEGMENT_##NAME,
    MW_SEGMENT_EVENTS_LIST(MW_SEGMENT_EVENT_ENUM)
#undef MW_SEGMENT_EVENT_ENUM
        MW_SEGMENT_EVENT_KINDS
};

struct mw_segment_event {
    uint64_t time_unix_ns;
    uint32_t kind; /* written last; 0: being written */
    uint32_t thread;
    uint64_t values[6];
};

struct mw_segment_row {
    uint64_t time_unix_ns; /* written last; 0: being written */
    uint64_t Alloc;
    uint64_t TotalAlloc;
    uint64_t HeapRetained;
    uint64_t RSS;
    uint64_t CgroupUsage;
    uint64_t CgroupLimit;
    uint32_t NumTrim;
    uint32_t pressure_ppm;
};

#define MW_SEGMENT_BUILD_ID_BYTES 32

struct mw_segment_module {
    uint64_t start; /* where it is mapped, whole: [start, end); start is written last, 0: being written */
    uint64_t end;
    uint64_t bias; /* what is to be added to the file's own addresses (l_addr) */
    uint64_t loaded_ns;
    uint32_t build_id_bytes; /* 0: it has none */
    uint8_t build_id[MW_SEGMENT_BUILD_ID_BYTES];
    char path[412]; /* cut off where it is longer; "[vdso]" */
};

/* Objects are counted in parts of 2^-16: a sampled block stands for more than one. */
#define MW_SEGMENT_OBJECT UINT64_C(65536)

enum mw_segment_stack_flags {
    MW_SEGMENT_STACK_MMAP = 1,     /* of the program's own mappings, not of heap blocks */
    MW_SEGMENT_STACK_TRUNCATED = 2 /* more frames than were kept, or it could not be followed to its end */
};

/* A call stack and what was allocated by it, scaled up: estimates where blocks are sampled, exact where all are. At
 * an offset in words from the start of the section, which is also its number; 0 is no stack. */
struct mw_segment_stack {
    uint32_t next; /* in its chain; always an older one, so that a chain has an end */
    uint32_t hash;
    uint16_t depth; /* frames */
    uint16_t flags;
    /* Allocated is written before the sample is published, freed after it is taken away: allocated - freed is never
     * less than what the live samples of the stack stand for. */
    uint64_t allocated_objects; /* in parts of 2^-16 */
    uint64_t allocated_bytes;
    uint64_t freed_objects;
    uint64_t freed_bytes;
    uint64_t allocated_samples; /* blocks that were chosen */
    uint64_t freed_samples;
    uint32_t history_kib[MW_SEGMENT_HISTORY]; /* live bytes at the header's history_ns, in KiB */
    uint64_t frames[];                        /* return addresses, the innermost first; depth of them */
};

#define MW_SEGMENT_STACK_WORDS(depth) (sizeof(struct mw_segment_stack) / sizeof(uint64_t) + (depth))
#define MW_SEGMENT_DEPTH              64

/* A live sampled block. */
struct mw_segment_sample {
    uint64_t address; /* written last; 0: free, or being written */
    uint64_t bytes;   /* of this one block, as Alloc counts it */
    uint64_t objects; /* that it stands for, in parts of 2^-16 */
    uint64_t born_ns;
    uint32_t stack;
    uint32_t next_free; /* index + 1 */
};

/* One thread's pages: no line of them is written by two threads at a time. What is hot, and the counters of blocks up
 * to 2 KiB, are on the first. */
struct mw_segment_slot {
    struct mw_counters counters;
    uint32_t index;
    uint32_t next_free;       /* index + 1 of the next in the free list; 0: the last */
    uint64_t drawn_for_bytes; /* the mean that the distance to the next sample was drawn for */
} __attribute__((aligned(4096)));

/* The layout is a promise to readers of other builds. */
static_assert(sizeof(struct mw_segment_header) <= 4096, "the header is the first page");
static_assert(offsetof(struct mw_segment_header, sections) == 736, "");
static_assert(offsetof(struct mw_segment_header, state) == 1280, "");
static_assert(offsetof(struct mw_segment_header, samples_used) == 1472, "");
static_assert(offsetof(struct mw_segment_header, dropped_samples) == 1536, "");
static_assert(offsetof(struct mw_segment_header, pressure_source) == 1576, "");
static_assert(sizeof(struct mw_segment_control) == 120, "");
static_assert(sizeof(struct mw_segment_snapshot) == 5000, "a new statistic is a new version");
static_assert(sizeof(struct mw_segment_event) == 64, "");
static_assert(sizeof(struct mw_segment_row) == 64, "");
static_assert(sizeof(struct mw_segment_module) == 480, "");
static_assert(sizeof(struct mw_segment_stack) == 128, "");
static_assert(sizeof(struct mw_segment_sample) == 40, "");
static_assert(sizeof(struct mw_segment_slot) == 3 * 4096, "a slot is three pages");
static_assert(offsetof(struct mw_counters, allocated[128]) <= 4096, "small blocks need one page only");

#endif
