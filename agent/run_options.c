/* SPDX-License-Identifier: MIT */
#include "run_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* One parser a type: 0, or a negative errno value. The empty default stands for "not given". */

static int parse_amount(const char *value, struct mw_amount *out)
{
    struct mw_amount amount;
    int error = mw_amount_parse(value, &amount);
    if (error)
        return error;
    if (amount.kind == MW_AMOUNT_BYTES && (amount.bytes < MW_SMALLEST_LIMIT_BYTES || amount.bytes > INT64_MAX))
        return -ERANGE;
    *out = amount;
    return 0;
}

static int parse_number(const char *value, unsigned most, unsigned *out)
{
    unsigned number = 0;
    if (!*value)
        return -EINVAL;
    for (; *value; value++) {
        if (*value < '0' || *value > '9')
            return -EINVAL;
        number = number * 10 + (unsigned)(*value - '0');
        if (number > most)
            return -ERANGE;
    }
    *out = number;
    return 0;
}

static int parse_percent(const char *value, int *out)
{
    unsigned number;
    int error = parse_number(value, 100, &number);
    if (!error)
        *out = (int)number;
    return error;
}

static int parse_count(const char *value, unsigned *out)
{
    return parse_number(value, 1000000, out);
}

static int parse_duration(const char *value, uint64_t *out)
{
    return mw_duration_parse(value, out);
}

static int parse_directory(const char *value, const char **out)
{
    *out = value;
    return 0;
}

/* Which of these words it is; -EINVAL: none. */
static int choose(const char *value, const char *const *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(value, words[i]) == 0)
            return (int)i;
    return -EINVAL;
}

#define CHOOSE(type, ...)                                                                                              \
    static const char *const words[] = {__VA_ARGS__};                                                                  \
    int chosen = choose(value, words, sizeof words / sizeof words[0]);                                                 \
    if (chosen < 0)                                                                                                    \
        return chosen;                                                                                                 \
    *out = (type)chosen;                                                                                               \
    return 0

static int parse_policy(const char *value, enum mw_restart_policy *out)
{
    CHOOSE(enum mw_restart_policy, [MW_RESTART_ON_OOM] = "on-oom", [MW_RESTART_ON_FAILURE] = "on-failure",
           [MW_RESTART_ALWAYS] = "always", [MW_RESTART_NO] = "no");
}

static int parse_mode(const char *value, enum mw_limit_mode *out)
{
    CHOOSE(enum mw_limit_mode, [MW_MODE_AUTO] = "auto", [MW_MODE_CGROUP] = "cgroup", [MW_MODE_SYSTEMD] = "systemd",
           [MW_MODE_IN_PROCESS] = "in-process");
}

static int parse_allocator(const char *value, enum mw_allocator *out)
{
    return mw_allocator_parse(value, out);
}

enum {
    OPTION_HELP = 'h',
    OPTION_VERSION = 'V',
    OPTION_FIRST = 256,
    OPTION_BEFORE_TABLE = OPTION_FIRST - 1,
#define OPTION_NUMBER(name, member, type, fallback, argument, accepted, help) OPTION_##member,
    MW_RUN_OPTIONS(OPTION_NUMBER)
#undef OPTION_NUMBER
};

static const struct option long_options[] = {
#define OPTION_LONG(name, member, type, fallback, argument, accepted, help)                                            \
    {name, required_argument, NULL, OPTION_##member},
    MW_RUN_OPTIONS(OPTION_LONG)
#undef OPTION_LONG
        {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {0}};

static bool take_option(struct mw_run_options *options, int option, const char *value, struct mw_error *error)
{
    switch (option) {
#define OPTION_TAKE(name, member, type, fallback, argument, accepted, help)                                            \
    case OPTION_##member:                                                                                              \
        if (parse_##type(value, &options->member) == 0)                                                                \
            return true;                                                                                               \
        return mw_error_set(error, 0, "--%s takes %s, not \"%s\"", name, accepted, value);
        MW_RUN_OPTIONS(OPTION_TAKE)
#undef OPTION_TAKE
    default:
        return true;
    }
}

bool mw_run_options_parse(struct mw_run_options *options, int argc, char **argv, struct mw_error *error)
{
    *options = (struct mw_run_options){.swappiness = MW_PERCENT_NONE};
#define OPTION_DEFAULT(name, member, type, fallback, argument, accepted, help)                                         \
    (void)parse_##type(fallback, &options->member);
    MW_RUN_OPTIONS(OPTION_DEFAULT)
#undef OPTION_DEFAULT
    optind = 0; /* glibc: begin anew */
    for (;;) {
        /* "+": the first word that is no option begins the command; ":": messages are ours. */
        int option = getopt_long(argc, argv, "+:hV", long_options, NULL);
        if (option == -1)
            break;
        if (option == OPTION_HELP || option == OPTION_VERSION) {
            options->action = option == OPTION_HELP ? MW_RUN_HELP : MW_RUN_VERSION;
            return true;
        }
        if (option == ':')
            return mw_error_set(error, 0, "%s needs a value; see memwatch-run --help", argv[optind - 1]);
        if (option == '?')
            return mw_error_set(error, 0, "there is no option %s; see memwatch-run --help",
                                optopt && optopt < OPTION_FIRST ? (char[]){'-', (char)optopt, 0} : argv[optind - 1]);
        if (!take_option(options, option, optarg, error))
            return false;
    }
    options->command = argv + optind;
    if (!*options->command)
        return mw_error_set(error, 0,
                            "no program is named; usage: memwatch-run [OPTION]... [--] PROGRAM [ARGUMENT]...");
    return true;
}

void mw_run_options_help(void)
{
    puts("Usage: memwatch-run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
         "Run PROGRAM in a memory cgroup of its own, watched by libmemwatch.so, and say how it ended.\n");
#define OPTION_HELP_LINE(name, member, type, fallback, argument, accepted, help)                                       \
    printf("  --%s\n        %s%s%s%s\n        takes %s\n", name "=" argument, help, *(fallback) ? " (default " : "",   \
           fallback, *(fallback) ? ")" : "", accepted);
    MW_RUN_OPTIONS(OPTION_HELP_LINE)
#undef OPTION_HELP_LINE
    puts(
        "  -h, --help\n        print this and end\n"
        "  -V, --version\n        print the version and end\n\n"
        "Every signal is passed on to PROGRAM. The exit status is PROGRAM's own; 128 + n when signal n killed it; 125\n"
        "when memwatch-run itself fails, 126 when PROGRAM cannot be executed, 127 when it is not found.");
}
