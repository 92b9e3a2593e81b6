/* SPDX-License-Identifier: MIT */
#include "commands.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mw_command_failed(const struct mw_error *error)
{
    fprintf(stderr, "memwatch: %s\n", error->text);
    return MW_COMMAND_FAILED;
}

static const char *arguments_of(const char *name)
{
#define ARGUMENTS_OF(command, arguments, help)                                                                         \
    if (strcmp(name, #command) == 0)                                                                                   \
        return arguments;
    MW_COMMANDS(ARGUMENTS_OF)
#undef ARGUMENTS_OF
    return "";
}

int mw_command_usage(const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "memwatch %s: ", name);
    // cppcheck-suppress va_list_usedBeforeStarted
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "; usage: memwatch %s %s\n", name, arguments_of(name));
    va_end(arguments);
    return MW_COMMAND_USAGE;
}

int mw_command_bad_option(char *const *argv)
{
    const char *word = argv[optind - 1];
    if (optopt >= MW_COMMAND_OPTION)
        return mw_command_usage(argv[0], "%.*s takes no value", (int)strcspn(word, "="), word);
    if (optopt) /* a short one, perhaps from the midst of a word */
        return mw_command_usage(argv[0], "there is no option -%c", optopt);
    return mw_command_usage(argv[0], "there is no option %s", word);
}
