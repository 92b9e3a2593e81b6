/* SPDX-License-Identifier: MIT
 *
 * A server in little, to look for leaks in: two threads handle requests by many routes, with much that is allocated and
 * freed at once, sessions that last for a random while, and what the parts that are named keep beside it.
 *
 *     requests REQUESTS_A_SECOND [PART=AMOUNT...]      0 requests a second: as many as can be
 *
 *     leak=N        1 KiB of each Nth request is never freed
 *     cache=MIB     an entry of each request, until there is so much, and no more
 *     found=MIB     the same, of what is asked for at random: the fuller it is, the slower it fills
 *     queue=MIB     each new entry takes the place of the oldest
 *     exchange=MIB  each new entry takes the place of one at random
 *     batch=N       what N requests add up to is freed together
 *
 * Says "filled" when the cache has stopped.
 */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define THREADS        2
#define KEPT_BYTES     1024
#define ENTRY_BYTES    4096
#define SESSIONS       2048
#define WORDS          12
#define MIB            (1024 * 1024)
#define NS_A_SECOND    1000000000L
#define EARLIEST_NS    1000000L /* so much too early is worth sleeping for */
#define SITE           __attribute__((noinline))
#define NO_TAIL_CALL() __asm__ volatile("")

/* What each thread has for itself. */
struct worker {
    uint64_t random;
    uint64_t handled;
};

struct table {
    pthread_mutex_t lock;
    size_t capacity;
    size_t used;
    size_t next;
    void **entries;
};

static struct table kept = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table cache = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table found = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table queue = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table exchange = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table batch = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct table sessions = {.lock = PTHREAD_MUTEX_INITIALIZER};
static unsigned long leak_each;
static long pause_ns; /* from request to request of a thread */

static uint64_t next_random(struct worker *worker)
{
    worker->random ^= worker->random << 13;
    worker->random ^= worker->random >> 7;
    worker->random ^= worker->random << 17;
    return worker->random >> 16;
}

static void *touched(void *block, size_t bytes)
{
    CHECK(block, "%zu bytes", bytes);
    return memset(block, 1, bytes);
}

/* What was there before. */
static void *put(struct table *table, size_t place, void *entry)
{
    void *old = table->entries[place];
    table->entries[place] = entry;
    return old;
}

/* ---- what is kept ---- */

SITE static void note_for_audit(void)
{
    void **note = touched(malloc(KEPT_BYTES), KEPT_BYTES);
    pthread_mutex_lock(&kept.lock);
    *note = kept.entries; /* each has the address of the one before */
    kept.entries = note;
    pthread_mutex_unlock(&kept.lock);
}

SITE static void cache_page(void)
{
    pthread_mutex_lock(&cache.lock);
    if (cache.used < cache.capacity) {
        cache.entries[cache.used++] = touched(malloc(ENTRY_BYTES), ENTRY_BYTES);
        if (cache.used == cache.capacity)
            (void)!write(STDOUT_FILENO, "filled\n", 7);
    }
    pthread_mutex_unlock(&cache.lock);
}

SITE static void look_up_user(struct worker *worker)
{
    size_t place = next_random(worker) % found.capacity;
    pthread_mutex_lock(&found.lock);
    if (!found.entries[place])
        found.entries[place] = touched(malloc(ENTRY_BYTES), ENTRY_BYTES);
    pthread_mutex_unlock(&found.lock);
}

SITE static void enqueue_event(void)
{
    void *event = touched(malloc(ENTRY_BYTES), ENTRY_BYTES);
    pthread_mutex_lock(&queue.lock);
    void *old = put(&queue, queue.next, event);
    queue.next = (queue.next + 1) % queue.capacity;
    pthread_mutex_unlock(&queue.lock);
    free(old);
}

SITE static void store_thumbnail(struct worker *worker)
{
    void *thumbnail = touched(malloc(ENTRY_BYTES), ENTRY_BYTES);
    size_t place = next_random(worker) % exchange.capacity;
    pthread_mutex_lock(&exchange.lock);
    void *old = put(&exchange, place, thumbnail);
    pthread_mutex_unlock(&exchange.lock);
    free(old);
}

SITE static void add_to_batch(void)
{
    pthread_mutex_lock(&batch.lock);
    batch.entries[batch.used++] = touched(malloc(ENTRY_BYTES), ENTRY_BYTES);
    if (batch.used == batch.capacity)
        while (batch.used)
            free(batch.entries[--batch.used]);
    pthread_mutex_unlock(&batch.lock);
}

/* ---- what comes and goes ---- */

SITE static void *open_session(struct worker *worker)
{
    size_t bytes = 200 + next_random(worker) % 4000;
    return touched(malloc(bytes), bytes);
}

/* Either thread's sessions: they are freed by the other as often as not. */
SITE static void exchange_session(struct worker *worker)
{
    void *session = open_session(worker);
    size_t place = next_random(worker) % SESSIONS;
    pthread_mutex_lock(&sessions.lock);
    void *old = put(&sessions, place, session);
    pthread_mutex_unlock(&sessions.lock);
    free(old);
}

SITE static char *read_request(struct worker *worker)
{
    size_t bytes = 100 + next_random(worker) % 2000;
    return touched(malloc(bytes), bytes);
}

SITE static char *split_word(struct worker *worker)
{
    size_t bytes = 8 + next_random(worker) % 56;
    return touched(malloc(bytes), bytes);
}

SITE static char *append(char *text, size_t bytes)
{
    return touched(realloc(text, bytes), bytes);
}

SITE static char *render(struct worker *worker)
{
    size_t bytes = 0;
    char *page = NULL;
    for (unsigned piece = 0; piece < 6; piece++) {
        bytes += 100 + next_random(worker) % 1000;
        page = append(page, bytes);
    }
    return page;
}

SITE static char *format_log_line(struct worker *worker)
{
    size_t bytes = 80 + next_random(worker) % 120;
    return touched(calloc(1, bytes), bytes);
}

/* ---- requests ---- */

SITE static void finish(struct worker *worker)
{
    if (leak_each && ++worker->handled % leak_each == 0)
        note_for_audit();
    if (cache.capacity)
        cache_page();
    if (found.capacity)
        look_up_user(worker);
    if (queue.capacity)
        enqueue_event();
    if (exchange.capacity)
        store_thumbnail(worker);
    if (batch.capacity)
        add_to_batch();
    NO_TAIL_CALL();
}

SITE static void handle(struct worker *worker)
{
    char *words[WORDS];
    char *request = read_request(worker);
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = split_word(worker);
    exchange_session(worker);
    char *page = render(worker);
    char *line = format_log_line(worker);
    finish(worker);
    for (unsigned i = 0; i < WORDS; i++)
        free(words[i]);
    free(request);
    free(page);
    free(line);
}

/* Each route is a function of its own, and what it allocates a stack of its own. */
#define ROUTE(name)                                                                                                    \
    SITE static void route_##name(struct worker *worker)                                                               \
    {                                                                                                                  \
        void *own = touched(malloc(sizeof #name * 64), sizeof #name * 64);                                             \
        handle(worker);                                                                                                \
        free(own);                                                                                                     \
    }
#define ROUTES(X)                                                                                                      \
    X(index)                                                                                                           \
    X(login)                                                                                                           \
    X(search)                                                                                                          \
    X(basket)                                                                                                          \
    X(order)                                                                                                           \
    X(invoice)                                                                                                         \
    X(account)                                                                                                         \
    X(product)                                                                                                         \
    X(review)                                                                                                          \
    X(picture)

ROUTES(ROUTE)

#define ROUTE_ADDRESS(name) route_##name,
static void (*const routes[])(struct worker *) = {ROUTES(ROUTE_ADDRESS)};

static void advance(struct timespec *time, long ns)
{
    time->tv_nsec += ns;
    while (time->tv_nsec >= NS_A_SECOND) {
        time->tv_nsec -= NS_A_SECOND;
        time->tv_sec++;
    }
}

static long ns_until(const struct timespec *time)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (time->tv_sec - now.tv_sec) * NS_A_SECOND + time->tv_nsec - now.tv_nsec;
}

static void *serve(void *argument)
{
    struct worker *worker = argument;
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    for (;;) {
        routes[next_random(worker) % (sizeof routes / sizeof *routes)](worker);
        if (!pause_ns)
            continue;
        advance(&due, pause_ns);
        if (ns_until(&due) > EARLIEST_NS)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
    return NULL;
}

/* ---- arguments ---- */

static void make_table(struct table *table, size_t capacity)
{
    table->capacity = capacity;
    table->entries = calloc(capacity, sizeof *table->entries);
    CHECK(table->entries, "%zu entries", capacity);
}

static unsigned long number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    CHECK(end != text && !*end && value <= 1000000, "%s", text);
    return value;
}

static void take_part(const char *text)
{
    static const struct {
        const char *name;
        struct table *table;
    } tables[] = {{"cache", &cache}, {"found", &found}, {"queue", &queue}, {"exchange", &exchange}};
    const char *equals = strchr(text, '=');
    CHECK(equals, "%s", text);
    size_t length = (size_t)(equals - text);
    unsigned long amount = number(equals + 1);
    CHECK(amount, "%s", text);
    if (length == 4 && !strncmp(text, "leak", length)) {
        leak_each = amount;
        return;
    }
    if (length == 5 && !strncmp(text, "batch", length)) {
        make_table(&batch, amount);
        return;
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strlen(tables[i].name) == length && !strncmp(text, tables[i].name, length)) {
            make_table(tables[i].table, amount * MIB / ENTRY_BYTES);
            return;
        }
    }
    CHECK(0, "%s: no such part", text);
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS];
    CHECK(argc > 1, "requests REQUESTS_A_SECOND [PART=AMOUNT...]");
    unsigned long a_second = number(argv[1]);
    pause_ns = a_second ? (long)(THREADS * NS_A_SECOND / a_second) : 0;
    for (int i = 2; i < argc; i++)
        take_part(argv[i]);
    make_table(&sessions, SESSIONS);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t thread;
        workers[i].random = 88172645463325252ULL + i;
        CHECK(pthread_create(&thread, NULL, serve, &workers[i]) == 0, "thread %u", i);
    }
    for (;;)
        pause();
}
