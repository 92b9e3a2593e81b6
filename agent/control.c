/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "syscall.h"

#define OWNER_POLL_NS UINT64_C(10000000)

/* ---- the page of the section ---- */

struct page {
    void *start;
    size_t bytes;
    struct mw_segment_control *control;
};

/* A mapped file that is cut off kills whoever touches it. Nothing but this one wait is lost with it. */
static void end_at_sigbus(int signal)
{
    static const char text[] = "memwatch: the segment was cut off while its process was being asked\n";
    (void)signal;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static bool map_page(int fd, const struct mw_segment_view *view, struct page *page, struct mw_error *error)
{
    char path[64];
    uint64_t offset = view->header.sections[MW_SEGMENT_CONTROL].offset_bytes;
    uint64_t within = offset % (uint64_t)sysconf(_SC_PAGESIZE); /* where pages are larger than the segment's */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int writable = open(path, O_RDWR | O_CLOEXEC);
    if (writable < 0)
        return mw_error_set(error, errno, "may not be asked");
    page->bytes = within + sizeof *page->control;
    page->start = mmap(NULL, page->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, writable, (off_t)(offset - within));
    int errno_value = errno;
    close(writable);
    if (page->start == MAP_FAILED)
        return mw_error_set(error, errno_value, "cannot be asked");
    page->control = (void *)((char *)page->start + within);
    return true;
}

/* ---- the protocol, as segment.h has it ---- */

static int64_t left_ns(uint64_t deadline_ns)
{
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    return now_ns < deadline_ns ? (int64_t)(deadline_ns - now_ns) : 0;
}

static bool swap_owner(struct mw_segment_control *control, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&control->owner, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Another memwatch may be asking. One that was killed meanwhile has not let go: its place is taken. */
static bool take_owner(struct mw_segment_control *control, uint64_t deadline_ns, struct mw_error *error)
{
    uint32_t us = (uint32_t)mw_sys_getpid();
    for (;;) {
        uint32_t owner = __atomic_load_n(&control->owner, __ATOMIC_ACQUIRE);
        bool is_free = owner == 0 || owner > INT32_MAX || (kill((pid_t)owner, 0) && errno == ESRCH);
        if (is_free && swap_owner(control, owner, us))
            return true;
        if (left_ns(deadline_ns) == 0)
            return mw_error_set(error, 0, "is being asked by process %u already", owner);
        mw_sys_sleep_until(mw_clock_ns(CLOCK_MONOTONIC) + OWNER_POLL_NS);
    }
}

static void put_request(struct mw_segment_control *control, const struct mw_control_request *request)
{
    __atomic_store_n(&control->interval_ns, request->interval_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&control->sample_mean_bytes, request->sample_mean_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&control->limit_bytes, request->limit_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&control->trim_percent, request->trim_percent, __ATOMIC_RELAXED);
    __atomic_store_n(&control->what, request->what, __ATOMIC_RELAXED);
}

/* The monitor may have seen more than we have asked: it is also woken by its own process, by the same word. */
static bool wait_for_answer(struct mw_segment_control *control, uint32_t asked, uint64_t deadline_ns)
{
    for (;;) {
        uint32_t answered = __atomic_load_n(&control->answered, __ATOMIC_ACQUIRE);
        int64_t left = left_ns(deadline_ns);
        if ((int32_t)(answered - asked) >= 0)
            return true;
        if (left == 0)
            return false;
        struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        mw_syscall6(SYS_futex, (long)&control->answered, FUTEX_WAIT, answered, (long)&timeout, 0, 0);
    }
}

static bool ask(struct mw_segment_control *control, const struct mw_control_request *request, uint64_t wait_ns,
                struct mw_control_answer *answer, struct mw_error *error)
{
    if (!take_owner(control, mw_clock_ns(CLOCK_MONOTONIC) + wait_ns, error))
        return false;
    put_request(control, request);
    uint32_t asked = __atomic_add_fetch(&control->asked, 1, __ATOMIC_ACQ_REL);
    mw_syscall6(SYS_futex, (long)&control->asked, FUTEX_WAKE, INT32_MAX, 0, 0, 0);
    bool is_answered = wait_for_answer(control, asked, mw_clock_ns(CLOCK_MONOTONIC) + wait_ns);
    answer->result = __atomic_load_n(&control->result, __ATOMIC_RELAXED);
    answer->pause_ns = __atomic_load_n(&control->pause_ns, __ATOMIC_RELAXED);
    swap_owner(control, (uint32_t)mw_sys_getpid(), 0);
    return is_answered
               ? true
               : mw_error_set(error, 0, "does not answer within %llu s", (unsigned long long)(wait_ns / 1000000000));
}

bool mw_control_ask(int fd, const struct mw_segment_view *view, const struct mw_control_request *request,
                    uint64_t wait_ns, struct mw_control_answer *answer, struct mw_error *error)
{
    struct page page = {0};
    struct sigaction before;
    struct sigaction cut_off = {.sa_handler = end_at_sigbus};
    if (!map_page(fd, view, &page, error))
        return false;
    sigaction(SIGBUS, &cut_off, &before);
    bool done = ask(page.control, request, wait_ns, answer, error);
    sigaction(SIGBUS, &before, NULL);
    munmap(page.start, page.bytes);
    return done;
}
