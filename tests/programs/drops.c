/* SPDX-License-Identifier: MIT
 *
 * Waits until lines were dropped, or for half a minute, and prints how many were.
 */
#include <inttypes.h>
#include <time.h>

#include <memwatch.h>

#include "check.h"

int main(void)
{
    struct memwatch_stats stats;
    for (int i = 0; i < 3000; i++) {
        CHECK(memwatch_read_stats(&stats) == 0, "the library is not loaded");
        if (stats.OutputDrops >= 2)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    printf("%" PRIu64 "\n", stats.OutputDrops);
    return 0;
}
