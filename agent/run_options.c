/* SPDX-License-Identifier: MIT */
#include "run_options.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define LARGEST_PID 4194304 /* the kernel's own bound */

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

static int parse_factor(const char *value, unsigned *out)
{
    unsigned number;
    int error = parse_number(value, 100, &number);
    if (!error && !number)
        error = -ERANGE;
    if (!error)
        *out = number;
    return error;
}

static int parse_room(const char *value, struct mw_amount *out)
{
    struct mw_amount room = {.kind = MW_AMOUNT_BYTES};
    if (strcmp(value, "any") == 0) {
        *out = (struct mw_amount){0};
        return 0;
    }
    int error = mw_size_parse(value, &room.bytes);
    if (!error && room.bytes > INT64_MAX)
        error = -ERANGE;
    if (!error)
        *out = room;
    return error;
}

static int parse_path(const char *value, const char **out)
{
    if (!*value)
        return -EINVAL;
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

static int parse_flag(const char *value, bool *out)
{
    CHOOSE(bool, [false] = "no", [true] = "yes");
}

static int parse_mode(const char *value, enum mw_limit_mode *out)
{
    CHOOSE(enum mw_limit_mode, [MW_MODE_AUTO] = "auto", [MW_MODE_CGROUP] = "cgroup", [MW_MODE_SYSTEMD] = "systemd",
           [MW_MODE_IN_PROCESS] = "in-process");
}

static int parse_report(const char *value, enum mw_report_format *out)
{
    CHOOSE(enum mw_report_format, [MW_REPORT_TEXT] = "text", [MW_REPORT_JSON] = "json");
}

static int parse_allocator(const char *value, enum mw_allocator *out)
{
    return mw_allocator_parse(value, out);
}

/* A name as kill(1) knows it, with or without SIG in front, or a number. */
static int parse_signal(const char *value, int *out)
{
    unsigned number;
    bool has_prefix = strncmp(value, "SIG", 3) == 0;
    if (parse_number(value, (unsigned)SIGRTMAX, &number) == 0 && number) {
        *out = (int)number;
        return 0;
    }
    for (int i = 1; i < SIGRTMIN; i++) {
        const char *known = sigabbrev_np(i);
        if (known && strcmp(has_prefix ? &value[3] : value, known) == 0) {
            *out = i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_pid(const char *value, int *out)
{
    unsigned number;
    int error = parse_number(value, LARGEST_PID, &number);
    if (!error && !number)
        error = -ERANGE;
    if (!error)
        *out = (int)number;
    return error;
}

enum {
    OPTION_FIRST = 256,
    OPTION_BEFORE_TABLE = OPTION_FIRST - 1,
#define OPTION_NUMBER(name, member, type, fallback, argument, accepted, help) OPTION_##member,
    MW_RUN_OPTIONS(OPTION_NUMBER)
#undef OPTION_NUMBER
#define FLAG_NUMBER(name, letter, member, help) FLAG_##member = (letter),
        MW_RUN_FLAGS(FLAG_NUMBER)
#undef FLAG_NUMBER
};

#define BIT(option) (UINT64_C(1) << ((option)-OPTION_FIRST))

static const struct option long_options[] = {
#define OPTION_LONG(name, member, type, fallback, argument, accepted, help)                                            \
    {name, required_argument, NULL, OPTION_##member},
    MW_RUN_OPTIONS(OPTION_LONG)
#undef OPTION_LONG
#define FLAG_LONG(name, letter, member, help) {name, no_argument, NULL, FLAG_##member},
        MW_RUN_FLAGS(FLAG_LONG)
#undef FLAG_LONG
            {0}};

/* "+": the first word that is no option begins the command; ":": messages are ours. */
static const char short_options[] = {'+', ':',
#define FLAG_SHORT(name, letter, member, help) letter,
                                     MW_RUN_FLAGS(FLAG_SHORT)
#undef FLAG_SHORT
                                         '\0'};

static bool take_option(struct mw_run_options *options, int option, const char *value, struct mw_error *error)
{
    switch (option) {
#define OPTION_TAKE(name, member, type, fallback, argument, accepted, help)                                            \
    case OPTION_##member:                                                                                              \
        options->given |= BIT(OPTION_##member);                                                                        \
        if (parse_##type(value, &options->member) == 0)                                                                \
            return true;                                                                                               \
        return mw_error_set(error, 0, "--%s takes %s, not \"%s\"", name, accepted, value);
        MW_RUN_OPTIONS(OPTION_TAKE)
#undef OPTION_TAKE
#define FLAG_TAKE(name, letter, member, help)                                                                          \
    case FLAG_##member:                                                                                                \
        options->member = true;                                                                                        \
        return true;
        MW_RUN_FLAGS(FLAG_TAKE)
#undef FLAG_TAKE
    default:
        return true;
    }
}

/* What is for a program that is to be started; NULL: none of it was given. */
static const char *given_for_a_start(const struct mw_run_options *options)
{
    static const int for_a_start[] = {
        OPTION_restart,        OPTION_restart_delay_ns, OPTION_restart_growth, OPTION_restart_delay_max_ns,
        OPTION_restart_jitter, OPTION_restart_reset_ns, OPTION_start_limit,    OPTION_stop_timeout_ns,
        OPTION_pdeathsig,      OPTION_allocator,        OPTION_pidfile};
    for (size_t i = 0; i < sizeof for_a_start / sizeof for_a_start[0]; i++)
        if (options->given & BIT(for_a_start[i]))
            return long_options[for_a_start[i] - OPTION_FIRST].name;
    return NULL;
}

/* --attach is by its nature for less than the rest. */
static bool agree_to_attach(const struct mw_run_options *options, struct mw_error *error)
{
    const char *for_a_start = options->attach ? given_for_a_start(options) : NULL;
    if (options->attach && *options->command)
        return mw_error_set(error, 0,
                            "--attach is for a process that runs already: it takes no program to start, as %s is",
                            *options->command);
    if (for_a_start)
        return mw_error_set(error, 0, "--%s is for a program that memwatch-run starts: it does not go with --attach",
                            for_a_start);
    if (options->attach && options->mode == MW_MODE_IN_PROCESS)
        return mw_error_set(error, 0,
                            "--limit-mode=in-process does not go with --attach; of a process that is watched "
                            "already, `memwatch set %d limit=SIZE` sets how much it is to keep to",
                            options->attach);
    return true;
}

/* Each is well by itself; together they say nothing. */
static bool agree(const struct mw_run_options *options, struct mw_error *error)
{
    bool has_limit = options->limit.kind != MW_AMOUNT_NONE;
    bool both_bytes = options->limit.kind == MW_AMOUNT_BYTES && options->high.kind == MW_AMOUNT_BYTES;
    const struct {
        bool is_wrong;
        const char *why;
    } cases[] = {
        {!*options->command && !options->attach,
         "no program is named; usage: memwatch-run [OPTION]... [--] PROGRAM [ARGUMENT]..."},
        {options->swap.kind != MW_AMOUNT_NONE && !has_limit, "--swap needs a --limit, which it is counted besides"},
        {options->high.kind != MW_AMOUNT_NONE && !has_limit,
         "--high needs a --limit besides: alone it may slow a program down without end"},
        {both_bytes && options->high.bytes >= options->limit.bytes,
         "--high is to be below --limit: where it is not, the kernel kills before it slows down"},
        {options->mode == MW_MODE_IN_PROCESS && !has_limit, "--limit-mode=in-process needs a --limit to hold"},
        {*options->cgroup && options->mode != MW_MODE_AUTO && options->mode != MW_MODE_CGROUP,
         "--cgroup says where the group is to be made: it takes --limit-mode=cgroup or none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (cases[i].is_wrong)
            return mw_error_set(error, 0, "%s", cases[i].why);
    return agree_to_attach(options, error);
}

/* getopt has left what it stumbled over: the letter of an option that is unknown, of a flag that was given a value, or
 * none, where the word is an unknown long option. */
static bool refuse(int letter, const char *word, struct mw_error *error)
{
    if (letter > 0 && letter < OPTION_FIRST && strchr(short_options, letter))
        return mw_error_set(error, 0, "%.*s takes no value", (int)strcspn(word, "="), word);
    if (letter > 0 && letter < OPTION_FIRST)
        return mw_error_set(error, 0, "there is no option -%c; see memwatch-run --help", letter);
    return mw_error_set(error, 0, "there is no option %s; see memwatch-run --help", word);
}

bool mw_run_options_parse(struct mw_run_options *options, int argc, char **argv, struct mw_error *error)
{
    *options = (struct mw_run_options){
        .swappiness = MW_PERCENT_NONE, .stop_timeout_ns = MW_DURATION_NONE, .cgroup = "", .keep = "", .pidfile = ""};
#define OPTION_DEFAULT(name, member, type, fallback, argument, accepted, help)                                         \
    (void)parse_##type(fallback, &options->member);
    MW_RUN_OPTIONS(OPTION_DEFAULT)
#undef OPTION_DEFAULT
    optind = 0; /* glibc: begin anew */
    while (!options->help && !options->version) {
        int option = getopt_long(argc, argv, short_options, long_options, NULL);
        if (option == -1)
            break;
        if (option == ':')
            return mw_error_set(error, 0, "%s needs a value; see memwatch-run --help", argv[optind - 1]);
        if (option == '?')
            return refuse(optopt, argv[optind - 1], error);
        if (!take_option(options, option, optarg, error))
            return false;
    }
    options->command = argv + optind;
    return options->help || options->version || agree(options, error);
}

void mw_run_options_help(void)
{
    puts("Usage: memwatch-run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
         "   or: memwatch-run [OPTION]... --attach=PID\n"
         "Run PROGRAM in a memory cgroup of its own, watched by libmemwatch.so, and say how it ended.\n");
#define OPTION_HELP_LINE(name, member, type, fallback, argument, accepted, help)                                       \
    printf("  --%s\n        %s%s%s%s\n        takes %s\n", name "=" argument, help, *(fallback) ? " (default " : "",   \
           fallback, *(fallback) ? ")" : "", accepted);
    MW_RUN_OPTIONS(OPTION_HELP_LINE)
#undef OPTION_HELP_LINE
#define FLAG_HELP_LINE(name, letter, member, help) printf("  -%c, --%s\n        %s\n", letter, name, help);
    MW_RUN_FLAGS(FLAG_HELP_LINE)
#undef FLAG_HELP_LINE
    puts("\nEvery signal is passed on to PROGRAM. The exit status is PROGRAM's own; 128 + n when signal n killed it; "
         "125\n"
         "when memwatch-run itself fails, 126 when PROGRAM cannot be executed, 127 when it is not found.");
}
