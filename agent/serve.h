/* SPDX-License-Identifier: MIT
 *
 * What memwatch serve is made of, and what it serves: one list of routes, one file a kind of answer.
 *
 * To serve something more: a line in the list, and a function that answers (http_server.h). What takes long, or reads
 * debug information, is done in a process of its own (jobs.h). One thread.
 */
#ifndef MW_SERVE_H
#define MW_SERVE_H

#include "http_server.h"
#include "jobs.h"
#include "watched.h"

enum { MW_SERVE_GET, MW_SERVE_POST_TOO };

/* X(path, name, takes, help): the function is mw_serve_name; help "": it is not in the list that people are shown. */
/* clang-format off */
#define MW_SERVE_ROUTES(X) \
    X("/",                    index,        MW_SERVE_GET, "") \
    X("/metrics",             metrics,      MW_SERVE_GET, "all figures of all watched processes, for Prometheus and its kin") \
    X("/debug/pprof/",        pprof_index,  MW_SERVE_GET, "the processes whose profiles there are") \
    X("/debug/pprof/heap",    pprof_heap,   MW_SERVE_GET, "?pid=[&seconds=|&debug=1]: the heap profile, for pprof; what is live first") \
    X("/debug/pprof/allocs",  pprof_allocs, MW_SERVE_GET, "?pid=[&seconds=|&debug=1]: the same; what was ever allocated first") \
    X("/debug/pprof/symbol",  pprof_symbol, MW_SERVE_POST_TOO, "")
/* clang-format on */

/* Answers that are made once a while and given to all that ask for the same meanwhile. */
struct mw_serve_kept {
    struct mw_http_body *body; /* NULL: there is none */
    uint64_t made_ns;
};

struct mw_serve {
    struct mw_watched *watched;
    struct mw_http_server *server;
    struct mw_jobs *jobs;
    unsigned jobs_running;
    uint64_t refreshed_ns;                               /* when the figures were last read */
    struct mw_serve_kept metrics[MW_METRICS_FORMATS][2]; /* the second one compressed */
    size_t metrics_bytes;                                /* how long the last ones were */
};

/* The figures as they are now, or were a moment ago. */
void mw_serve_refresh(struct mw_serve *serve, uint64_t now_ns);

/* What was kept is not so any more. */
void mw_serve_forget(struct mw_serve *serve);

#define MW_SERVE_DECLARE(path, name, takes, help) void mw_serve_##name(void *serve, struct mw_http_exchange *exchange);
MW_SERVE_ROUTES(MW_SERVE_DECLARE)
#undef MW_SERVE_DECLARE

#endif
