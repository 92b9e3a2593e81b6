/* SPDX-License-Identifier: MIT
 *
 * memwatch profile PID|SEGMENT: the heap profile, for other tools (pprof, flame graphs) or to read.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "folded.h"
#include "inspect.h"
#include "outfile.h"
#include "pprof.h"
#include "report.h"

struct wishes {
    const char *path; /* of the pprof file; NULL: text */
    bool folded;
    bool text;
    bool allocated;
    bool objects;
    enum mw_symbols_effort effort;
};

static int write_pprof(const struct mw_inspect *inspect, const char *path)
{
    struct mw_error error;
    void *bytes;
    size_t count;
    if (!mw_pprof_pack(&inspect->profile, inspect->symbols, &MW_PPROF_ALL, &bytes, &count, &error))
        return mw_command_failed(&error);
    bool written = mw_outfile_write(path, bytes, count, &error);
    free(bytes);
    return written ? MW_COMMAND_OK : mw_command_failed(&error);
}

static int print_folded(const struct mw_inspect *inspect, const struct wishes *wishes)
{
    struct mw_folded folded = {0};
    mw_folded_add_profile(&folded, &inspect->profile, inspect->namer, false);
    for (size_t i = 0; i < folded.stacks.count; i++) {
        const struct mw_profile_amount *amount = wishes->allocated ? &folded.rows[i].allocated : &folded.rows[i].live;
        uint64_t value = wishes->objects ? amount->objects : amount->bytes;
        if (value)
            printf("%s %" PRIu64 "\n", folded.stacks.strings[i], value);
    }
    mw_folded_free(&folded);
    return MW_COMMAND_OK;
}

static int print_text(const struct mw_inspect *inspect, const struct wishes *wishes)
{
    struct mw_report report = {.name = inspect->target.name,
                               .state = mw_target_state(&inspect->target),
                               .view = &inspect->target.view,
                               .profile = &inspect->profile,
                               .namer = inspect->namer};
    mw_report_stacks(&report, wishes->allocated, wishes->objects, stdout);
    return MW_COMMAND_OK;
}

enum { OPTION_FOLDED = MW_COMMAND_OPTION, OPTION_TEXT, OPTION_ALLOC, OPTION_OBJECTS, OPTION_NO_SYMBOLS };

int mw_command_profile(int argc, char **argv)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"folded", no_argument, NULL, OPTION_FOLDED},
                                            {"text", no_argument, NULL, OPTION_TEXT},
                                            {"alloc", no_argument, NULL, OPTION_ALLOC},
                                            {"objects", no_argument, NULL, OPTION_OBJECTS},
                                            {"no-symbols", no_argument, NULL, OPTION_NO_SYMBOLS},
                                            {0}};
    struct wishes wishes = {.effort = MW_SYMBOLS_FUNCTIONS};
    struct mw_inspect inspect;
    struct mw_error error;
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":o:", options, NULL)) != -1;) {
        switch (option) {
        case 'o':
            wishes.path = optarg;
            break;
        case OPTION_FOLDED:
            wishes.folded = true;
            break;
        case OPTION_TEXT:
            wishes.text = true;
            break;
        case OPTION_ALLOC:
            wishes.allocated = true;
            break;
        case OPTION_OBJECTS:
            wishes.objects = true;
            break;
        case OPTION_NO_SYMBOLS:
            wishes.effort = MW_SYMBOLS_OFFSETS;
            break;
        case ':':
            return mw_command_usage("profile", "-o needs the path of a file");
        default:
            return mw_command_bad_option(argv);
        }
    }
    if (argc - optind != 1)
        return mw_command_usage("profile", argc == optind ? "no process is named" : "one process at a time");
    if ((wishes.path != NULL) + wishes.folded + wishes.text != 1)
        return mw_command_usage("profile", "one of -o FILE, --folded and --text says what is to be made");
    if (wishes.path && (wishes.allocated || wishes.objects))
        return mw_command_usage("profile", "the file of -o holds all values: --alloc and --objects are for texts");
    if (!mw_inspect_open(argv[optind], wishes.effort, &inspect, &error))
        return mw_command_failed(&error);
    int status = wishes.path     ? write_pprof(&inspect, wishes.path)
                 : wishes.folded ? print_folded(&inspect, &wishes)
                                 : print_text(&inspect, &wishes);
    mw_inspect_say_other_builds(&inspect);
    mw_inspect_close(&inspect);
    return status;
}
