/* SPDX-License-Identifier: MIT
 *
 * Is MmapSys what the program holds by its own mmap calls, whatever it does to its mappings, also from several
 * threads, in a signal handler and in the child of a fork?
 */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memwatch.h>

#include "check.h"

#define PAGE    4096
#define THREADS 4
#define ROUNDS  3000

static struct memwatch_stats start;

static struct memwatch_stats now(void)
{
    struct memwatch_stats stats;
    CHECK(memwatch_read_stats(&stats) == 0, "the library is not loaded");
    return stats;
}

static void expect(const char *what, uint64_t pages)
{
    struct memwatch_stats stats = now();
    uint64_t held = stats.MmapSys - start.MmapSys;
    CHECK(held == pages * PAGE, "%s: %llu bytes are held, should be %llu", what, (unsigned long long)held,
          (unsigned long long)pages * PAGE);
    CHECK(stats.MmapDrops == start.MmapDrops, "%s: %llu drops", what, (unsigned long long)stats.MmapDrops);
}

static char *map(void *at, size_t pages, int protection, int flags)
{
    char *mapped = mmap(at, pages * PAGE, protection, flags | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED, "mmap");
    return mapped;
}

static void one_thread(void)
{
    char *a = map(NULL, 100, PROT_NONE, MAP_PRIVATE);
    expect("reserved", 100);
    map(a + 10 * PAGE, 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED);
    expect("mapped over a part", 100);
    munmap(a + 15 * PAGE, 10 * PAGE);
    expect("unmapped a hole", 90);
    munmap(a + 15 * PAGE, 10 * PAGE);
    expect("unmapped it again", 90);
    CHECK(munmap(a + 1, PAGE) == -1, "an unaligned munmap must fail");
    expect("a munmap that failed", 90);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED, "an empty mmap must fail");
    munmap(a, 100 * PAGE);
    expect("unmapped all of it", 0);

    char *b = map(NULL, 10, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    b = mremap(b, 10 * PAGE, 5000 * PAGE, MREMAP_MAYMOVE);
    CHECK(b != MAP_FAILED, "mremap");
    expect("grown", 5000);
    b = mremap(b, 5000 * PAGE, 3 * PAGE, 0);
    expect("shrunk", 3);
    char *c = map(NULL, 8, PROT_NONE, MAP_PRIVATE);
    CHECK(mremap(b, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, c + 2 * PAGE) == c + 2 * PAGE, "mremap");
    expect("moved over another", 8);
    munmap(c, 8 * PAGE);
    expect("gone", 0);

    char *d = mmap(NULL, 100, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(d != MAP_FAILED, "mmap");
    expect("less than a page counts as one", 1);
    munmap(d, 1);
    expect("and goes as one", 0);

    void *big = malloc((size_t)64 * 1024 * 1024); /* glibc maps it */
    CHECK(big, "malloc");
    expect("the allocator's own mapping is not the program's", 0);
    free(big);
}

static void *churn(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char *a = map(NULL, 4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
        munmap(a + PAGE, PAGE);
        munmap(a, 4 * PAGE);
    }
    return NULL;
}

static void many_threads(void)
{
    pthread_t threads[THREADS];
    for (unsigned t = 0; t < THREADS; t++)
        CHECK(pthread_create(&threads[t], NULL, churn, NULL) == 0, "pthread_create");
    for (unsigned i = 0; i < 200; i++) {
        pid_t child = fork(); /* while the others are at it */
        if (child == 0) {
            struct memwatch_stats inherited = now();
            char *a = map(NULL, 7, PROT_READ, MAP_PRIVATE);
            struct memwatch_stats after = now();
            munmap(a, 7 * PAGE);
            _exit(after.MmapSys - inherited.MmapSys == 7 * PAGE && now().MmapSys == inherited.MmapSys ? 0 : 1);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0, "the child of a fork: status %d", status);
    }
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    expect("after threads and forks", 0);
}

static volatile sig_atomic_t handled;

static void on_alarm(int unused)
{
    (void)unused;
    munmap(map(NULL, 1, PROT_READ, MAP_PRIVATE), PAGE);
    handled++;
}

/* A handler may find its own thread inside the table: that call is then dropped and counted, never waited for. */
static void in_signal_handlers(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    for (unsigned i = 0; handled < 50 && i < 1000000; i++) {
        if (i % 100 == 0)
            ualarm(200, 0);
        munmap(map(NULL, 1, PROT_READ, MAP_PRIVATE), PAGE);
    }
    signal(SIGALRM, SIG_IGN);
    CHECK(handled >= 50, "only %d signals came", (int)handled);
    struct memwatch_stats stats = now();
    CHECK(stats.MmapSys - start.MmapSys <= (stats.MmapDrops - start.MmapDrops) * PAGE,
          "%llu bytes are held, with only %llu drops", (unsigned long long)(stats.MmapSys - start.MmapSys),
          (unsigned long long)stats.MmapDrops);
}

int main(void)
{
    start = now();
    one_thread();
    many_threads();
    in_signal_handlers();
    puts("mappings: all right");
    return 0;
}
