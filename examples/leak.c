/* SPDX-License-Identifier: MIT
 *
 * A program with a leak: it takes memory at a steady rate and keeps it, and prints nothing itself.
 *
 *     leak [MIB_PER_SECOND [MIB_IN_ALL]]      default: 1 MiB a second, without end
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIB (1024 * 1024)

static char *kept; /* each block holds the address of the one before */

/* A positive number, or the end of the program. */
static double number(const char *text, const char *what)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value <= 1e6)) {
        fprintf(stderr, "leak: %s is a number above 0 and up to 1000000, not \"%s\"\n", what, text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    double mib_per_second = argc > 1 ? number(argv[1], "MIB_PER_SECOND") : 1;
    unsigned long mib_in_all = argc > 2 ? (unsigned long)number(argv[2], "MIB_IN_ALL") : 0; /* 0: without end */
    double seconds = 1 / mib_per_second;
    struct timespec pause = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    for (unsigned long taken = 0; mib_in_all == 0 || taken < mib_in_all; taken++) {
        char *block = malloc(MIB);
        if (!block) {
            perror("leak");
            return 1;
        }
        memset(block, 1, MIB); /* memory counts when it is touched */
        memcpy(block, &kept, sizeof kept);
        kept = block;
        nanosleep(&pause, NULL);
    }
    return 0;
}
