/* SPDX-License-Identifier: MIT
 *
 * /debug/pprof/: heap profiles as Go's net/http/pprof serves them, of any watched process. A profile is made in a
 * process of its own: the names of functions come from files that are not ours, and take their time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "inspect.h"
#include "memory.h"
#include "pprof.h"
#include "serve.h"
#include "syscall.h"

#define MOST_JOBS    32
#define MOST_SECONDS 600
#define MOST_PID     4194304
#define LINE_BYTES   1024

/* What a child's result means. */
enum { MADE, FAILED, GONE };

struct wishes {
    uint64_t pid;
    uint64_t seconds; /* 0: from the start; else only what changes within */
    uint64_t debug;   /* not 0: as text */
    bool allocs;
};

/* ---- in the child ---- */

static bool write_all(int fd, const void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t n = write(fd, (const char *)bytes + done, count - done);
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static int fail(int fd, const struct mw_error *error)
{
    write_all(fd, error->text, strlen(error->text));
    return error->errno_value == ENOENT || error->errno_value == ENODATA ? GONE : FAILED;
}

static int print_text(const struct mw_inspect *inspect, int fd)
{
    FILE *out = fdopen(fd, "w");
    if (!out)
        return FAILED;
    mw_pprof_print(&inspect->profile, inspect->symbols, out);
    return fflush(out) ? FAILED : MADE;
}

static int pack(const struct mw_inspect *inspect, const struct wishes *wishes, const struct mw_profile *since, int fd)
{
    const struct mw_pprof_wishes how = {.shown_first = wishes->allocs ? MW_PPROF_ALLOC_BYTES : MW_PPROF_LIVE_BYTES,
                                        .since = since};
    struct mw_error error;
    void *bytes;
    size_t count;
    if (!mw_pprof_pack(&inspect->profile, inspect->symbols, &how, &bytes, &count, &error))
        return fail(fd, &error);
    return write_all(fd, bytes, count) ? MADE : FAILED;
}

static bool is_same_program(const struct mw_segment_header *a, const struct mw_segment_header *b)
{
    return a->pid == b->pid && a->start_ticks == b->start_ticks && a->started_ns == b->started_ns;
}

/* What is allocated is not freed: the process ends with it. */
static int make_difference(const struct wishes *wishes, const char *pid, int fd)
{
    struct mw_inspect before;
    struct mw_inspect after;
    struct mw_error error;
    if (!mw_inspect_open(pid, MW_SYMBOLS_OFFSETS, &before, &error))
        return fail(fd, &error);
    mw_sys_sleep_until(mw_clock_ns(CLOCK_MONOTONIC) + wishes->seconds * 1000000000);
    mw_job_wait_for_turn();
    if (!mw_inspect_open(pid, MW_SYMBOLS_FUNCTIONS, &after, &error))
        return fail(fd, &error);
    if (!is_same_program(&before.target.view.header, &after.target.view.header)) {
        mw_error_set(&error, 0, "process %s has executed another program meanwhile", pid);
        return fail(fd, &error);
    }
    return pack(&after, wishes, &before.profile, fd);
}

static int make_profile(const void *context, int fd)
{
    const struct wishes *wishes = context;
    struct mw_inspect inspect;
    struct mw_error error;
    char pid[24];
    snprintf(pid, sizeof pid, "%" PRIu64, wishes->pid);
    if (wishes->seconds)
        return make_difference(wishes, pid, fd);
    mw_job_wait_for_turn();
    if (!mw_inspect_open(pid, MW_SYMBOLS_FUNCTIONS, &inspect, &error))
        return fail(fd, &error);
    return wishes->debug ? print_text(&inspect, fd) : pack(&inspect, wishes, NULL, fd);
}

/* ---- in the server ---- */

struct request {
    struct mw_serve *serve;
    struct mw_http_exchange *exchange;
    struct mw_job *job;
    struct wishes wishes;
};

static void end_request(struct request *request)
{
    request->serve->jobs_running--;
    free(request);
}

static void on_gone(void *context)
{
    struct request *request = context;
    mw_job_cancel(request->job);
    end_request(request);
}

/* The sentence that the child has left instead of a profile. */
static void answer_failure(struct mw_http_exchange *exchange, int result, int fd)
{
    char line[LINE_BYTES];
    ssize_t length = result == MW_JOB_DIED ? 0 : pread(fd, line, sizeof line - 1, 0);
    line[length > 0 ? length : 0] = '\0';
    close(fd);
    mw_http_answer(exchange, result == GONE ? 404 : 500, "%s",
                   length > 0 ? line : "the profile took too much time or memory, or could not be read");
}

static void on_done(void *context, int result, int fd, size_t bytes)
{
    struct request *request = context;
    const struct wishes *wishes = &request->wishes;
    char headers[192];
    if (result != MADE) {
        answer_failure(request->exchange, result, fd);
    } else if (wishes->debug) {
        mw_http_answer_file(request->exchange, fd, bytes, "Content-Type: text/plain; charset=utf-8\n");
    } else {
        snprintf(headers, sizeof headers,
                 "Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=\"%s%s\"\n",
                 wishes->allocs ? "allocs" : "heap", wishes->seconds ? "-delta" : "");
        mw_http_answer_file(request->exchange, fd, bytes, headers);
    }
    end_request(request);
}

static void start(struct mw_serve *serve, struct mw_http_exchange *exchange, const struct wishes *wishes)
{
    struct mw_error error;
    if (serve->jobs_running >= MOST_JOBS) {
        mw_http_answer(exchange, 503, "%d profiles are being made already", MOST_JOBS);
        return;
    }
    struct request *request = mw_memory_new(1, sizeof *request);
    *request = (struct request){.serve = serve, .exchange = exchange, .wishes = *wishes};
    serve->jobs_running++;
    request->job = mw_job_start(serve->jobs, make_profile, &request->wishes, on_done, request, &error);
    if (request->job) {
        mw_http_answer_later(exchange, on_gone, request);
        return;
    }
    mw_http_answer(exchange, 503, "%s", error.text);
    end_request(request);
}

/* "pid=12 (redis-server)", … */
static void put_processes(struct mw_text *out, const struct mw_watched *watched, const char *before, const char *after)
{
    for (size_t i = 0; i < mw_watched_count(watched); i++) {
        mw_text_string(out, before);
        mw_text_u64(out, (uint64_t)mw_watched_pid(watched, i));
        mw_text_string(out, " (");
        mw_text_string(out, mw_watched_comm(watched, i));
        mw_text_string(out, after);
    }
}

static bool is_watched(const struct mw_watched *watched, uint64_t pid)
{
    for (size_t i = 0; i < mw_watched_count(watched); i++)
        if ((uint64_t)mw_watched_pid(watched, i) == pid)
            return true;
    return false;
}

/* Whose profile it is to be. False: that cannot be told, and the answer says so. */
static bool choose(const struct mw_serve *serve, struct mw_http_exchange *exchange, struct wishes *wishes)
{
    char line[LINE_BYTES];
    struct mw_text text = MW_TEXT(line);
    if (wishes->pid && is_watched(serve->watched, wishes->pid))
        return true;
    if (wishes->pid) {
        mw_http_answer(exchange, 404, "process %" PRIu64 " is not watched, or not to be seen from here", wishes->pid);
        return false;
    }
    if (mw_watched_count(serve->watched) == 1) {
        wishes->pid = (uint64_t)mw_watched_pid(serve->watched, 0);
        return true;
    }
    put_processes(&text, serve->watched, " pid=", ")");
    if (text.length)
        mw_http_answer(exchange, 400, "several processes are watched, and one is to be named:%s", line);
    else
        mw_http_answer(exchange, 404, "no process is watched");
    return false;
}

static void serve_profile(struct mw_serve *serve, struct mw_http_exchange *exchange, bool allocs)
{
    const struct mw_http_target *target = mw_http_exchange_target(exchange);
    struct wishes wishes = {.allocs = allocs};
    struct mw_error error;
    if (!mw_http_number(target, "pid", 1, MOST_PID, &wishes.pid, &error) ||
        !mw_http_number(target, "seconds", 1, MOST_SECONDS, &wishes.seconds, &error) ||
        !mw_http_number(target, "debug", 0, 2, &wishes.debug, &error))
        mw_http_answer(exchange, 400, "%s", error.text);
    else if (wishes.seconds && wishes.debug)
        mw_http_answer(exchange, 400, "seconds= and debug= do not go together");
    else {
        mw_serve_refresh(serve, mw_clock_ns(CLOCK_MONOTONIC));
        if (choose(serve, exchange, &wishes))
            start(serve, exchange, &wishes);
    }
}

void mw_serve_pprof_heap(void *serve, struct mw_http_exchange *exchange)
{
    serve_profile(serve, exchange, false);
}

void mw_serve_pprof_allocs(void *serve, struct mw_http_exchange *exchange)
{
    serve_profile(serve, exchange, true);
}

/* go tool pprof asks here for names of addresses that have none, and gives up where it is refused. All that are known
 * are in the profile already. */
void mw_serve_pprof_symbol(void *context, struct mw_http_exchange *exchange)
{
    (void)context;
    mw_http_answer(exchange, 200, "num_symbols: 0");
}

/* ---- lists ---- */

static void put_routes(struct mw_text *out)
{
#define PUT_ROUTE(path, name, takes, help)                                                                             \
    if (*(help))                                                                                                       \
        mw_text_string(out, path "\n    " help "\n");
    MW_SERVE_ROUTES(PUT_ROUTE)
#undef PUT_ROUTE
}

void mw_serve_index(void *context, struct mw_http_exchange *exchange)
{
    char text[LINE_BYTES];
    struct mw_text out = MW_TEXT(text);
    (void)context;
    put_routes(&out);
    mw_http_answer(exchange, 200, "memwatch %s\n\n%s", MEMWATCH_VERSION, text);
}

void mw_serve_pprof_index(void *context, struct mw_http_exchange *exchange)
{
    struct mw_serve *serve = context;
    char text[LINE_BYTES];
    struct mw_text out = MW_TEXT(text);
    mw_serve_refresh(serve, mw_clock_ns(CLOCK_MONOTONIC));
    put_processes(&out, serve->watched, "/debug/pprof/heap?pid=", ")\n");
    mw_http_answer(exchange, 200, "%s", out.length ? text : "no process is watched");
}
