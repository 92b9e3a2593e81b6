/* SPDX-License-Identifier: MIT
 *
 * /metrics: the figures of all watched processes. They are read when they are asked for; who asks within a quarter of
 * a second of another gets the same.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "gzip.h"
#include "memory.h"
#include "process.h"
#include "serve.h"
#include "syscall.h"

#define KEPT_NS     UINT64_C(250000000)
#define LEAST_BYTES 65536

/* ---- the agent's own figures ---- */

static uint64_t time_ns(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_usec * 1000;
}

static uint64_t used_cpu_ns(void)
{
    static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    uint64_t sum_ns = 0;
    for (size_t i = 0; i < sizeof whose / sizeof whose[0]; i++) {
        struct rusage usage;
        getrusage(whose[i], &usage);
        sum_ns += time_ns(usage.ru_utime) + time_ns(usage.ru_stime);
    }
    return sum_ns;
}

static void add_own_figures(struct mw_metrics_agent *agent, const struct mw_http_server *server)
{
    struct mw_http_counts counts = mw_http_server_counts(server);
    agent->cpu_ns = used_cpu_ns();
    mw_process_resident(getpid(), &agent->resident_bytes);
    agent->connections = counts.connections;
    agent->requests = counts.requests;
    agent->evicted = counts.evicted;
}

/* ---- the answer ---- */

static char *write_metrics(struct mw_serve *serve, enum mw_metrics_format format, size_t *count)
{
    struct mw_metrics metrics = mw_watched_metrics(serve->watched);
    add_own_figures(&metrics.agent, serve->server);
    for (size_t capacity = serve->metrics_bytes + serve->metrics_bytes / 4 + LEAST_BYTES;; capacity *= 2) {
        char *buffer = mw_memory_new(capacity, 1);
        struct mw_text text = mw_text_on(buffer, capacity);
        mw_metrics_write(&text, format, &metrics);
        if (!text.truncated) {
            *count = serve->metrics_bytes = text.length;
            return buffer;
        }
        free(buffer);
    }
}

static struct mw_http_body *make_body(struct mw_serve *serve, enum mw_metrics_format format, bool gzipped)
{
    char headers[256];
    size_t count;
    void *bytes = write_metrics(serve, format, &count);
    struct mw_error none;
    void *packed;
    gzipped = gzipped && mw_gzip(bytes, count, MW_GZIP_FAST, &packed, &count, &none);
    if (gzipped) {
        free(bytes);
        bytes = packed;
    }
    snprintf(headers, sizeof headers, "Content-Type: %s\nVary: Accept, Accept-Encoding\n%s",
             mw_metrics_content_type(format), gzipped ? "Content-Encoding: gzip\n" : "");
    return mw_http_body_new(serve->server, bytes, count, headers);
}

void mw_serve_metrics(void *context, struct mw_http_exchange *exchange)
{
    struct mw_serve *serve = context;
    uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
    enum mw_metrics_format format = mw_http_negotiate_metrics(mw_http_exchange_header(exchange, "Accept"));
    bool gzipped = mw_http_takes_gzip(mw_http_exchange_header(exchange, "Accept-Encoding"));
    struct mw_serve_kept *kept = &serve->metrics[format][gzipped];
    if (!kept->body || now_ns - kept->made_ns >= KEPT_NS) {
        mw_serve_refresh(serve, now_ns);
        mw_http_body_let_go(kept->body);
        *kept = (struct mw_serve_kept){.body = make_body(serve, format, gzipped), .made_ns = now_ns};
    }
    if (kept->body)
        mw_http_answer_body(exchange, kept->body);
    else
        mw_http_answer(exchange, 503, "too many slow clients are still being answered");
}
