/* SPDX-License-Identifier: MIT
 *
 * memwatch ps: the watched processes, a line each; and what dead ones have left.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "target.h"
#include "units.h"

#define TRIES      5
#define JSON_BYTES 8192

struct row {
    int pid;
    const struct mw_segment_header *header;
    const char *state;
    const char *path;
    uint64_t age_ns;
    struct memwatch_stats stats;
};

struct wishes {
    bool dead; /* them too */
    bool sweep;
    bool json;
};

/* ---- text ---- */

static void put_size(struct mw_text *out, uint64_t bytes)
{
    if (bytes)
        mw_text_size(out, bytes);
    else
        mw_text_char(out, '-');
}

/* Whole units: nobody asks a process that is days old for its seconds. */
static void put_age(struct mw_text *out, uint64_t ns)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, " d"}, {3600, " h"}, {60, " min"}, {1, " s"}};
    uint64_t seconds = ns / 1000000000;
    unsigned i = 0;
    while (i < 3 && seconds < 2 * units[i].seconds)
        i++;
    mw_text_u64(out, seconds / units[i].seconds);
    mw_text_string(out, units[i].name);
}

/* X(title, width, put): `put` prints the figure into out. Numbers stand to the right of their columns; a width below 0
 * is of a column whose figures stand to the left. */
/* clang-format off */
#define COLUMNS(X) \
    X("PID",       7, mw_text_u64(out, (uint64_t)row->pid)) \
    X("PROGRAM", -15, mw_text_string(out, row->header->comm)) \
    X("ALLOC",    10, put_size(out, row->stats.Alloc)) \
    X("RSS",      10, put_size(out, row->stats.RSS)) \
    X("RETAINED", 10, put_size(out, row->stats.HeapRetained)) \
    X("LIMIT",    10, put_size(out, row->stats.NextTrim)) \
    X("AGE",       7, put_age(out, row->age_ns)) \
    X("TRIMS",     6, mw_text_u64(out, row->stats.NumTrim)) \
    X("STATE",     0, mw_text_string(out, row->state))
/* clang-format on */

static void print_titles(void)
{
    const char *gap = "";
#define PRINT_TITLE(title, width, put)                                                                                 \
    printf("%s%*s", gap, width, title);                                                                                \
    gap = "  ";
    COLUMNS(PRINT_TITLE)
#undef PRINT_TITLE
    puts("");
}

static void print_text(const struct row *row)
{
    char buffer[64];
    struct mw_text text;
    struct mw_text *out = &text;
    const char *gap = "";
#define PRINT_COLUMN(title, width, put)                                                                                \
    text = MW_TEXT(buffer);                                                                                            \
    put;                                                                                                               \
    printf("%s%*s", gap, width, buffer);                                                                               \
    gap = "  ";
    COLUMNS(PRINT_COLUMN)
#undef PRINT_COLUMN
    puts("");
}

/* ---- JSON, an object a line ---- */

static void print_json(const struct row *row)
{
    const struct {
        const char *name;
        const char *value;
    } strings[] = {
        {"Comm", row->header->comm}, {"Program", row->header->program}, {"State", row->state}, {"Segment", row->path}};
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {{"Alloc", row->stats.Alloc},
                   {"RSS", row->stats.RSS},
                   {"HeapRetained", row->stats.HeapRetained},
                   {"NextTrim", row->stats.NextTrim},
                   {"CgroupLimit", row->stats.CgroupLimit},
                   {"AgeNs", row->age_ns},
                   {"NumTrim", row->stats.NumTrim}};
    char buffer[JSON_BYTES];
    struct mw_text out = MW_TEXT(buffer);
    mw_text_string(&out, "{\"Pid\":");
    mw_text_u64(&out, (uint64_t)row->pid);
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        mw_text_char(&out, ',');
        mw_text_json_string(&out, strings[i].name);
        mw_text_char(&out, ':');
        mw_text_json_string(&out, strings[i].value);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        mw_text_char(&out, ',');
        mw_text_json_string(&out, numbers[i].name);
        mw_text_char(&out, ':');
        mw_text_u64(&out, numbers[i].value);
    }
    mw_text_char(&out, '}');
    puts(buffer);
}

/* ---- all of them ---- */

static void print_target(const struct mw_target *target, bool json)
{
    struct row row = {
        .pid = target->pid ? target->pid : (int)target->view.header.pid,
        .header = &target->view.header,
        .state = mw_target_state(target),
        .path = target->path,
        .age_ns = mw_target_age_ns(target),
    };
    mw_segment_view_stats(&target->view, &row.stats);
    (json ? print_json : print_text)(&row);
}

/* False: it is there and cannot be read, *error says why. What has ended meanwhile is no failure. */
static bool print_word(const char *word, bool json, struct mw_error *error)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    struct mw_target target;
    for (unsigned tries = 0; !mw_target_open(word, &target, error); tries++) {
        if (error->errno_value == ENOENT || error->errno_value == ENODATA)
            return true;
        if (tries == TRIES)
            return false;
        nanosleep(&moment, NULL); /* a process that has just begun has not written it all */
    }
    print_target(&target, json);
    mw_target_close(&target);
    return true;
}

static int print_list(const struct mw_segments_list *list, const struct wishes *wishes)
{
    struct mw_error error;
    int status = MW_COMMAND_OK;
    if (!wishes->json)
        print_titles();
    for (size_t i = 0; i < list->pid_count; i++) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", list->pids[i]);
        if (!print_word(pid, wishes->json, &error))
            status = mw_command_failed(&error);
    }
    for (size_t i = 0; wishes->dead && i < list->dead_count; i++)
        if (!print_word(list->dead[i].path, wishes->json, &error))
            status = mw_command_failed(&error);
    return status;
}

static int sweep(const struct mw_segments_list *list)
{
    struct mw_error error;
    int status = MW_COMMAND_OK;
    for (size_t i = 0; i < list->dead_count; i++) {
        if (unlink(list->dead[i].path) == 0 || errno == ENOENT)
            continue;
        mw_error_set(&error, errno, "cannot remove %s", list->dead[i].path);
        status = mw_command_failed(&error);
    }
    return status;
}

static int list_and_sweep(const struct wishes *wishes)
{
    struct mw_segments_places places = mw_segments_places();
    struct mw_segments_list list = {0};
    struct mw_error error;
    int status = MW_COMMAND_OK;
    bool found = mw_segments_find_watched(&places, &list, &error) &&
                 (!(wishes->dead || wishes->sweep) || mw_segments_find_dead(&places, &list, &error));
    if (!found)
        status = mw_command_failed(&error);
    if (found)
        status = print_list(&list, wishes);
    if (found && wishes->sweep && sweep(&list) != MW_COMMAND_OK)
        status = MW_COMMAND_FAILED;
    mw_segments_list_free(&list);
    return status;
}

enum { OPTION_ALL = MW_COMMAND_OPTION, OPTION_JSON, OPTION_SWEEP };

int mw_command_ps(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, OPTION_ALL},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {"sweep", no_argument, NULL, OPTION_SWEEP},
                                            {0}};
    struct wishes wishes = {0};
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (option) {
        case OPTION_ALL:
            wishes.dead = true;
            break;
        case OPTION_JSON:
            wishes.json = true;
            break;
        case OPTION_SWEEP:
            wishes.sweep = true;
            break;
        default:
            return mw_command_bad_option(argv);
        }
    }
    if (optind < argc)
        return mw_command_usage("ps", "it takes no argument, such as %s", argv[optind]);
    return list_and_sweep(&wishes);
}
