/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define PREFIX "MEMWATCH_"

/* One parser a type: 0, or a negative errno value and *out unchanged. */

static int parse_interval(const char *value, uint64_t *out_ns)
{
    uint64_t ns;
    int error = mw_duration_parse(value, &ns);
    if (error)
        return error;
    if (ns < MW_SHORTEST_INTERVAL_NS || ns > MW_LONGEST_INTERVAL_NS)
        return -ERANGE;
    *out_ns = ns;
    return 0;
}

static int parse_output(const char *value, struct mw_output_target *out)
{
    if (strcmp(value, "none") == 0) {
        *out = (struct mw_output_target){.kind = MW_OUTPUT_NONE};
    } else if (strcmp(value, "stdout") == 0) {
        *out = (struct mw_output_target){.kind = MW_OUTPUT_FD, .fd = 1};
    } else if (strcmp(value, "stderr") == 0) {
        *out = (struct mw_output_target){.kind = MW_OUTPUT_FD, .fd = 2};
    } else if (strncmp(value, "fd:", 3) == 0) {
        int fd = 0;
        const char *digit = value + 3;
        if (!*digit)
            return -EINVAL;
        for (; *digit; digit++)
            if (*digit < '0' || *digit > '9' || __builtin_mul_overflow(fd, 10, &fd) ||
                __builtin_add_overflow(fd, *digit - '0', &fd))
                return -EINVAL;
        *out = (struct mw_output_target){.kind = MW_OUTPUT_FD, .fd = fd};
    } else if (strchr(value, '/')) {
        *out = (struct mw_output_target){.kind = MW_OUTPUT_PATH, .path = value};
    } else {
        return -EINVAL; /* a slip such as "stdrr" must not become a file */
    }
    return 0;
}

static int parse_format(const char *value, enum mw_format *out)
{
    bool json = strcmp(value, "json") == 0;
    if (!json && strcmp(value, "text") != 0)
        return -EINVAL;
    *out = json ? MW_FORMAT_JSON : MW_FORMAT_TEXT;
    return 0;
}

static int parse_monitor(const char *value, enum mw_monitor_kind *out)
{
    static const char *const names[] = {
        [MW_MONITOR_AUTO] = "auto", [MW_MONITOR_THREAD] = "thread", [MW_MONITOR_OFF] = "off"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = (enum mw_monitor_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_unwind(const char *value, enum mw_unwind_kind *out)
{
    bool fp = strcmp(value, "fp") == 0;
    if (!fp && strcmp(value, "auto") != 0)
        return -EINVAL;
    *out = fp ? MW_UNWIND_FRAME_POINTERS : MW_UNWIND_AUTO;
    return 0;
}

static int parse_flag(const char *value, bool *out)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return -EINVAL;
    *out = yes;
    return 0;
}

static int parse_directory(const char *value, const char **out)
{
    if (value[0] != '/')
        return -EINVAL;
    *out = value;
    return 0;
}

static int parse_name(const char *value, const char **out)
{
    if (strlen(value) > 63)
        return -ERANGE;
    *out = value;
    return 0;
}

static int parse_sample(const char *value, uint64_t *out_bytes)
{
    if (strcmp(value, "off") == 0) {
        *out_bytes = 0;
        return 0;
    }
    return mw_size_parse(value, out_bytes);
}

static int parse_percent(const char *value, int *out)
{
    return mw_percent_parse(value, out);
}

static int parse_amount(const char *value, struct mw_amount *out)
{
    return mw_amount_parse(value, out);
}

/* A value as it can be shown: printable, and not longer than a line bears. */
static void put_value(struct mw_text *line, const char *value)
{
    mw_text_char(line, '"');
    for (size_t i = 0; value[i]; i++) {
        if (i == 60) {
            mw_text_string(line, "...");
            break;
        }
        bool printable = value[i] >= ' ' && value[i] < 0x7f;
        mw_text_bytes(line, printable ? &value[i] : "?", 1);
    }
    mw_text_char(line, '"');
}

struct complaints {
    mw_complain *tell;
    void *context;
};

static void complain_malformed(struct complaints to, const char *name, const char *value, const char *accepted,
                               const char *fallback)
{
    char buffer[512];
    struct mw_text line = MW_TEXT(buffer);
    mw_text_string(&line, "memwatch: " PREFIX);
    mw_text_string(&line, name);
    mw_text_char(&line, '=');
    put_value(&line, value);
    mw_text_string(&line, " is not understood: it takes ");
    mw_text_string(&line, accepted);
    mw_text_string(&line, "; going on with ");
    mw_text_string(&line, fallback);
    mw_text_char(&line, '\n');
    to.tell(to.context, buffer);
}

static void complain_unknown(struct complaints to, const char *variable)
{
    char buffer[512];
    struct mw_text line = MW_TEXT(buffer);
    size_t name_length = strcspn(variable, "=");
    char name[64];
    struct mw_text short_name = MW_TEXT(name);
    mw_text_bytes(&short_name, variable, name_length);
    mw_text_string(&line, "memwatch: there is no option ");
    put_value(&line, name);
    mw_text_string(&line, "; the options are");
#define OPTION_NAME(NAME, member, type, fallback, accepted, help) mw_text_string(&line, " " PREFIX #NAME);
    MW_OPTIONS(OPTION_NAME)
#undef OPTION_NAME
    mw_text_char(&line, '\n');
    to.tell(to.context, buffer);
}

/* Takes one "NAME=value" (the prefix cut off). False: no option has that name. */
static bool take_variable(struct mw_options *options, const char *variable, struct complaints complaints)
{
    const char *value = strchr(variable, '=');
    if (!value++)
        return true; /* not a variable at all; whoever made this environment knows why */
#define TAKE_OPTION(NAME, member, type, fallback, accepted, help)                                                      \
    if (strncmp(variable, #NAME "=", sizeof #NAME) == 0) {                                                             \
        if (*value && parse_##type(value, &options->member))                                                           \
            complain_malformed(complaints, #NAME, value, accepted, fallback);                                          \
        return true;                                                                                                   \
    }
    MW_OPTIONS(TAKE_OPTION)
#undef TAKE_OPTION
    return false;
}

void mw_options_parse(struct mw_options *options, char *const *environment, mw_complain *complain, void *context)
{
    struct complaints complaints = {complain, context};
    *options = (struct mw_options){0};
#define TAKE_DEFAULT(NAME, member, type, fallback, accepted, help) (void)parse_##type(fallback, &options->member);
    MW_OPTIONS(TAKE_DEFAULT)
#undef TAKE_DEFAULT
    for (char *const *variable = environment; variable && *variable; variable++)
        if (strncmp(*variable, PREFIX, sizeof PREFIX - 1) == 0 &&
            !take_variable(options, *variable + sizeof PREFIX - 1, complaints))
            complain_unknown(complaints, *variable);
}
