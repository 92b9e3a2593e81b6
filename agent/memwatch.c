/* SPDX-License-Identifier: MIT
 *
 * memwatch: looks at watched processes from outside. The commands are the table in commands.h.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *help;
} commands[] = {
#define COMMAND(name, arguments, help) {#name, mw_command_##name, arguments, help},
    MW_COMMANDS(COMMAND)
#undef COMMAND
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static void print_help(void)
{
    puts("Usage: memwatch COMMAND [ARGUMENT]...\n"
         "Look at processes that libmemwatch.so watches, and at what dead ones have left.\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %s %s\n        %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    puts("  -h, --help\n        print this and end\n"
         "  -V, --version\n        print the version and end\n\n"
         "A process is named by its PID, or by the path of its segment. The exit status is 0; 1 where something could\n"
         "not be done, 2 where the command line is wrong.");
}

static int name_the_commands(const char *what, const char *word)
{
    fprintf(stderr, "memwatch: %s%s; there are", what, word);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
    fputs("; see memwatch --help\n", stderr);
    return MW_COMMAND_USAGE;
}

static int run(int argc, char **argv)
{
    if (argc < 2)
        return name_the_commands("no command is named", "");
    const char *word = argv[1];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "help") == 0)
        return print_help(), MW_COMMAND_OK;
    if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0)
        return puts("memwatch " MEMWATCH_VERSION), MW_COMMAND_OK;
    return name_the_commands("there is no command ", word);
}

int main(int argc, char **argv)
{
    int status = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    struct mw_error error;
    mw_error_set(&error, errno, "standard output cannot be written");
    return mw_command_failed(&error);
}
