/* SPDX-License-Identifier: MIT
 *
 * idle MILLISECONDS [THREADS [MIB]]: a process that sleeps, with so many threads and so much memory touched. Prints the
 * CPU time that the process had meanwhile, which is not its own.
 */
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#include "workload.h"

enum { PAGE = 4096, STACK = 64 * 1024 };

static void *sleep_on(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

int main(int argc, char **argv)
{
    uint64_t milliseconds = number(argc, argv, 1, 1000);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    for (uint64_t left = number(argc, argv, 2, 0); left; left--) {
        pthread_t thread;
        must(pthread_create(&thread, &attributes, sleep_on, NULL) == 0, "pthread_create");
    }
    for (uint64_t left = number(argc, argv, 3, 0); left; left--) {
        char *block = allocate(1 << 20); /* held to the end */
        for (size_t i = PAGE; i < 1 << 20; i += PAGE)
            block[i] = 1;
    }
    struct timespec rest = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000) * 1000000};
    uint64_t begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    nanosleep(&rest, NULL);
    printf("cpu_ns %" PRIu64 "\n", clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin);
    fflush(stdout);
    _exit(0);
}
