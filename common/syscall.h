/* SPDX-License-Identifier: MIT
 *
 * System calls without libc: they return -errno and leave errno, locks and cancellation alone.
 *
 * libmemwatch.so works on threads whose libc state is not its own; what it asks of the kernel it asks here.
 * Any thread, async-signal-safe.
 */
#ifndef MW_SYSCALL_H
#define MW_SYSCALL_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
static inline long mw_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
static inline long mw_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
static inline long mw_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(n, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}
#endif

static inline int mw_sys_open(const char *path, int flags, unsigned mode)
{
    return (int)mw_syscall6(SYS_openat, AT_FDCWD, (long)path, flags, mode, 0, 0);
}

static inline long mw_sys_pread(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    return mw_syscall6(SYS_pread64, fd, (long)buffer, (long)bytes, (long)offset, 0, 0);
}

static inline long mw_sys_read(int fd, void *buffer, size_t bytes)
{
    return mw_syscall6(SYS_read, fd, (long)buffer, (long)bytes, 0, 0, 0);
}

static inline long mw_sys_write(int fd, const void *buffer, size_t bytes)
{
    return mw_syscall6(SYS_write, fd, (long)buffer, (long)bytes, 0, 0, 0);
}

static inline int mw_sys_close(int fd)
{
    return (int)mw_syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline int mw_sys_fstat(int fd, struct stat *st)
{
    st->st_ino = 0; /* whoever analyses this does not see what the kernel writes */
    st->st_dev = 0;
    return (int)mw_syscall6(SYS_fstat, fd, (long)st, 0, 0, 0, 0);
}

static inline int mw_sys_stat(const char *path, struct stat *st)
{
    st->st_mode = 0; /* as above */
    return (int)mw_syscall6(SYS_newfstatat, AT_FDCWD, (long)path, (long)st, 0, 0, 0);
}

static inline int mw_sys_fcntl(int fd, int command, long argument)
{
    return (int)mw_syscall6(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

/* MAP_FAILED on failure, as mmap; the cause is not told. */
static inline void *mw_sys_mmap(void *address, size_t bytes, int protection, int flags, int fd, int64_t offset)
{
    long result = mw_syscall6(SYS_mmap, (long)address, (long)bytes, protection, flags, fd, offset);
    return result < 0 && result > -4096 ? MAP_FAILED : (void *)result; // NOLINT(performance-no-int-to-ptr)
}

static inline int mw_sys_munmap(void *address, size_t bytes)
{
    return (int)mw_syscall6(SYS_munmap, (long)address, (long)bytes, 0, 0, 0, 0);
}

/* Poll one descriptor. Returns what poll does. */
static inline int mw_sys_poll(struct pollfd *fd, int64_t timeout_ns)
{
    struct timespec limit = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    return (int)mw_syscall6(SYS_ppoll, (long)fd, 1, (long)&limit, 0, 0, 0);
}

static inline int mw_sys_eventfd(unsigned initial, int flags)
{
    return (int)mw_syscall6(SYS_eventfd2, initial, flags, 0, 0, 0, 0);
}

static inline int mw_sys_socket(int family, int type)
{
    return (int)mw_syscall6(SYS_socket, family, type, 0, 0, 0, 0);
}

static inline int mw_sys_connect(int fd, const void *address, size_t bytes)
{
    return (int)mw_syscall6(SYS_connect, fd, (long)address, (long)bytes, 0, 0, 0);
}

static inline long mw_sys_send(int fd, const void *buffer, size_t bytes, int flags)
{
    return mw_syscall6(SYS_sendto, fd, (long)buffer, (long)bytes, flags, 0, 0);
}

/* Sleeps until the given CLOCK_MONOTONIC time. */
static inline int mw_sys_sleep_until(uint64_t monotonic_ns)
{
    struct timespec until = {.tv_sec = (time_t)(monotonic_ns / 1000000000),
                             .tv_nsec = (long)(monotonic_ns % 1000000000)};
    return (int)mw_syscall6(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&until, 0, 0, 0);
}

/* getdents64(2): as many as fit, one behind the other, each entry_bytes long; on a buffer that is aligned to 8. */
struct mw_directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t entry_bytes;
    uint8_t type;
    char name[];
};

static inline long mw_sys_getdents(int fd, void *buffer, size_t capacity_bytes)
{
    return mw_syscall6(SYS_getdents64, fd, (long)buffer, (long)capacity_bytes, 0, 0, 0);
}

static inline int mw_sys_getpid(void)
{
    return (int)mw_syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static inline uint64_t mw_clock_ns(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now); /* the vDSO; a valid clock cannot fail */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How long it is until then, by CLOCK_MONOTONIC: for ppoll and the like. UINT64_MAX is centuries away. */
static inline struct timespec mw_clock_until(uint64_t then_ns)
{
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    uint64_t left_ns = then_ns > now_ns ? then_ns - now_ns : 0;
    return (struct timespec){.tv_sec = (time_t)(left_ns / 1000000000), .tv_nsec = (long)(left_ns % 1000000000)};
}

#endif
