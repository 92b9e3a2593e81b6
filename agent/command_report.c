/* SPDX-License-Identifier: MIT
 *
 * memwatch report PID|SEGMENT: who holds the memory, or held it at the end.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "inspect.h"
#include "report.h"

#define DEFAULT_TOP 10
#define MOST_TOP    1000000

enum { OPTION_TOP = MW_COMMAND_OPTION, OPTION_POST_MORTEM, OPTION_JSON };

int mw_command_report(int argc, char **argv)
{
    static const struct option options[] = {{"top", required_argument, NULL, OPTION_TOP},
                                            {"post-mortem", no_argument, NULL, OPTION_POST_MORTEM},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {0}};
    struct mw_inspect inspect;
    struct mw_error error;
    void (*print)(const struct mw_report *report, FILE *out) = mw_report_print;
    unsigned long top = DEFAULT_TOP;
    char *end;
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (option) {
        case OPTION_TOP:
            top = strtoul(optarg, &end, 10);
            if (*optarg < '0' || *optarg > '9' || *end || top < 1 || top > MOST_TOP)
                return mw_command_usage("report", "--top takes a number from 1 to 1000000, not \"%s\"", optarg);
            break;
        case OPTION_POST_MORTEM:
        case OPTION_JSON:
            if (print != mw_report_print)
                return mw_command_usage("report", "--json or --post-mortem, once");
            print = option == OPTION_JSON ? mw_report_json : mw_report_post_mortem;
            break;
        case ':':
            return mw_command_usage("report", "--top needs a number");
        default:
            return mw_command_bad_option(argv);
        }
    }
    if (argc - optind != 1)
        return mw_command_usage("report", argc == optind ? "no process is named" : "one process at a time");
    if (print == mw_report_post_mortem) /* a program may wait to be started again, and is not to wait for a network */
        unsetenv("DEBUGINFOD_URLS");    // NOLINT(concurrency-mt-unsafe)
    if (!mw_inspect_open(argv[optind], MW_SYMBOLS_FUNCTIONS, &inspect, &error))
        return mw_command_failed(&error);
    struct mw_report report = {.name = inspect.target.name,
                               .state = mw_target_state(&inspect.target),
                               .is_alive = inspect.target.is_alive,
                               .view = &inspect.target.view,
                               .profile = &inspect.profile,
                               .namer = inspect.namer,
                               .top = (unsigned)top};
    print(&report, stdout);
    mw_inspect_say_other_builds(&inspect);
    mw_inspect_close(&inspect);
    return MW_COMMAND_OK;
}
