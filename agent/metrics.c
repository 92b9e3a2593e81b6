/* SPDX-License-Identifier: MIT
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics specification 1.0.
 */
#include "metrics.h"

#include <stdbool.h>
#include <string.h>

/* ---- units ---- */

/* X(unit, suffix): of the names; empty for what has no unit there. */
#define UNITS(X)                                                                                                       \
    X(bytes, "bytes") X(objects, "objects") X(ns, "seconds") X(unix_ns, "seconds") X(ratio, "ratio") X(count, "")

static void put_bytes(struct mw_text *out, uint64_t value)
{
    mw_text_u64(out, value);
}

static void put_objects(struct mw_text *out, uint64_t value)
{
    mw_text_u64(out, value);
}

static void put_count(struct mw_text *out, uint64_t value)
{
    mw_text_u64(out, value);
}

static void put_ns(struct mw_text *out, uint64_t value)
{
    mw_text_fixed(out, value, 9);
}

static void put_unix_ns(struct mw_text *out, uint64_t value)
{
    mw_text_fixed(out, value, 9);
}

static void put_ratio(struct mw_text *out, double value)
{
    mw_text_double(out, value, 6);
}

static const char *suffix_of(const char *unit)
{
    static const struct {
        const char *unit;
        const char *suffix;
    } units[] = {
#define UNIT(unit, suffix) {#unit, suffix},
        UNITS(UNIT)
#undef UNIT
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(unit, units[i].unit) == 0)
            return units[i].suffix;
    return "";
}

/* ---- families ---- */

#define NAME_BYTES 96

struct family {
    const char *kind;
    const char *help;
    size_t help_length;
    const char *unit;        /* the suffix of the name; "": none */
    char name[NAME_BYTES];   /* OpenMetrics calls a family so; to the text format it is called as its samples are */
    char sample[NAME_BYTES]; /* with _total */
};

static void put_name(struct mw_text *out, const char *metric, const char *unit)
{
    const char *suffix = suffix_of(unit);
    mw_text_string(out, "memwatch_");
    mw_text_string(out, metric);
    mw_text_string(out, *suffix ? "_" : "");
    mw_text_string(out, suffix);
}

void mw_metrics_name(struct mw_text *out, const char *metric, const char *unit, const char *kind)
{
    put_name(out, metric, unit);
    mw_text_string(out, strcmp(kind, "counter") == 0 ? "_total" : "");
}

/* Of an optional statistic what 0 means is not said: there is no sample then. */
static size_t help_length(const char *kind, const char *help)
{
    const char *zero = strcmp(kind, "optional") == 0 ? strstr(help, "; 0:") : NULL;
    return zero ? (size_t)(zero - help) : strlen(help);
}

static struct family make_family(const char *metric, const char *kind, const char *unit, const char *help)
{
    struct family family = {
        .kind = kind, .help = help, .help_length = help_length(kind, help), .unit = suffix_of(unit)};
    struct mw_text name = MW_TEXT(family.name);
    struct mw_text sample = MW_TEXT(family.sample);
    put_name(&name, metric, unit);
    mw_metrics_name(&sample, metric, unit, kind);
    return family;
}

/* "# TYPE name type", and so on. */
static void put_comment(struct mw_text *out, const char *keyword, const char *name, const char *text, size_t length)
{
    const char *const words[] = {"# ", keyword, " ", name, " "};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        mw_text_string(out, words[i]);
    mw_text_bytes(out, text, length);
    mw_text_char(out, '\n');
}

static void put_head(struct mw_text *out, enum mw_metrics_format format, const struct family *family)
{
    const char *name = format == MW_METRICS_TEXT ? family->sample : family->name;
    const char *type = strcmp(family->kind, "optional") == 0 ? "gauge" : family->kind;
    put_comment(out, "TYPE", name, type, strlen(type));
    if (format == MW_METRICS_OPENMETRICS && *family->unit)
        put_comment(out, "UNIT", name, family->unit, strlen(family->unit));
    /* quotes are escaped in one format and must not be in the other: there are none */
    put_comment(out, "HELP", name, family->help, family->help_length);
}

/* "name{labels} ", or with one label more. */
static void begin_sample(struct mw_text *out, const struct family *family, const char *labels, const char *more)
{
    bool is_bare = !*labels && !*more;
    mw_text_string(out, family->sample);
    mw_text_string(out, is_bare ? "" : "{");
    mw_text_string(out, labels);
    mw_text_string(out, *labels && *more ? "," : "");
    mw_text_string(out, more);
    mw_text_string(out, is_bare ? " " : "} ");
}

/* ---- the statistics ---- */

/* clang-format off */
#define PUT_STATISTIC(ctype, Name, kind, unit, metric, help)                                                           \
    if (*(metric)) {                                                                                                   \
        const struct family family = make_family(metric, #kind, #unit, help);                                               \
        bool is_optional = strcmp(#kind, "optional") == 0;                                                             \
        put_head(out, format, &family);                                                                                \
        for (size_t i = 0; i < metrics->process_count; i++) {                                                          \
            const struct mw_metrics_process *process = metrics->processes[i];                                          \
            if (is_optional && !(process->values.Name > 0))                                                            \
                continue;                                                                                              \
            begin_sample(out, &family, process->labels, "");                                                           \
            put_##unit(out, process->values.Name);                                                                     \
            mw_text_char(out, '\n');                                                                                   \
        }                                                                                                              \
    }
/* clang-format on */

static void put_statistics(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    MEMWATCH_STATISTICS(PUT_STATISTIC)
}

/* ---- of each process besides ---- */

static void put_times(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    const struct family started = make_family("start_timestamp", "gauge", "unix_ns", "when the program was started");
    const struct family tick =
        make_family("tick_timestamp", "gauge", "unix_ns", "when the process last read what the kernel says of it");
    put_head(out, format, &started);
    for (size_t i = 0; i < metrics->process_count; i++) {
        begin_sample(out, &started, metrics->processes[i]->labels, "");
        put_unix_ns(out, metrics->processes[i]->started_unix_ns);
        mw_text_char(out, '\n');
    }
    put_head(out, format, &tick);
    for (size_t i = 0; i < metrics->process_count; i++) {
        begin_sample(out, &tick, metrics->processes[i]->labels, "");
        put_unix_ns(out, metrics->processes[i]->tick_unix_ns);
        mw_text_char(out, '\n');
    }
}

/* The text format knows no type info: there it is a gauge that is called as OpenMetrics calls the sample. Returns the
 * family of the sample. */
static struct family put_info_head(struct mw_text *out, enum mw_metrics_format format, const char *name,
                                   const char *sample_name, const char *help)
{
    bool is_text = format == MW_METRICS_TEXT;
    const struct family head = make_family(is_text ? sample_name : name, is_text ? "gauge" : "info", "count", help);
    put_head(out, format, &head);
    return make_family(sample_name, "info", "count", help);
}

static void put_info(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    const struct family sample =
        put_info_head(out, format, "process", "process_info", "a watched process: its program");
    for (size_t i = 0; i < metrics->process_count; i++) {
        begin_sample(out, &sample, metrics->processes[i]->labels, metrics->processes[i]->info);
        mw_text_string(out, "1\n");
    }
}

static void put_deaths(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    static const char *const causes[] = {
#define CAUSE(NAME, text, help) "cause=\"" text "\"",
        MW_DEATH_CAUSES(CAUSE)
#undef CAUSE
    };
#define CAUSE_HELP(NAME, text, help) "; " text ": " help
    const struct family family =
        make_family("deaths", "counter", "count",
                    "watched processes that have ended since the agent began" MW_DEATH_CAUSES(CAUSE_HELP));
#undef CAUSE_HELP
    put_head(out, format, &family);
    for (size_t i = 0; i < metrics->death_count; i++)
        for (unsigned cause = 0; cause < MW_DEATH_CAUSE_COUNT; cause++) {
            begin_sample(out, &family, metrics->deaths[i]->labels, causes[cause]);
            mw_text_u64(out, metrics->deaths[i]->counts[cause]);
            mw_text_char(out, '\n');
        }
}

/* ---- of the agent ---- */

static void put_agent(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics_agent *agent)
{
#define PUT_OWN(type, name, unit, member, help)                                                                        \
    {                                                                                                                  \
        const struct family family = make_family(name, #type, #unit, help);                                            \
        put_head(out, format, &family);                                                                                \
        begin_sample(out, &family, "", "");                                                                            \
        put_##unit(out, agent->member);                                                                                \
        mw_text_char(out, '\n');                                                                                       \
    }
    MW_METRICS_AGENT(PUT_OWN)
#undef PUT_OWN
    const struct family build = put_info_head(out, format, "build", "build_info", "the agent's version");
    begin_sample(out, &build, "", "version=\"" MEMWATCH_VERSION "\"");
    mw_text_string(out, "1\n");
}

/* ---- the whole ---- */

const char *mw_metrics_content_type(enum mw_metrics_format format)
{
    return format == MW_METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                            : "text/plain; version=0.0.4; charset=utf-8";
}

struct mw_metrics_values mw_metrics_values(const struct memwatch_stats *stats)
{
    return (struct mw_metrics_values){
#define TAKE(ctype, Name, kind, unit, metric, help) .Name = stats->Name,
        MEMWATCH_STATISTICS(TAKE)
#undef TAKE
    };
}

void mw_metrics_write(struct mw_text *out, enum mw_metrics_format format, const struct mw_metrics *metrics)
{
    put_info(out, format, metrics);
    put_times(out, format, metrics);
    put_statistics(out, format, metrics);
    put_deaths(out, format, metrics);
    put_agent(out, format, &metrics->agent);
    if (format == MW_METRICS_OPENMETRICS)
        mw_text_string(out, "# EOF\n");
}

/* Neither format allows bytes that are not UTF-8, and what a process calls itself need not be. */
void mw_metrics_label(struct mw_text *out, const char *name, const char *value)
{
    if (!*value)
        return;
    mw_text_string(out, out->length ? "," : "");
    mw_text_string(out, name);
    mw_text_string(out, "=\"");
    while (*value) {
        size_t length = mw_text_utf8_length(value);
        if (*value == '\n')
            mw_text_string(out, "\\n");
        else if (length == 0)
            mw_text_string(out, "\xef\xbf\xbd");
        else {
            mw_text_string(out, *value == '"' || *value == '\\' ? "\\" : "");
            mw_text_bytes(out, value, length);
        }
        value += length ? length : 1;
    }
    mw_text_char(out, '"');
}
