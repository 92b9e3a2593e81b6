/* SPDX-License-Identifier: MIT
 *
 * What happens when the library is loaded, and around a fork. At exit only the segment's file goes: hooks and state
 * stay valid to the last instruction.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arenas.h"
#include "count.h"
#include "good_size.h"
#include "hard_limit.h"
#include "heap_profile.h"
#include "maps.h"
#include "memory_limit.h"
#include "modules.h"
#include "monitor.h"
#include "options.h"
#include "readings.h"
#include "real.h"
#include "record.h"
#include "sampler.h"
#include "store.h"
#include "syscall.h"
#include "text.h"
#include "threads.h"
#include "trim.h"
#include "unwind.h"

static struct mw_options options;

static void say(void *unused, const char *line)
{
    (void)unused;
    mw_sys_write(STDERR_FILENO, line, strlen(line));
}

static void say_error(const char *what, int error)
{
    char buffer[256];
    struct mw_text line = MW_TEXT(buffer);
    mw_text_string(&line, "memwatch: ");
    mw_text_string(&line, what);
    mw_text_string(&line, ": ");
    mw_text_string(&line, strerrordesc_np(-error));
    mw_text_string(&line, "; the program runs on without\n");
    say(NULL, buffer);
}

static void before_fork(void)
{
    mw_maps_before_fork();
    mw_store_before_fork(); /* the last, close to the fork itself */
}

static void after_fork_in_parent(void)
{
    mw_store_after_fork_in_parent();
    mw_maps_after_fork_in_parent();
}

static void after_fork_in_child(void)
{
    uint64_t parent = mw_store.header->pid;
    mw_store_after_fork();
    mw_record_event(MW_SEGMENT_FORK, mw_store.header->pid, &parent, 1);
    mw_threads_after_fork();
    mw_profile_after_fork();
    mw_maps_after_fork_in_child();
    mw_hard_limit_after_fork();
    mw_monitor_start_in_child();
}

static void at_exit(int status, void *unused)
{
    (void)unused;
    mw_record_end(status);
}

static void at_quick_end(void)
{
    mw_record_end(0);
}

static void start_profile(void)
{
    bool exact = options.sample == 1 && !mw_count_is_under_valgrind();
    mw_unwind_start(options.unwind);
    mw_modules_start();
    mw_sampler_set_mean(options.sample);
    if (exact)
        mw_count_be_exact();
    else
        mw_count_allow_samples();
    mw_profile_start(exact);
}

static void start_hard_limit(void)
{
    struct memwatch_stats stats;
    struct mw_probe probe = {0};
    if (options.hard_limit.kind == MW_AMOUNT_NONE)
        return;
    mw_readings_take(&probe, &stats);
    mw_hard_limit_start(mw_amount_bytes(options.hard_limit, stats.CgroupLimit));
}

static bool is_allocators(const void *code)
{
    return mw_real_is_allocators(code);
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;
    mw_real_resolve();
    mw_real_find_sized();
    mw_real_survey();
    mw_maps_settle_early(is_allocators);
    mw_good_size_start();
    mw_trim_start();
    mw_options_parse(&options, environ, say, NULL);
    int store_error = mw_store_start(&options);
    mw_count_read_environment(environ);
    start_profile();
    mw_threads_start();
    mw_memory_limit_start(&options);
    mw_readings_start();
    start_hard_limit();
    mw_record_event(MW_SEGMENT_START, mw_store.header->pid, NULL, 0);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    on_exit(at_exit, NULL);
    (void)at_quick_exit(at_quick_end);
    mw_arenas_start(mw_trim_beneath());
    int error = mw_monitor_start(&options, store_error);
    if (!mw_monitor_is_there())
        mw_arenas_settle(0);
    if (error)
        say_error("no lines will be printed", error);
    errno = saved;
}
