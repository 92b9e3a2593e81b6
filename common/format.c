/* SPDX-License-Identifier: MIT */
#include "format.h"

#include "units.h"

#define MIB (1024 * 1024)

/* The text line. X(label, width, put): `put` prints its figure into out from stats; the next column begins `width`
 * characters after the label's "= ". */
/* clang-format off */
#define LINE(X) \
    X("Alloc",      11, put_mib(out, stats->Alloc)) \
    X("TotalAlloc", 11, put_mib(out, stats->TotalAlloc)) \
    X("Sys",        11, put_mib(out, stats->Sys)) \
    X("NumTrim",     3, mw_text_u64(out, stats->NumTrim)) \
    X("RSS",        11, put_mib(out, stats->RSS)) \
    X("Cgroup",      0, put_cgroup(out, stats))
/* clang-format on */

static void put_mib(struct mw_text *out, uint64_t bytes)
{
    uint64_t tenths = bytes / MIB * 10 + (bytes % MIB * 10 + MIB / 2) / MIB;
    mw_text_fixed(out, tenths, 1);
    mw_text_string(out, " MiB");
}

static void put_cgroup(struct mw_text *out, const struct memwatch_stats *stats)
{
    put_mib(out, stats->CgroupUsage);
    mw_text_string(out, stats->CgroupLimit ? " of " : ", no limit");
    if (stats->CgroupLimit)
        put_mib(out, stats->CgroupLimit);
}

static void begin_text(struct mw_text *out, const struct mw_identity *who)
{
    mw_text_string(out, "memwatch[");
    mw_text_u64(out, (uint64_t)who->pid);
    mw_text_string(out, "]:");
}

void mw_format_text(struct mw_text *out, const struct mw_identity *who, const struct memwatch_stats *stats)
{
    begin_text(out, who);
    size_t column = 0;
#define PUT_COLUMN(label, width, put)                                                                                  \
    mw_text_pad_to(out, column);                                                                                       \
    mw_text_string(out, " " label " = ");                                                                              \
    column = out->length + (width) + 1;                                                                                \
    put;
    LINE(PUT_COLUMN)
#undef PUT_COLUMN
    mw_text_char(out, '\n');
}

/* RFC 3339 in UTC with milliseconds, computed here: gmtime takes locks. The calendar is Howard Hinnant's
 * civil_from_days (http://howardhinnant.github.io/date_algorithms.html): years begin in March, so that the leap day
 * is the last. */
void mw_format_time(struct mw_text *out, uint64_t unix_ns)
{
    uint64_t seconds = unix_ns / 1000000000;
    uint64_t days = seconds / 86400 + 719468; /* since 0000-03-01 */
    uint64_t era = days / 146097;
    uint64_t day_of_era = days % 146097;
    uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t march_month = (5 * day_of_year + 2) / 153;
    uint64_t day = day_of_year - (153 * march_month + 2) / 5 + 1;
    uint64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    uint64_t year = year_of_era + era * 400 + (month <= 2);
    const struct {
        uint64_t value;
        unsigned digits;
        char after;
    } parts[] = {{year, 4, '-'},
                 {month, 2, '-'},
                 {day, 2, 'T'},
                 {seconds / 3600 % 24, 2, ':'},
                 {seconds / 60 % 60, 2, ':'},
                 {seconds % 60, 2, '.'},
                 {unix_ns / 1000000 % 1000, 3, 'Z'}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (uint64_t scale = parts[i].digits == 4 ? 1000 : parts[i].digits == 3 ? 100 : 10; scale; scale /= 10)
            mw_text_char(out, (char)('0' + parts[i].value / scale % 10));
        mw_text_char(out, parts[i].after);
    }
}

static void put_uint64_t(struct mw_text *out, uint64_t value)
{
    mw_text_u64(out, value);
}

static void put_double(struct mw_text *out, double value)
{
    mw_text_double(out, value, 6);
}

static void begin_json(struct mw_text *out, const struct mw_identity *who)
{
    mw_text_string(out, "{\"Pid\":");
    mw_text_u64(out, (uint64_t)who->pid);
    mw_text_string(out, ",\"Comm\":");
    mw_text_json_string(out, who->comm);
    mw_text_string(out, ",\"Time\":\"");
    mw_format_time(out, who->time_unix_ns);
    mw_text_char(out, '"');
}

static void put_allocator(struct mw_text *out, const struct memwatch_allocator *allocator)
{
    mw_text_string(out, "{\"Name\":");
    mw_text_json_string(out, allocator->Name);
    mw_text_string(out, ",\"LastTrim\":");
    mw_text_u64(out, allocator->LastTrim);
#define PUT_FIGURE(Name, help)                                                                                         \
    if (allocator->Name != UINT64_MAX) {                                                                               \
        mw_text_string(out, ",\"" #Name "\":");                                                                        \
        mw_text_u64(out, allocator->Name);                                                                             \
    }
    MEMWATCH_ALLOCATOR_FIGURES(PUT_FIGURE)
#undef PUT_FIGURE
    mw_text_char(out, '}');
}

static void put_allocators(struct mw_text *out, const struct memwatch_stats *stats)
{
    bool first = true;
    for (unsigned i = 0; i < MEMWATCH_ALLOCATORS; i++) {
        if (!*stats->Allocators[i].Name)
            continue;
        mw_text_string(out, first ? "" : ",");
        put_allocator(out, &stats->Allocators[i]);
        first = false;
    }
}

void mw_format_json(struct mw_text *out, const struct mw_identity *who, const struct memwatch_stats *stats)
{
    begin_json(out, who);
#define PUT_MEMBER(ctype, Name, kind, unit, metric, help)                                                              \
    mw_text_string(out, ",\"" #Name "\":");                                                                            \
    put_##ctype(out, stats->Name);
    MEMWATCH_STATISTICS(PUT_MEMBER)
#undef PUT_MEMBER
    mw_text_string(out, ",\"Allocators\":[");
    put_allocators(out, stats);
    mw_text_string(out, "],\"PauseNs\":[");
    for (unsigned i = 0; i < MEMWATCH_PAUSES && i < stats->NumTrim; i++) {
        mw_text_string(out, i ? "," : "");
        mw_text_u64(out, stats->PauseNs[i]);
    }
    mw_text_string(out, "],\"BySize\":[");
    bool first = true;
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++) {
        const struct memwatch_size_class *class = &stats->BySize[i];
        if (!class->Mallocs && !class->Frees)
            continue;
        mw_text_string(out, first ? "{\"Size\":" : ",{\"Size\":");
        mw_text_u64(out, class->Size);
        mw_text_string(out, ",\"Mallocs\":");
        mw_text_u64(out, class->Mallocs);
        mw_text_string(out, ",\"Frees\":");
        mw_text_u64(out, class->Frees);
        mw_text_char(out, '}');
        first = false;
    }
    mw_text_string(out, "]}\n");
}

static const struct {
    const char *key;
    const char *text; /* % stands for the limit */
} trim_reasons[] = {
#define TRIM_REASON(NAME, Statistic, key, text) [MW_TRIM_##NAME] = {key, text},
    MW_TRIM_REASONS(TRIM_REASON)
#undef TRIM_REASON
};

const char *mw_format_trim_reason(uint64_t reason)
{
    return reason < MW_TRIM_REASON_COUNT ? trim_reasons[reason].key : "unknown";
}

void mw_format_trim_words(struct mw_text *out, const struct mw_trim_event *event)
{
    bool is_known = event->reason < MW_TRIM_REASON_COUNT;
    for (const char *c = is_known ? trim_reasons[event->reason].text : "trim"; *c; c++) {
        if (*c == '%')
            mw_text_size(out, event->limit_bytes);
        else
            mw_text_char(out, *c);
    }
    mw_text_string(out, ": ");
    mw_text_size(out, event->returned_bytes);
    mw_text_string(out, " came back in ");
    mw_text_duration(out, event->pause_ns);
    mw_text_string(out, ", RSS ");
    mw_text_size(out, event->rss_before_bytes);
    mw_text_string(out, " -> ");
    mw_text_size(out, event->rss_after_bytes);
}

void mw_format_trim_text(struct mw_text *out, const struct mw_identity *who, const struct mw_trim_event *event)
{
    begin_text(out, who);
    mw_text_char(out, ' ');
    mw_format_trim_words(out, event);
    mw_text_char(out, '\n');
}

void mw_format_trim_json(struct mw_text *out, const struct mw_identity *who, const struct mw_trim_event *event)
{
    const struct {
        const char *key;
        uint64_t value;
    } members[] = {
        {"Thread", event->thread},    {"Limit", event->limit_bytes},          {"Returned", event->returned_bytes},
        {"PauseNs", event->pause_ns}, {"RSSBefore", event->rss_before_bytes}, {"RSSAfter", event->rss_after_bytes}};
    begin_json(out, who);
    mw_text_string(out, ",\"Event\":\"trim\",\"Reason\":");
    mw_text_json_string(out, mw_format_trim_reason(event->reason));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        mw_text_string(out, ",\"");
        mw_text_string(out, members[i].key);
        mw_text_string(out, "\":");
        mw_text_u64(out, members[i].value);
    }
    mw_text_string(out, "}\n");
}

void mw_format_note_text(struct mw_text *out, const struct mw_identity *who, const char *note)
{
    begin_text(out, who);
    mw_text_char(out, ' ');
    mw_text_string(out, note);
    mw_text_char(out, '\n');
}

void mw_format_note_json(struct mw_text *out, const struct mw_identity *who, const char *note)
{
    begin_json(out, who);
    mw_text_string(out, ",\"Event\":\"note\",\"Text\":");
    mw_text_json_string(out, note);
    mw_text_string(out, "}\n");
}
