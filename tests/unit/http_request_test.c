/* SPDX-License-Identifier: MIT
 *
 * What clients send, friendly and hostile: targets, parameters, and the headers that are judged.
 */
#include "http_request.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

static void targets(void **state)
{
    static const struct {
        const char *text;
        const char *path; /* NULL: it is refused */
        const char *pid;  /* NULL: there is none */
    } cases[] = {
        {"/", "/", NULL},
        {"/metrics", "/metrics", NULL},
        {"/metrics?", "/metrics", NULL},
        {"/a?pid=12", "/a", "12"},
        {"/a?pid", "/a", ""},
        {"/a?pid=", "/a", ""},
        {"/a?pid=1&pid=2", "/a", "2"},
        {"/a?x=1&pid=12&y=2", "/a", "12"},
        {"/a?&&pid=12&", "/a", "12"},
        {"/a?pid=1%32", "/a", "12"},
        {"/a?%70id=12", "/a", "12"},
        {"/a?pid=1+2", "/a", "1 2"},
        {"/a?pid=1=2", "/a", "1=2"},
        {"/a?pid=1?2", "/a", "1?2"},
        {"/a?PID=12", "/a", NULL},
        {"/debug%2fpprof/heap", "/debug/pprof/heap", NULL},
        {"/a+b", "/a+b", NULL},
        {"/../../etc/passwd", "/../../etc/passwd", NULL}, /* no files are served: it is a route that is not there */
        {"//metrics", "//metrics", NULL},
        {"", NULL, NULL},
        {"*", NULL, NULL},
        {"metrics", NULL, NULL},
        {"http://elsewhere/metrics", NULL, NULL},
        {"/metrics%00", NULL, NULL},
        {"/metrics%0a", NULL, NULL},
        {"/%", NULL, NULL},
        {"/%4", NULL, NULL},
        {"/%4x", NULL, NULL},
        {"/%-1", NULL, NULL},
        {"/\xff", NULL, NULL},
        {"/a?pid=%00", NULL, NULL},
        {"/a?%=1", NULL, NULL},
        {"/a?b=%e2%82%ac", NULL, NULL},
        {"/a?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&pid=16", "/a", "16"},
        {"/a?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&pid=17", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_http_target target;
        struct mw_error error = {0};
        char *text = strdup(cases[i].text); /* so that a read behind its end is seen by the address sanitizer */
        bool is_good = mw_http_target_parse(text, &target, &error);
        free(text);
        CHECK_I64(cases[i].text, is_good, cases[i].path != NULL);
        CHECK(cases[i].text, is_good == !*error.text);
        if (!is_good)
            continue;
        CHECK_TEXT(cases[i].text, target.path, cases[i].path);
        const char *pid = mw_http_parameter(&target, "pid");
        CHECK_TEXT(cases[i].text, pid ? pid : "none", cases[i].pid ? cases[i].pid : "none");
    }
}

static void targets_of_any_length(void **state)
{
    static char text[3 * MW_HTTP_TARGET_BYTES];
    struct mw_http_target target;
    struct mw_error error;
    (void)state;
    for (size_t length = 1; length < sizeof text; length++) {
        memset(text, '%', length);
        text[0] = '/';
        text[length] = '\0';
        assert_int_equal(mw_http_target_parse(text, &target, &error), length == 1);
        memset(text + 1, 'a', length - 1);
        assert_int_equal(mw_http_target_parse(text, &target, &error), length < MW_HTTP_TARGET_BYTES);
    }
}

static void numbers(void **state)
{
    static const struct {
        const char *query;
        long long value; /* -1: it is refused */
    } cases[] = {
        {"", 7},
        {"other=3", 7},
        {"n=5", 5},
        {"n=05", 5},
        {"n=1", 1},
        {"n=300", 300},
        {"n=0", -1},
        {"n=301", -1},
        {"n=", -1},
        {"n", -1},
        {"n=-5", -1},
        {"n=+5", -1},
        {"n=5s", -1},
        {"n=0x5", -1},
        {"n=5.0", -1},
        {"n=%205", -1},
        {"n=5&n=5", -1},
        {"n=18446744073709551621", -1}, /* 2^64 + 5 */
        {"n=99999999999999999999999999999999999999999999999999", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct mw_http_target target;
        struct mw_error error;
        char text[128];
        uint64_t value = 7;
        snprintf(text, sizeof text, "/a?%s", cases[i].query);
        assert_true(mw_http_target_parse(text, &target, &error));
        bool is_good = mw_http_number(&target, "n", 1, 300, &value, &error);
        CHECK_I64(cases[i].query, is_good, cases[i].value >= 0);
        CHECK_U64(cases[i].query, value, is_good ? (unsigned long long)cases[i].value : 7);
        if (!is_good)
            CHECK_HAS(cases[i].query, error.text, "n= ");
    }
}

static void hosts(void **state)
{
    static const struct {
        const char *host;
        bool is_loopback;
    } cases[] = {
        {"localhost", true},
        {"LocalHost:9464", true},
        {"127.0.0.1", true},
        {"127.0.0.1:80", true},
        {"[::1]", true},
        {"[::1]:65535", true},
        {"", false},
        {"localhost.", false},
        {"localhost.evil.example", false},
        {"localhostevil.example", false},
        {"evil.example", false},
        {"evil.example:9464", false},
        {"127.0.0.1.nip.io", false},
        {"127.0.0.1:", false},
        {"127.0.0.1:80:80", false},
        {"127.0.0.1:http", false},
        {"127.0.0.1:123456", false},
        {"127.0.0.1 evil", false},
        {"127.0.0.1@evil.example", false},
        {"::1", false},
        {"[::1", false},
        {"0.0.0.0", false},
        {"10.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].host, mw_http_is_loopback_host(cases[i].host), cases[i].is_loopback);
}

static void negotiation(void **state)
{
    static const struct {
        const char *accept;
        enum mw_metrics_format format;
    } cases[] = {
        {NULL, MW_METRICS_TEXT},
        {"", MW_METRICS_TEXT},
        {"*/*", MW_METRICS_TEXT},
        {"text/plain", MW_METRICS_TEXT},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", MW_METRICS_TEXT},
        {"application/openmetrics-text", MW_METRICS_OPENMETRICS},
        {"application/openmetrics-text; version=1.0.0; charset=utf-8", MW_METRICS_OPENMETRICS},
        {"Application/OpenMetrics-Text;Version=\"1.0.0\"", MW_METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=0.0.1", MW_METRICS_TEXT},
        {"application/openmetrics-text;version=2.0.0,text/plain;q=0.1", MW_METRICS_TEXT},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         MW_METRICS_OPENMETRICS},
        /* Prometheus 3 */
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
         "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
         "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         MW_METRICS_OPENMETRICS},
        /* its protobuf first */
        {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         MW_METRICS_TEXT},
        {"text/plain;q=0.2,application/openmetrics-text;q=0.3", MW_METRICS_OPENMETRICS},
        {"text/plain;q=0.3,application/openmetrics-text;q=0.2", MW_METRICS_TEXT},
        {"text/plain,application/openmetrics-text", MW_METRICS_TEXT},
        {"application/openmetrics-text,*/*", MW_METRICS_OPENMETRICS},
        {"application/openmetrics-text;q=0", MW_METRICS_TEXT},
        {"application/openmetrics-text;q=0,*/*", MW_METRICS_TEXT},
        {"application/openmetrics-text;q=x", MW_METRICS_TEXT},
        {"application/openmetrics-text;q=9", MW_METRICS_TEXT},
        {"application/openmetrics-text;q=0.5;q=0", MW_METRICS_TEXT},
        {"application/*", MW_METRICS_OPENMETRICS},
        {"application/json", MW_METRICS_TEXT},
        {",;=,\",;;q=,", MW_METRICS_TEXT},
        {"x\",application/openmetrics-text", MW_METRICS_TEXT}, /* within quotes */
        {"application/openmetrics-text2", MW_METRICS_TEXT},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].accept ? cases[i].accept : "none", mw_http_negotiate_metrics(cases[i].accept),
                  cases[i].format);
}

static void encodings(void **state)
{
    static const struct {
        const char *accept;
        bool gzip;
    } cases[] = {
        {NULL, false},      {"", false},         {"gzip", true},         {"deflate, gzip", true},
        {"GZIP;q=1", true}, {"gzip;q=0", false}, {"gzip;q=0, *", false}, {"*", true},
        {"*;q=0", false},   {"identity", false}, {"xgzip", false},       {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].accept ? cases[i].accept : "none", mw_http_takes_gzip(cases[i].accept), cases[i].gzip);
}

static void tokens(void **state)
{
    static const struct {
        const char *header;
        bool is_right;
    } cases[] = {
        {"Bearer 0123456789abcdef", true},
        {"bearer  0123456789abcdef", true},
        {NULL, false},
        {"", false},
        {"Bearer", false},
        {"Bearer ", false},
        {"Bearer 0123456789abcde", false},
        {"Bearer 0123456789abcdeg", false},
        {"Bearer 0123456789abcdef0", false},
        {"Bearer 0123456789ABCDEF", false},
        {"Basic 0123456789abcdef", false},
        {"0123456789abcdef", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_I64(cases[i].header ? cases[i].header : "none", mw_http_has_token(cases[i].header, "0123456789abcdef"),
                  cases[i].is_right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets), cmocka_unit_test(targets_of_any_length), cmocka_unit_test(numbers),
        cmocka_unit_test(hosts),   cmocka_unit_test(negotiation),           cmocka_unit_test(encodings),
        cmocka_unit_test(tokens),
    };
    return cmocka_run_group_tests_name("http_request", tests, NULL, NULL);
}
