/* SPDX-License-Identifier: MIT
 *
 * What happens when the library is loaded, and around a fork. Nothing happens at exit: hooks and state stay valid to
 * the last instruction.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "count.h"
#include "maps.h"
#include "memory_limit.h"
#include "monitor.h"
#include "options.h"
#include "readings.h"
#include "real.h"
#include "sampler.h"
#include "syscall.h"
#include "text.h"
#include "threads.h"
#include "trim.h"

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

static void after_fork_in_child(void)
{
    mw_threads_after_fork();
    mw_maps_after_fork_in_child();
    mw_monitor_start_in_child();
}

__attribute__((constructor)) static void start(void)
{
    int saved = errno;
    mw_real_resolve();
    mw_real_find_sized();
    mw_real_survey();
    mw_options_parse(&options, environ, say, NULL);
    mw_sampler_set_mean(options.sample);
    mw_count_read_environment(environ);
    mw_threads_start();
    mw_memory_limit_start(options.limit);
    mw_trim_start();
    mw_readings_start();
    pthread_atfork(mw_maps_before_fork, mw_maps_after_fork_in_parent, after_fork_in_child);
    int error = mw_monitor_start(&options);
    if (error)
        say_error("no lines will be printed", error);
    errno = saved;
}
