/* SPDX-License-Identifier: MIT
 *
 * A thread that libc does not know of.
 *
 * From the first pthread_create on, glibc and libstdc++ drop their shortcuts for single-threaded programs: getc is 1.6
 * times slower, copying a shared_ptr 1.65 times. A thread made by a bare clone does not cost that. In turn it has no
 * libc state: it may make system calls (syscall.h), read and write memory and call what does no more (memcpy,
 * clock_gettime); never the allocator, stdio, a lock of libc's, or anything that waits for another thread.
 *
 * It has a thread block of its own, so that what touches thread-local memory by accident touches nobody else's. It
 * blocks every signal. It gives up all privilege at birth: libc's setuid reaches only the threads that libc knows, and
 * the program must be able to rely on what it gives up.
 */
#ifndef MW_RAWTHREAD_H
#define MW_RAWTHREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mw_raw_thread {
    void *memory; /* stack and thread block; kept from start to start */
    int tid;      /* cleared by the kernel when the thread is gone */
};

/* What one is mapped with. */
size_t mw_raw_thread_bytes(void);

/* Can it be done on this machine? */
bool mw_raw_thread_is_possible(void);

/* Starts it; run must not return. May be called again once the thread is gone, and in the child of a fork.
 * Returns 0 or a negative errno value. */
int mw_raw_thread_start(struct mw_raw_thread *thread, void (*run)(void));

/* Called first by the thread itself. False: it could not give up what the program may give up later, and must end. */
bool mw_raw_thread_shed_privilege(void);

/* Gives the calling thread a table of descriptors of its own, with only `keep` in it (0: none). What the program does
 * to its descriptors is then its own business, and what the thread opens never takes one of the program's numbers.
 * False: it goes on with the program's. */
bool mw_raw_thread_own_descriptors(unsigned keep);

_Noreturn void mw_raw_thread_exit(void);

/* Waits until it is gone, for a second at most. */
void mw_raw_thread_wait(struct mw_raw_thread *thread);

#endif
