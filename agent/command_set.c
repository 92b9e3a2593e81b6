/* SPDX-License-Identifier: MIT
 *
 * memwatch set PID KEY=VALUE...: changes how a running process is watched.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "control.h"
#include "target.h"
#include "units.h"

#define WAIT_NS           (5 * UINT64_C(1000000000))
#define LEAST_INTERVAL_NS UINT64_C(10000000)
#define MOST_INTERVAL_NS  (24 * 3600 * UINT64_C(1000000000))

struct settings {
    struct mw_control_request request;
    struct mw_amount limit; /* a share needs the process's cgroup to be bytes */
};

static bool parse_interval(const char *value, struct settings *out)
{
    uint64_t *ns = &out->request.interval_ns;
    return mw_duration_parse(value, ns) == 0 && *ns >= LEAST_INTERVAL_NS && *ns <= MOST_INTERVAL_NS;
}

static bool parse_limit(const char *value, struct settings *out)
{
    return mw_amount_parse(value, &out->limit) == 0 &&
           !(out->limit.kind == MW_AMOUNT_BYTES && out->limit.bytes >= INT64_MAX);
}

static bool parse_percent(const char *value, struct settings *out)
{
    return mw_percent_parse(value, &out->request.trim_percent) == 0;
}

static bool parse_sample(const char *value, struct settings *out)
{
    uint64_t *bytes = &out->request.sample_mean_bytes;
    if (strcmp(value, "off") == 0)
        return *bytes = 0, true;
    return mw_size_parse(value, bytes) == 0 && *bytes > 1;
}

/* What can be set. */
static const struct key {
    const char *name;
    uint32_t what;
    bool (*parse)(const char *value, struct settings *out);
    const char *accepted;
} keys[] = {
    {"interval", MW_SEGMENT_ASK_INTERVAL, parse_interval, "a duration from 10ms to 24h, such as 250ms, 1s, 1.5m"},
    {"limit", MW_SEGMENT_ASK_LIMIT, parse_limit, MW_AMOUNT_ACCEPTED " (a share is of the cgroup's limit)"},
    {"trim_percent", MW_SEGMENT_ASK_PERCENT, parse_percent, MW_PERCENT_ACCEPTED},
    {"sample", MW_SEGMENT_ASK_SAMPLE, parse_sample, "a size from 2 bytes on, such as 512K, or off"},
};

#define KEY_COUNT (sizeof keys / sizeof keys[0])

static const struct key *find_key(const char *word, size_t length)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(keys[i].name) == length && strncmp(keys[i].name, word, length) == 0)
            return &keys[i];
    return NULL;
}

/* KEY=VALUE. Returns the exit status. */
static int take_word(const char *word, struct settings *out)
{
    size_t length = strcspn(word, "=");
    const struct key *key = find_key(word, length);
    if (!key)
        return mw_command_usage("set", "the keys are interval, limit, trim_percent and sample, not \"%.*s\"",
                                (int)length, word);
    if (!word[length])
        return mw_command_usage("set", "%s= takes %s", key->name, key->accepted);
    if (!key->parse(word + length + 1, out))
        return mw_command_usage("set", "%s takes %s, not \"%s\"", key->name, key->accepted, word + length + 1);
    out->request.what |= key->what;
    return MW_COMMAND_OK;
}

/* What can be told only when the process is known. */
static bool fit_to_process(const struct mw_target *target, struct settings *settings, struct mw_error *error)
{
    struct mw_control_request *request = &settings->request;
    uint64_t bytes = mw_amount_bytes(settings->limit, target->view.snapshot.stats.CgroupLimit);
    if (!target->is_alive)
        return mw_error_set(error, 0, "%s is not alive", target->name);
    if (request->what & MW_SEGMENT_ASK_SAMPLE && target->view.header.sample_mean_bytes == 1)
        return mw_error_set(error, 0, "%s samples every block, which cannot be changed while it runs", target->name);
    if (settings->limit.kind == MW_AMOUNT_SHARE && !bytes)
        return mw_error_set(error, 0, "%s has no cgroup limit that a share could be of", target->name);
    request->limit_bytes = settings->limit.kind == MW_AMOUNT_NONE ? INT64_MAX : (int64_t)bytes;
    return true;
}

static bool set(const struct mw_target *target, struct settings *settings, struct mw_error *error)
{
    struct mw_control_answer answer;
    struct mw_error cause;
    if (!fit_to_process(target, settings, error))
        return false;
    if (!mw_control_ask(target->fd, &target->view, &settings->request, WAIT_NS, &answer, &cause))
        return mw_error_set(error, 0, "%s %s: it is stopped, or watched without a monitor", target->name, cause.text);
    return answer.result < 0 ? mw_error_set(error, (int)-answer.result, "%s has not done it", target->name) : true;
}

int mw_command_set(int argc, char **argv)
{
    static const struct option options[] = {{0}};
    struct settings settings = {0};
    struct mw_target target;
    struct mw_error error;
    optind = 0;
    if (getopt_long(argc, argv, ":", options, NULL) != -1)
        return mw_command_bad_option(argv);
    if (argc - optind < 2)
        return mw_command_usage("set", argc == optind ? "no process is named" : "nothing is to be set");
    for (int i = optind + 1; i < argc; i++) {
        int status = take_word(argv[i], &settings);
        if (status != MW_COMMAND_OK)
            return status;
    }
    if (!mw_target_open(argv[optind], &target, &error))
        return mw_command_failed(&error);
    bool done = set(&target, &settings, &error);
    if (done)
        printf("%s: done\n", target.name);
    mw_target_close(&target);
    return done ? MW_COMMAND_OK : mw_command_failed(&error);
}
