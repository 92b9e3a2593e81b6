/* SPDX-License-Identifier: MIT
 *
 * memwatch serve: an agent for one machine, which serves what is known of all watched processes. Here are its command
 * line and its loop; what it serves is in serve_*.c.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "fileio.h"
#include "serve.h"
#include "syscall.h"

#define DEFAULT_LISTEN   "127.0.0.1:9464"
#define REFRESH_NS       UINT64_C(5000000000) /* at least so often new processes are looked for */
#define LEAST_REFRESH_NS UINT64_C(100000000)
#define TOKEN_BYTES      512
#define LEAST_TOKEN      16

struct wishes {
    const char *listen;
    const char *token_file;
};

struct agent {
    struct mw_serve serve;
    struct mw_listen listen;
    char token[TOKEN_BYTES];
    int loop;
    int listen_fd;
    int signals;
    bool is_asked_to_end;
    struct mw_loop_source signalled;
    struct mw_loop_source died;
};

/* ---- the token ---- */

/* One line, without blanks. */
static bool read_token(const char *path, char token[TOKEN_BYTES], struct mw_error *error)
{
    long length = mw_file_read_whole(path, token, TOKEN_BYTES);
    if (length < 0)
        return mw_error_set(error, (int)-length, "cannot read the token in %s", path);
    while (length && isspace((unsigned char)token[length - 1]))
        token[--length] = '\0';
    bool is_text = strlen(token) == (size_t)length;
    for (const char *c = token; *c; c++)
        is_text = is_text && isgraph((unsigned char)*c);
    if (length < LEAST_TOKEN || length >= TOKEN_BYTES - 1 || !is_text)
        return mw_error_set(error, 0, "the token in %s is to be one line of %d to %d printable characters", path,
                            LEAST_TOKEN, TOKEN_BYTES - 2);
    return true;
}

/* ---- the loop ---- */

void mw_serve_refresh(struct mw_serve *serve, uint64_t now_ns)
{
    if (serve->refreshed_ns && now_ns - serve->refreshed_ns < LEAST_REFRESH_NS)
        return;
    mw_watched_refresh(serve->watched, now_ns);
    serve->refreshed_ns = now_ns;
}

void mw_serve_forget(struct mw_serve *serve)
{
    for (unsigned i = 0; i < MW_METRICS_FORMATS; i++)
        for (unsigned k = 0; k < 2; k++) {
            mw_http_body_let_go(serve->metrics[i][k].body);
            serve->metrics[i][k].body = NULL;
        }
}

static void on_signal(void *context)
{
    struct agent *agent = context;
    struct signalfd_siginfo signal_info;
    if (read(agent->signals, &signal_info, sizeof signal_info) == (ssize_t)sizeof signal_info)
        agent->is_asked_to_end = true;
}

static void on_death(void *context)
{
    struct agent *agent = context;
    mw_watched_bury(agent->serve.watched, mw_clock_ns(CLOCK_MONOTONIC));
    mw_serve_forget(&agent->serve);
}

static void serve_until_asked_to_end(struct agent *agent)
{
    struct mw_serve *serve = &agent->serve;
    while (!agent->is_asked_to_end) {
        uint64_t now_ns = mw_clock_ns(CLOCK_MONOTONIC);
        if (!serve->refreshed_ns || now_ns - serve->refreshed_ns >= REFRESH_NS)
            mw_serve_refresh(serve, now_ns);
        uint64_t left_ns = serve->refreshed_ns + REFRESH_NS - now_ns;
        uint64_t server_ns = mw_http_server_run(serve->server, now_ns);
        mw_loop_wait(agent->loop, server_ns < left_ns ? server_ns : left_ns);
    }
}

/* ---- begin and end ---- */

/* Two descriptors a watched process, and one a connection. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int take_signals(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN); // NOLINT(cert-err33-c)
    return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool start_server(struct agent *agent, struct mw_error *error)
{
    static const struct mw_http_route routes[] = {
#define ROUTE(path, name, takes, help) {path, mw_serve_##name, takes, help},
        MW_SERVE_ROUTES(ROUTE)
#undef ROUTE
            {0}};
    const struct mw_http_settings settings = {.routes = routes,
                                              .context = &agent->serve,
                                              .listen = &agent->listen,
                                              .listen_fd = agent->listen_fd,
                                              .token = *agent->token ? agent->token : NULL,
                                              .loop = agent->loop};
    agent->serve.server = mw_http_server_new(&settings, error);
    return agent->serve.server;
}

/* All but the listening socket. */
static bool start(struct agent *agent, struct mw_error *error)
{
    struct mw_segments_places places = mw_segments_places();
    raise_file_limit();
    agent->loop = mw_loop_new();
    agent->signals = take_signals();
    if (agent->loop < 0 || agent->signals < 0 ||
        mw_loop_add(agent->loop, &agent->signalled, agent->signals, EPOLLIN, on_signal, agent))
        return mw_error_set(error, errno, "cannot wait for signals");
    agent->serve.jobs = mw_jobs_new(agent->loop, error);
    agent->serve.watched = agent->serve.jobs ? mw_watched_new(&places, error) : NULL;
    if (!agent->serve.watched)
        return false;
    mw_loop_add(agent->loop, &agent->died, mw_watched_fd(agent->serve.watched), EPOLLIN, on_death, agent);
    return start_server(agent, error);
}

static void end(struct agent *agent)
{
    struct mw_serve *serve = &agent->serve;
    mw_serve_forget(serve);
    if (serve->server)
        mw_http_server_free(serve->server);
    if (serve->watched)
        mw_watched_free(serve->watched);
    if (serve->jobs)
        mw_jobs_free(serve->jobs);
    if (agent->signals >= 0)
        close(agent->signals);
    if (agent->loop >= 0)
        close(agent->loop);
    mw_listen_close(&agent->listen, agent->listen_fd);
}

static int serve(struct agent *agent)
{
    char buffer[160];
    struct mw_text name = MW_TEXT(buffer);
    struct mw_error error;
    int status = MW_COMMAND_OK;
    agent->listen_fd = mw_listen_open(&agent->listen, &error);
    if (agent->listen_fd < 0)
        return mw_command_failed(&error);
    if (start(agent, &error)) {
        mw_listen_name(&name, &agent->listen);
        printf("memwatch: serving on %s\n", buffer);
        fflush(stdout); /* whoever has started it waits for that */
        serve_until_asked_to_end(agent);
    } else {
        status = mw_command_failed(&error);
    }
    end(agent);
    return status;
}

/* ---- the command line ---- */

/* What reaches beyond this machine is to be asked for twice. */
static bool prepare(const struct wishes *wishes, struct agent *agent, struct mw_error *error)
{
    if (!mw_listen_parse(wishes->listen, &agent->listen, error))
        return false;
    if (!agent->listen.is_loopback && !agent->listen.is_unix && !wishes->token_file)
        return mw_error_set(error, 0,
                            "on %s others could look into these processes: that takes --token-file=FILE too, or listen "
                            "on 127.0.0.1:PORT or unix:PATH",
                            wishes->listen);
    return true;
}

enum { OPTION_LISTEN = MW_COMMAND_OPTION, OPTION_TOKEN_FILE };

int mw_command_serve(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, OPTION_LISTEN},
                                            {"token-file", required_argument, NULL, OPTION_TOKEN_FILE},
                                            {0}};
    static struct agent agent = {.loop = -1, .listen_fd = -1, .signals = -1};
    struct wishes wishes = {.listen = DEFAULT_LISTEN};
    struct mw_error error;
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (option) {
        case OPTION_LISTEN:
            wishes.listen = optarg;
            break;
        case OPTION_TOKEN_FILE:
            wishes.token_file = optarg;
            break;
        case ':':
            return mw_command_usage("serve", optopt == OPTION_LISTEN ? "--listen takes " MW_LISTEN_ACCEPTED
                                                                     : "--token-file takes the path of a file");
        default:
            return mw_command_bad_option(argv);
        }
    }
    if (optind < argc)
        return mw_command_usage("serve", "it takes no argument, such as %s", argv[optind]);
    if (!prepare(&wishes, &agent, &error))
        return mw_command_usage("serve", "%s", error.text);
    if (wishes.token_file && !read_token(wishes.token_file, agent.token, &error))
        return mw_command_failed(&error);
    return serve(&agent);
}
