/* SPDX-License-Identifier: MIT
 *
 * The allocators that can be asked to return memory to the kernel, and to tell what they hold: one table, a file an
 * adapter (allocator_*.c). They are found at run time, by their functions' names.
 *
 * Two can be in a process at once. *Beneath* us lies the one that our malloc calls go to. *Beside* us may be one whose
 * malloc we cannot stand before: linked into the program, or preloaded in front of us. It can be purged all the same,
 * where its functions are exported.
 *
 * Whatever calls an allocator takes its locks and has libc's state: any thread of libc's, but not a signal handler, not
 * from within an allocator, and never the monitor's raw thread. Nothing else here calls anything. errno may be changed.
 */
#ifndef MW_ALLOCATORS_H
#define MW_ALLOCATORS_H

#include <stdbool.h>
#include <stdint.h>

#include "memwatch.h"

/* A figure that the allocator does not tell; each adapter says where the others come from. */
#define MW_ALLOCATOR_UNKNOWN UINT64_MAX

enum mw_allocator_beside {
    MW_BESIDE_NEVER,
    MW_BESIDE_INSTEAD, /* its malloc is called malloc: it is in use only where no allocation comes by us */
    MW_BESIDE_TOO      /* it has names of its own: it is in use along with malloc */
};

struct mw_allocator;

#define MW_ALLOCATOR_SYMBOLS 3

struct mw_allocator_kind {
    const char *name;
    const char *symbols[MW_ALLOCATOR_SYMBOLS]; /* it is there where the first is; the others may be missing */
    enum mw_allocator_beside beside;
    int (*purge)(const struct mw_allocator *allocator);
    bool (*figures)(const struct mw_allocator *allocator, struct memwatch_allocator *out); /* or NULL */
    int (*cap_arenas)(const struct mw_allocator *allocator, unsigned arenas);              /* or NULL */
};

typedef void (*mw_allocator_function)(void);

struct mw_allocator {
    const struct mw_allocator_kind *kind;                  /* NULL: none that is known */
    mw_allocator_function functions[MW_ALLOCATOR_SYMBOLS]; /* of kind->symbols */
};

extern const struct mw_allocator_kind mw_allocator_glibc;
extern const struct mw_allocator_kind mw_allocator_jemalloc;
extern const struct mw_allocator_kind mw_allocator_jemalloc_prefixed;
extern const struct mw_allocator_kind mw_allocator_jemalloc_of_rust;
extern const struct mw_allocator_kind mw_allocator_tcmalloc; /* gperftools' */
extern const struct mw_allocator_kind mw_allocator_google;   /* tcmalloc, Google's own */
extern const struct mw_allocator_kind mw_allocator_google_cxx;
extern const struct mw_allocator_kind mw_allocator_mimalloc;

#define MW_ALLOCATORS_AT_ONCE MEMWATCH_ALLOCATORS

struct mw_allocators {
    struct mw_allocator beneath;
    struct mw_allocator beside;
};

/* Where a function of that name is, or NULL: in the module of the malloc beneath us; anywhere else. */
typedef void *mw_allocator_lookup(const char *name);

void mw_allocators_find(struct mw_allocators *out, mw_allocator_lookup *beneath, mw_allocator_lookup *beside);

/* Which of them the program uses. passes: some allocation has come by us. The rest of `chosen` is NULL.
 * Returns how many. Pure. */
unsigned mw_allocators_choose(const struct mw_allocators *allocators, bool passes,
                              const struct mw_allocator *chosen[MW_ALLOCATORS_AT_ONCE]);

/* Returns 0 or a negative errno value. */
int mw_allocator_purge(const struct mw_allocator *allocator);

/* Its name and its figures; LastTrim is 0. False, and every figure unknown: it does not tell. glibc takes the lock of
 * every arena, one after the other, and some 150 us: to be asked after a purge, not at every step. */
bool mw_allocator_read(const struct mw_allocator *allocator, struct memwatch_allocator *out);

/* Has it make no more arenas than that (arenas.h says when). Those that are there stay, so it helps while there are few
 * threads. -ENOTSUP: it cannot be told so (or there is none). Any other error: it will not. */
int mw_allocator_cap_arenas(const struct mw_allocator *allocator, unsigned arenas);

/* How many arenas suit a process that may use quota_us of CPU time in each period_us (0: all that there is) on a
 * machine with so many CPUs online: as many as glibc would make on a machine of just the CPUs that it can keep busy.
 * Never 0. Pure.
 *
 * No fewer: on 2 CPUs, 16 threads that do nothing but allocate took 1.0 s of CPU time with 16 arenas, 1.5 s with 8,
 * 1.9 s with 2 or 4. And not for the memory's sake alone: what 64 threads had used one after another and no longer
 * needed was 1.2 GiB in 64 arenas and 0.09 GiB in 4, but a trim left 30 MiB of either. */
unsigned mw_allocator_arenas_for(uint64_t quota_us, uint64_t period_us, unsigned online_cpus);

#endif
