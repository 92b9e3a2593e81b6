/* SPDX-License-Identifier: MIT
 *
 * A program that knows who holds its memory: call sites of every kind, and much healthy churn besides. It says what
 * each site holds and has allocated, a line a site ("name live_bytes live_blocks allocated_bytes allocated_blocks"),
 * and then does what it was told to.
 *
 *     sites die|wait|exit [SCALE]
 *
 * die: kills itself. wait: waits to be killed. exit: frees nothing and ends. SCALE: times the number of blocks. Without
 * the library, and with it, it does the same at each run.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "sites.h"

#define CHURN_THREADS 3
#define CHURN_ROUNDS  40
#define CHURN_BLOCKS  500

static unsigned scale = 1;

/* ---- the sites ---- */

static SITE void site_malloc_16(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(16));
}

static SITE void site_malloc_200(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(200));
}

static SITE void site_malloc_3000(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(3000));
}

static SITE void site_malloc_70000(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(70000));
}

/* Each is a mapping by itself, until the allocator raises its threshold. */
static SITE void site_malloc_3_mib(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(3 << 20));
}

static SITE void site_malloc_of_many_sizes(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(16 + (blocks * 7919U) % 5000));
}

static SITE void site_calloc_56(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, calloc(7, 8));
}

static SITE void site_calloc_300000(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, calloc(3, 100000));
}

/* From 32 bytes by doubling to 64 KiB. What it was before counts as freed. */
static SITE void site_realloc_growth(struct site *site, unsigned blocks)
{
    while (blocks--) {
        site_keep(site, realloc(NULL, 32));
        for (size_t size = 64; size <= 65536; size *= 2)
            site_keep(site, realloc(site_let_go(site), size));
    }
}

static SITE void site_that_loses_to_realloc(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(400));
}

/* A block belongs to whoever gave it its size. */
static SITE void site_reallocarray_of_anothers(struct site *site, struct site *other, unsigned blocks)
{
    while (blocks--)
        site_keep(site, reallocarray(site_let_go(other), 9, 100));
}

static SITE void site_memalign(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, memalign(256, 20000));
}

static SITE void site_posix_memalign(struct site *site, unsigned blocks)
{
    while (blocks--) {
        void *block;
        CHECK(posix_memalign(&block, 4096, 19000) == 0, "out of memory");
        site_keep(site, block);
    }
}

static SITE void site_aligned_alloc(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, aligned_alloc(64, 25600));
}

static SITE void site_strdup(struct site *site, unsigned blocks)
{
    static const char text[] = "a string of the usual length, which is not much, but then there are many of them";
    while (blocks--)
        site_keep(site, strdup(text));
}

static inline __attribute__((always_inline)) void *site_inlined(size_t size)
{
    return malloc(size);
}

static SITE void site_around_inlined(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, site_inlined(720));
}

static SITE void site_freed_on_other_threads(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(2500));
}

static SITE void site_on_a_thread_that_ended(struct site *site, unsigned blocks)
{
    while (blocks--)
        site_keep(site, malloc(1800));
}

/* Pieces of it are unmapped, in the middle and at the end. How many blocks are left of it is a matter of taste. */
static SITE void site_mmap(struct site *site, unsigned blocks)
{
    const size_t page = 4096;
    while (blocks--) {
        size_t bytes = 64 * page;
        char *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(start != MAP_FAILED, "mmap");
        site_add(site, bytes);
        CHECK(munmap(start + 10 * page, 5 * page) == 0, "munmap");
        CHECK(munmap(start + 60 * page, 4 * page) == 0, "munmap");
        site->live_bytes -= 9 * page;
    }
}

/* A mapping that grows belongs to whoever made it. What it was before counts as freed. */
static SITE void site_mremap(struct site *site, unsigned blocks)
{
    while (blocks--) {
        char *start = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(start != MAP_FAILED, "mmap");
        site_add(site, 16 * 4096);
        CHECK(mremap(start, 16 * 4096, 64 * 4096, MREMAP_MAYMOVE) != MAP_FAILED, "mremap");
        site_take_away(site, 16 * 4096);
        site_add(site, 64 * 4096);
    }
}

/* ---- parts that are opened ---- */

static site_work *open_part(const char *name)
{
    char path[PATH_MAX];
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0, "/proc/self/exe");
    self[length] = '\0';
    snprintf(path, sizeof path, "%s/%s", dirname(self), name);
    void *part = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(part, "%s", dlerror());
    site_work *work;
    *(void **)&work = dlsym(part, "sites_work");
    CHECK(work, "%s", dlerror());
    return work;
}

/* ---- churn ---- */

static SITE void churn_some(void **blocks, unsigned round)
{
    for (unsigned i = 0; i < CHURN_BLOCKS; i++)
        blocks[i] = malloc((i * 97 + round * 31) % 4000 + (i % 50 ? 1 : 40000));
    for (unsigned i = 0; i < CHURN_BLOCKS; i += 3)
        blocks[i] = realloc(blocks[i], (i * 61) % 9000 + 1);
    for (unsigned i = 0; i < CHURN_BLOCKS; i++)
        free(blocks[(i * 7) % CHURN_BLOCKS]);
}

static void *churn(void *unused)
{
    void *blocks[CHURN_BLOCKS];
    (void)unused;
    for (unsigned round = 0; round < CHURN_ROUNDS * scale; round++)
        churn_some(blocks, round);
    return NULL;
}

static pthread_t in_thread(void *(*work)(void *), void *argument)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, argument) == 0, "pthread_create");
    return thread;
}

static void *free_two_thirds(void *argument)
{
    struct site *site = argument;
    for (uint64_t left = site->live_blocks / 3 * 2; left; left--)
        free(site_let_go(site));
    return NULL;
}

static void *work_and_end(void *argument)
{
    site_on_a_thread_that_ended(argument, 2000 * scale);
    return NULL;
}

/* ---- the books ---- */

#define MOST_SITES 32

static struct site sites[MOST_SITES];
static unsigned site_count;

static struct site *open_books(const char *name)
{
    CHECK(site_count < MOST_SITES, "%s", name);
    sites[site_count].name = name;
    return &sites[site_count++];
}

static void tell(void)
{
    for (unsigned i = 0; i < site_count; i++)
        dprintf(STDOUT_FILENO, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", sites[i].name,
                sites[i].live_bytes, sites[i].live_blocks, sites[i].allocated_bytes, sites[i].allocated_blocks);
    dprintf(STDOUT_FILENO, "end\n");
}

static void finish(const char *how)
{
    if (strcmp(how, "die") == 0)
        kill(getpid(), SIGKILL);
    while (strcmp(how, "wait") == 0)
        pause();
}

#define DO(function, blocks) function(open_books(#function), (blocks)*scale)

int main(int argc, char **argv)
{
    pthread_t threads[CHURN_THREADS];
    CHECK(argc >= 2 && argc <= 3, "sites die|wait|exit [SCALE]");
    if (argc == 3)
        scale = (unsigned)strtoul(argv[2], NULL, 10);
    site_work *early = open_part("libsites-early.so");
    for (unsigned i = 0; i < CHURN_THREADS; i++)
        threads[i] = in_thread(churn, NULL);
    DO(site_malloc_16, 80000);
    DO(site_malloc_200, 10000);
    DO(site_malloc_3000, 700);
    DO(site_malloc_70000, 30);
    DO(site_malloc_3_mib, 2);
    DO(site_malloc_of_many_sizes, 1000);
    DO(site_calloc_56, 30000);
    DO(site_calloc_300000, 8);
    DO(site_realloc_growth, 40);
    struct site *loser = open_books("site_that_loses_to_realloc");
    site_that_loses_to_realloc(loser, 5500 * scale);
    site_reallocarray_of_anothers(open_books("site_reallocarray_of_anothers"), loser, 2500 * scale);
    DO(site_memalign, 110);
    DO(site_posix_memalign, 120);
    DO(site_aligned_alloc, 90);
    DO(site_strdup, 25000);
    DO(site_around_inlined, 3000);
    DO(site_operator_new, 7000);
    DO(site_operator_new_array, 70);
    struct site *shared = open_books("site_freed_on_other_threads");
    site_freed_on_other_threads(shared, 3000 * scale);
    pthread_join(in_thread(free_two_thirds, shared), NULL);
    pthread_join(in_thread(work_and_end, open_books("site_on_a_thread_that_ended")), NULL);
    DO(site_mmap, 20);
    DO(site_mremap, 10);
    early(open_books("site_early_library"), 5000 * scale);
    for (unsigned i = 0; i < CHURN_THREADS; i++)
        pthread_join(threads[i], NULL);
    open_part("libsites-late.so")(open_books("site_late_library"), 3500 * scale);
    open_part("libsites-stripped.so")(open_books("site_stripped_library"), 2300 * scale);
    tell();
    finish(argv[1]);
    return 0;
}
