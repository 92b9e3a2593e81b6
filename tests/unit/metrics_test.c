/* SPDX-License-Identifier: MIT
 *
 * The text formats of Prometheus: what a line looks like, what stands in one format alone, and labels that fight back.
 * Whether the whole is well formed is judged by a parser of its own, in tests/scenarios/serve_test.py.
 */
#include "metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"

#define OUT_BYTES 65536

static const struct mw_metrics_process app = {
    .labels = "pid=\"12\",comm=\"app\"",
    .info = "program=\"/usr/bin/app\"",
    .started_unix_ns = UINT64_C(1700000000123456789),
    .tick_unix_ns = UINT64_C(1700000001000000000),
    .values = {.Alloc = 1048576,
               .TotalAlloc = UINT64_MAX,
               .PauseTotalNs = 12300000,
               .TrimCPUFraction = 0.125,
               .NumTrim = 3,
               .LastTrim = UINT64_C(1700000000500000000)},
};
static const struct mw_metrics_process other = {
    .labels = "pid=\"7\",comm=\"other\"", .info = "", .values = {.CgroupLimit = 4096}};

static const struct mw_metrics_deaths deaths = {.labels = "comm=\"app\"", .counts = {[MW_DEATH_OOM_KILL] = 2}};

static struct mw_metrics both(void)
{
    static const struct mw_metrics_process *const processes[] = {&app, &other};
    static const struct mw_metrics_deaths *const dead[] = {&deaths};
    return (struct mw_metrics){
        .processes = processes, .process_count = 2, .deaths = dead, .death_count = 1, .agent = {.cpu_ns = 1500000}};
}

static const char *written(enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    static char buffer[OUT_BYTES];
    struct mw_text out = MW_TEXT(buffer);
    mw_metrics_write(&out, format, metrics);
    assert_false(out.truncated);
    return buffer;
}

static void lines_of_each_format(void **state)
{
    static const struct {
        const char *text; /* NULL: the line stands in both */
        const char *openmetrics;
    } cases[] = {
        {NULL, "\nmemwatch_alloc_bytes{pid=\"12\",comm=\"app\"} 1048576\n"
               "memwatch_alloc_bytes{pid=\"7\",comm=\"other\"} 0\n"},
        {"\n# TYPE memwatch_allocated_bytes_total counter\n# HELP memwatch_allocated_bytes_total all heap blocks",
         "\n# TYPE memwatch_allocated_bytes counter\n# UNIT memwatch_allocated_bytes bytes\n"
         "# HELP memwatch_allocated_bytes all heap blocks"},
        {NULL, "\nmemwatch_allocated_bytes_total{pid=\"12\",comm=\"app\"} 18446744073709551615\n"},
        {"\n# TYPE memwatch_trims_total counter\n# HELP memwatch_trims_total trims done\n",
         "\n# TYPE memwatch_trims counter\n# HELP memwatch_trims trims done\n"},
        {NULL, "\nmemwatch_trims_total{pid=\"12\",comm=\"app\"} 3\n"},
        {NULL, "\nmemwatch_trim_pause_seconds_total{pid=\"12\",comm=\"app\"} 0.012300000\n"},
        {NULL, "\nmemwatch_trim_cpu_ratio{pid=\"12\",comm=\"app\"} 0.125000\n"},
        {NULL, "\nmemwatch_start_timestamp_seconds{pid=\"12\",comm=\"app\"} 1700000000.123456789\n"},
        /* an optional one: no sample where it is 0, and no word of it */
        {NULL, " memwatch_last_trim_timestamp_seconds when the last trim ended\n"
               "memwatch_last_trim_timestamp_seconds{pid=\"12\",comm=\"app\"} 1700000000.500000000\n# TYPE "},
        {NULL,
         "over the cgroup and its ancestors\nmemwatch_cgroup_limit_bytes{pid=\"7\",comm=\"other\"} 4096\n# TYPE "},
        {"# TYPE memwatch_process_info gauge\n# HELP memwatch_process_info ",
         "# TYPE memwatch_process info\n# HELP memwatch_process "},
        {NULL, "\nmemwatch_process_info{pid=\"12\",comm=\"app\",program=\"/usr/bin/app\"} 1\n"
               "memwatch_process_info{pid=\"7\",comm=\"other\"} 1\n"},
        {NULL, "\nmemwatch_deaths_total{comm=\"app\",cause=\"exit\"} 0\n"},
        {NULL, "\nmemwatch_deaths_total{comm=\"app\",cause=\"oom_kill\"} 2\n"},
        {NULL, "\nmemwatch_agent_cpu_seconds_total 0.001500000\n"},
        {NULL, "\nmemwatch_build_info{version=\"" MEMWATCH_VERSION "\"} 1\n"},
    };
    (void)state;
    struct mw_metrics metrics = both();
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *text = cases[i].text ? cases[i].text : cases[i].openmetrics;
        CHECK_HAS("text", written(MW_METRICS_TEXT, &metrics), text);
        CHECK_HAS("OpenMetrics", written(MW_METRICS_OPENMETRICS, &metrics), cases[i].openmetrics);
    }
    assert_null(strstr(written(MW_METRICS_TEXT, &metrics), "# UNIT"));
    assert_null(strstr(written(MW_METRICS_TEXT, &metrics), "# EOF"));
    const char *end = strstr(written(MW_METRICS_OPENMETRICS, &metrics), "\n# EOF\n");
    assert_non_null(end);
    assert_string_equal(end, "\n# EOF\n");
}

/* Each statistic has a family, or is said to be the same as another; no two have the same name. */
static void names(void **state)
{
    static const struct {
        const char *name;
        const char *metric;
        const char *unit;
        const char *kind;
        const char *help;
    } statistics[] = {
#define STATISTIC(ctype, Name, kind, unit, metric, help) {#Name, metric, #unit, #kind, help},
        MEMWATCH_STATISTICS(STATISTIC)
#undef STATISTIC
    };
    static char names[COUNT(statistics)][128];
    (void)state;
    for (size_t i = 0; i < COUNT(statistics); i++) {
        struct mw_text out = MW_TEXT(names[i]);
        if (!*statistics[i].metric) {
            CHECK_HAS(statistics[i].name, statistics[i].help, "the same as ");
            continue;
        }
        mw_metrics_name(&out, statistics[i].metric, statistics[i].unit, statistics[i].kind);
        CHECK(statistics[i].name, strspn(names[i], "abcdefghijklmnopqrstuvwxyz_") == strlen(names[i]));
        CHECK(statistics[i].name, !strpbrk(statistics[i].help, "\\\"\n"));
        for (size_t k = 0; k < i; k++)
            CHECK(names[i], strcmp(names[i], names[k]) != 0);
    }
}

static void labels(void **state)
{
    static const struct {
        const char *value;
        const char *written;
    } cases[] = {
        {"redis-server", "a=\"1\",x=\"redis-server\""},
        {"", "a=\"1\""},
        {"a\"b", "a=\"1\",x=\"a\\\"b\""},
        {"a\\", "a=\"1\",x=\"a\\\\\""},
        {"a\nb", "a=\"1\",x=\"a\\nb\""},
        {"}\n# EOF\n", "a=\"1\",x=\"}\\n# EOF\\n\""},
        {"gr\xc3\xbc\xc3\x9f", "a=\"1\",x=\"gr\xc3\xbc\xc3\x9f\""},
        {"\xff", "a=\"1\",x=\"\xef\xbf\xbd\""},
        {"\xc3", "a=\"1\",x=\"\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "a=\"1\",x=\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buffer[128];
        struct mw_text out = MW_TEXT(buffer);
        mw_metrics_label(&out, "a", "1");
        mw_metrics_label(&out, "x", cases[i].value);
        CHECK_TEXT(cases[i].value, buffer, cases[i].written);
    }
}

static void without_a_process(void **state)
{
    struct mw_metrics none = {0};
    (void)state;
    for (enum mw_metrics_format format = 0; format < MW_METRICS_FORMATS; format++) {
        CHECK_HAS("types", written(format, &none), "# TYPE memwatch_alloc_bytes gauge\n");
        assert_null(strstr(written(format, &none), "pid="));
    }
}

static void too_little_room(void **state)
{
    char small[100];
    struct mw_text out = MW_TEXT(small);
    struct mw_metrics metrics = both();
    (void)state;
    mw_metrics_write(&out, MW_METRICS_TEXT, &metrics);
    assert_true(out.truncated);
    assert_int_equal(strlen(small), sizeof small - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_each_format), cmocka_unit_test(names),           cmocka_unit_test(labels),
        cmocka_unit_test(without_a_process),    cmocka_unit_test(too_little_room),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
