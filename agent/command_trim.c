/* SPDX-License-Identifier: MIT
 *
 * memwatch trim PID: has a process return what its allocator holds and it does not use.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "commands.h"
#include "control.h"
#include "target.h"
#include "units.h"

/* A thread of the program's trims, when it next calls the allocator; the monitor waits for that for 2 s. */
#define WAIT_NS (5 * UINT64_C(1000000000))

static bool trim(const struct mw_target *target, struct mw_control_answer *answer, struct mw_error *error)
{
    const struct mw_control_request request = {.what = MW_SEGMENT_ASK_TRIM};
    struct mw_error cause;
    if (!target->is_alive)
        return mw_error_set(error, 0, "%s is not alive", target->name);
    if (!mw_control_ask(target->fd, &target->view, &request, WAIT_NS, answer, &cause))
        return mw_error_set(error, 0, "%s %s: it is stopped, or watched without a monitor", target->name, cause.text);
    if (answer->result == -EAGAIN)
        return mw_error_set(error, 0, "%s sleeps: it trims when one of its threads next calls the allocator",
                            target->name);
    if (answer->result == -ENOTSUP)
        return mw_error_set(error, 0, "%s has an allocator that cannot be asked to return memory", target->name);
    return answer->result < 0 ? mw_error_set(error, (int)-answer->result, "%s has not trimmed", target->name) : true;
}

static void print_answer(const struct mw_target *target, const struct mw_control_answer *answer)
{
    char size[32];
    char pause[32];
    struct mw_text size_text = MW_TEXT(size);
    struct mw_text pause_text = MW_TEXT(pause);
    mw_text_size(&size_text, (uint64_t)answer->result);
    mw_text_duration(&pause_text, answer->pause_ns);
    printf("%s: %s came back in %s\n", target->name, size, pause);
}

int mw_command_trim(int argc, char **argv)
{
    static const struct option options[] = {{0}};
    struct mw_target target;
    struct mw_control_answer answer = {0};
    struct mw_error error;
    optind = 0;
    if (getopt_long(argc, argv, ":", options, NULL) != -1)
        return mw_command_bad_option(argv);
    if (argc - optind != 1)
        return mw_command_usage("trim", argc == optind ? "no process is named" : "one process at a time");
    if (!mw_target_open(argv[optind], &target, &error))
        return mw_command_failed(&error);
    bool done = trim(&target, &answer, &error);
    if (done)
        print_answer(&target, &answer);
    mw_target_close(&target);
    return done ? MW_COMMAND_OK : mw_command_failed(&error);
}
