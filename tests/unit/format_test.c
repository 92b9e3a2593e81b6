/* SPDX-License-Identifier: MIT */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "json.h"
#include "procfs.h"

#define MIB UINT64_C(1048576)

static const struct mw_identity someone = {.pid = 1234, .comm = "app", .time_unix_ns = UINT64_C(1700000000123456789)};

#define FIRST_INDEX 1
enum {
    INDEX_BEFORE = FIRST_INDEX - 1,
#define STATISTIC_INDEX(ctype, Name, kind, unit, metric, help) INDEX_##Name,
    MEMWATCH_STATISTICS(STATISTIC_INDEX) INDEX_END
#undef STATISTIC_INDEX
};

/* Each statistic its own value, so that none can be taken for another. */
static struct memwatch_stats different_stats(void)
{
    struct memwatch_stats stats = {0};
#define STATISTIC_DIFFERENT(ctype, Name, kind, unit, metric, help) stats.Name = (ctype)(INDEX_##Name * 1000003);
    MEMWATCH_STATISTICS(STATISTIC_DIFFERENT)
#undef STATISTIC_DIFFERENT
    return stats;
}

/* The largest that a member can print; the doubles are those with the most digits. */
static uint64_t largest_uint64_t(void)
{
    return UINT64_MAX;
}

static double largest_double(void)
{
    return 9.9e12;
}

static struct memwatch_stats largest_stats(void)
{
    struct memwatch_stats stats;
    memset(&stats, 0xff, sizeof stats); /* every pause and every class too */
#define STATISTIC_LARGEST(ctype, Name, kind, unit, metric, help) stats.Name = largest_##ctype();
    MEMWATCH_STATISTICS(STATISTIC_LARGEST)
#undef STATISTIC_LARGEST
    for (unsigned i = 0; i < MEMWATCH_ALLOCATORS; i++) {
        stats.Allocators[i] = (struct memwatch_allocator){.LastTrim = UINT64_MAX};
#define FIGURE_LARGEST(Figure, help) stats.Allocators[i].Figure = UINT64_MAX - 1; /* that itself is not told */
        MEMWATCH_ALLOCATOR_FIGURES(FIGURE_LARGEST)
#undef FIGURE_LARGEST
        memset(stats.Allocators[i].Name, 0x01, sizeof stats.Allocators[i].Name - 1);
    }
    return stats;
}

/* Printed, the longest there is: each byte becomes six. */
static struct mw_identity longest_identity(void)
{
    static char comm[MW_COMM_BYTES];
    memset(comm, 0x01, sizeof comm - 1);
    return (struct mw_identity){.pid = INT32_MAX, .comm = comm, .time_unix_ns = UINT64_MAX};
}

/* One line, and only its end is a newline. */
static void check_line(const struct mw_text *line)
{
    assert_false(line->truncated);
    assert_int_equal(strlen(line->start), line->length);
    assert_ptr_equal(strchr(line->start, '\n'), line->start + line->length - 1);
}

static void check_u64(const char *json, const char *name, uint64_t due)
{
    uint64_t value = 0;
    CHECK(name, json_u64(json_member(json, name), &value));
    CHECK_U64(name, value, due);
}

static void check_string(const char *json, const char *name, const char *due)
{
    char value[1024];
    CHECK(name, json_string(json_member(json, name), value, sizeof value) >= 0);
    CHECK_TEXT(name, value, due);
}

/* ---- JSON ---- */

static void check_uint64_t(const char *json, const char *name, uint64_t due)
{
    check_u64(json, name, due);
}

static void check_double(const char *json, const char *name, double due)
{
    double value = -1;
    CHECK(name, json_double(json_member(json, name), &value));
    CHECK(name, fabs(value - due) < 1e-6);
}

static void every_statistic_is_in_json_by_its_name(void **state)
{
    struct memwatch_stats stats = different_stats();
    char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    stats.Pressure = 0.1234;
    stats.TrimCPUFraction = 0.000001;
    mw_format_json(&line, &someone, &stats);
    check_line(&line);
    assert_true(json_is_valid(buffer));
    check_u64(buffer, "Pid", 1234);
    check_string(buffer, "Comm", "app");
    check_string(buffer, "Time", "2023-11-14T22:13:20.123Z");
#define STATISTIC_CHECK(ctype, Name, kind, unit, metric, help) check_##ctype(buffer, #Name, stats.Name);
    MEMWATCH_STATISTICS(STATISTIC_CHECK)
#undef STATISTIC_CHECK
}

static void json_lists_the_pauses_that_were_used(void **state)
{
    static const uint64_t trims[] = {0, 1, 3, 255, 256, 257, 100000, UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < COUNT(trims); i++) {
        struct memwatch_stats stats = {.NumTrim = trims[i]};
        char buffer[MW_JSON_LINE_BYTES];
        struct mw_text line = MW_TEXT(buffer);
        for (unsigned k = 0; k < MEMWATCH_PAUSES; k++)
            stats.PauseNs[k] = 1000 + k;
        mw_format_json(&line, &someone, &stats);
        assert_true(json_is_valid(buffer));
        const char *pauses = json_member(buffer, "PauseNs");
        assert_non_null(pauses);
        size_t due = trims[i] < MEMWATCH_PAUSES ? trims[i] : MEMWATCH_PAUSES;
        assert_int_equal(json_length(pauses), due);
        for (size_t k = 0; k < due; k++) {
            uint64_t value;
            assert_true(json_u64(json_element(pauses, k), &value));
            assert_int_equal(value, 1000 + k);
        }
    }
}

static void json_lists_the_classes_that_were_used(void **state)
{
    static const struct memwatch_size_class used[] = {
        {.Size = 16, .Mallocs = 5, .Frees = 2},
        {.Size = 1024, .Mallocs = 1, .Frees = 0},
        {.Size = UINT64_C(1) << 48, .Mallocs = 7, .Frees = 7},
        {.Size = 64, .Mallocs = 0, .Frees = 3}, /* as a reader may see it for a moment */
    };
    static const unsigned at[] = {0, 63, MEMWATCH_SIZE_CLASSES - 1, 3};
    static const unsigned order[] = {0, 3, 1, 2};
    struct memwatch_stats stats = {0};
    char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    for (unsigned i = 0; i < MEMWATCH_SIZE_CLASSES; i++)
        stats.BySize[i].Size = 16 + i; /* unused: they have a size and nothing else */
    for (size_t i = 0; i < COUNT(used); i++)
        stats.BySize[at[i]] = used[i];
    mw_format_json(&line, &someone, &stats);
    assert_true(json_is_valid(buffer));
    const char *classes = json_member(buffer, "BySize");
    assert_non_null(classes);
    assert_int_equal(json_length(classes), COUNT(used));
    for (size_t i = 0; i < COUNT(order); i++) {
        const char *class = json_element(classes, i);
        check_u64(class, "Size", used[order[i]].Size);
        check_u64(class, "Mallocs", used[order[i]].Mallocs);
        check_u64(class, "Frees", used[order[i]].Frees);
    }
}

static void json_lists_the_allocators_and_what_they_tell(void **state)
{
    struct memwatch_stats stats = {.Allocators = {{.Name = ""},
                                                  {.Name = "jema\"lloc",
                                                   .LastTrim = 7,
                                                   .Sys = 100,
                                                   .Inuse = 60,
                                                   .Idle = 0,
                                                   .Released = UINT64_MAX,
                                                   .Resident = UINT64_MAX}}};
    char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_json(&line, &someone, &stats);
    assert_true(json_is_valid(buffer));
    const char *allocators = json_member(buffer, "Allocators");
    assert_non_null(allocators);
    assert_int_equal(json_length(allocators), 1); /* the first was not asked */
    const char *allocator = json_element(allocators, 0);
    check_string(allocator, "Name", "jema\"lloc");
    check_u64(allocator, "LastTrim", 7);
    check_u64(allocator, "Sys", 100);
    check_u64(allocator, "Inuse", 60);
    check_u64(allocator, "Idle", 0);
    assert_null(json_member(allocator, "Released"));
    assert_null(json_member(allocator, "Resident"));
}

static void json_without_any_figure_is_whole(void **state)
{
    const struct memwatch_stats stats = {0};
    char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_json(&line, &(struct mw_identity){.comm = ""}, &stats);
    check_line(&line);
    assert_true(json_is_valid(buffer));
    check_string(buffer, "Comm", "");
    assert_int_equal(json_length(json_member(buffer, "PauseNs")), 0);
    assert_int_equal(json_length(json_member(buffer, "BySize")), 0);
    assert_int_equal(json_length(json_member(buffer, "Allocators")), 0);
}

static void the_longest_json_line_fits(void **state)
{
    const struct memwatch_stats stats = largest_stats();
    const struct mw_identity who = longest_identity();
    char buffer[MW_JSON_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_json(&line, &who, &stats);
    check_line(&line);
    assert_true(json_is_valid(buffer));
    check_u64(buffer, "Alloc", UINT64_MAX);
    assert_int_equal(json_length(json_member(buffer, "PauseNs")), MEMWATCH_PAUSES);
    assert_int_equal(json_length(json_member(buffer, "BySize")), MEMWATCH_SIZE_CLASSES);
}

static void names_of_every_shape_keep_the_line_whole(void **state)
{
    static const struct {
        const char *comm;
        const char *meant;
    } cases[] = {
        {"\"},{\"Pid\":1,\"x\":\"", "\"},{\"Pid\":1,\"x\":\""},
        {"a\\nb", "a\\nb"},
        {"a\nb\tc\x01", "a\nb\tc\x01"},
        {"\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9"},
        {"caf\xe9", "caf\xef\xbf\xbd"},
        {"0123456789abcd\xe2\x82", "0123456789abcd\xef\xbf\xbd\xef\xbf\xbd"}, /* cut by the kernel */
    };
    const struct memwatch_stats stats = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct mw_identity who = {.pid = 1234, .comm = cases[i].comm};
        char buffer[MW_JSON_LINE_BYTES];
        struct mw_text line = MW_TEXT(buffer);
        mw_format_json(&line, &who, &stats);
        check_line(&line);
        CHECK(cases[i].comm, json_is_valid(buffer));
        check_u64(buffer, "Pid", 1234);
        check_string(buffer, "Comm", cases[i].meant);
    }
}

static void a_ratio_that_is_none_keeps_json_whole(void **state)
{
    static const double values[] = {NAN, INFINITY, -INFINITY, -1.0, 1e300, 5e-324};
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        const struct memwatch_stats stats = {.Pressure = values[i], .TrimCPUFraction = values[i]};
        char buffer[MW_JSON_LINE_BYTES];
        struct mw_text line = MW_TEXT(buffer);
        double pressure;
        mw_format_json(&line, &someone, &stats);
        assert_true(json_is_valid(buffer));
        assert_true(json_double(json_member(buffer, "Pressure"), &pressure));
        assert_true(pressure >= 0);
    }
}

/* ---- times ---- */

static void check_time(uint64_t unix_ns, const char *due)
{
    const struct mw_identity who = {.pid = 1, .comm = "", .time_unix_ns = unix_ns};
    char buffer[256];
    struct mw_text line = MW_TEXT(buffer);
    mw_format_note_json(&line, &who, "");
    check_string(buffer, "Time", due);
}

static void times_are_rfc_3339(void **state)
{
    static const struct {
        uint64_t unix_ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {999999, "1970-01-01T00:00:00.000Z"},
        {1000000, "1970-01-01T00:00:00.001Z"},
        {999999999, "1970-01-01T00:00:00.999Z"},
        {UINT64_C(68255999999999999), "1972-02-29T23:59:59.999Z"},
        {UINT64_C(68256000000000000), "1972-03-01T00:00:00.000Z"},
        {UINT64_C(951782400000000000), "2000-02-29T00:00:00.000Z"},
        {UINT64_C(951868799000000000), "2000-02-29T23:59:59.000Z"},
        {UINT64_C(951868800000000000), "2000-03-01T00:00:00.000Z"},
        {UINT64_C(1677628799999000000), "2023-02-28T23:59:59.999Z"},
        {UINT64_C(1677628800000000000), "2023-03-01T00:00:00.000Z"},
        {UINT64_C(1709164800000000000), "2024-02-29T00:00:00.000Z"},
        {UINT64_C(1735689599999999999), "2024-12-31T23:59:59.999Z"},
        {UINT64_C(1735689600000000000), "2025-01-01T00:00:00.000Z"},
        {UINT64_C(2147483648000000000), "2038-01-19T03:14:08.000Z"},
        {UINT64_C(4107542399000000000), "2100-02-28T23:59:59.000Z"}, /* no leap year */
        {UINT64_C(4107542400000000000), "2100-03-01T00:00:00.000Z"},
        {UINT64_C(13574563200000000000), "2400-02-29T00:00:00.000Z"},
        {UINT64_MAX, "2554-07-21T23:34:33.709Z"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        check_time(cases[i].unix_ns, cases[i].text);
}

/* Every day that 64 bits of nanoseconds can tell, against the C library's calendar. */
static void every_day_is_the_c_librarys(void **state)
{
    (void)state;
    for (uint64_t seconds = 86399; seconds <= UINT64_MAX / 1000000000; seconds += 86400 + 1) {
        time_t moment = (time_t)seconds;
        struct tm tm;
        char due[64];
        assert_non_null(gmtime_r(&moment, &tm));
        assert_true(strftime(due, sizeof due, "%Y-%m-%dT%H:%M:%S.000Z", &tm) > 0);
        check_time(seconds * 1000000000, due);
    }
}

/* ---- text ---- */

static void the_text_line_says_who_and_what(void **state)
{
    const struct memwatch_stats stats = {
        .Alloc = 8 * MIB,
        .TotalAlloc = 100 * MIB + MIB / 2,
        .Sys = 20 * MIB,
        .NumTrim = 7,
        .RSS = 12 * MIB + MIB / 4,
        .CgroupUsage = 15 * MIB,
        .CgroupLimit = 64 * MIB,
    };
    static const char *const parts[] = {"Alloc = 8.0 MiB", "TotalAlloc = 100.5 MiB", "Sys = 20.0 MiB",
                                        "NumTrim = 7",     "RSS = 12.3 MiB",         "15.0 MiB of 64.0 MiB"};
    char buffer[MW_TEXT_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_text(&line, &someone, &stats);
    check_line(&line);
    assert_memory_equal(buffer, "memwatch[1234]: ", 16);
    for (size_t i = 0; i < COUNT(parts); i++)
        CHECK_HAS("text", buffer, parts[i]);
}

static void no_limit_is_said_to_be_none(void **state)
{
    const struct memwatch_stats stats = {.CgroupUsage = 15 * MIB};
    char buffer[MW_TEXT_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_text(&line, &someone, &stats);
    CHECK_HAS("text", buffer, "15.0 MiB, no limit");
}

static void the_longest_text_lines_fit(void **state)
{
    const struct memwatch_stats stats = largest_stats();
    const struct mw_identity who = longest_identity();
    char buffer[MW_TEXT_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_text(&line, &who, &stats);
    check_line(&line);
    for (unsigned reason = 0; reason < MW_TRIM_REASON_COUNT; reason++) {
        const struct mw_trim_event event = {(enum mw_trim_reason)reason,
                                            UINT32_MAX,
                                            UINT64_MAX,
                                            UINT64_MAX,
                                            UINT64_MAX,
                                            UINT64_MAX,
                                            UINT64_MAX,
                                            UINT64_MAX};
        line = MW_TEXT(buffer);
        mw_format_trim_text(&line, &who, &event);
        check_line(&line);
    }
}

/* Where each label stands. */
static void find_columns(const struct memwatch_stats *stats, size_t columns[], size_t count)
{
    static const char *const labels[] = {" Alloc =", " TotalAlloc =", " Sys =", " NumTrim =", " RSS =", " Cgroup ="};
    char buffer[MW_TEXT_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    mw_format_text(&line, &someone, stats);
    assert_int_equal(count, COUNT(labels));
    for (size_t i = 0; i < count; i++) {
        const char *at = strstr(buffer, labels[i]);
        CHECK_HAS(labels[i], buffer, labels[i]);
        columns[i] = (size_t)(at - buffer);
    }
}

/* From nothing to nearly a TiB, and ten thousand trims. */
static void columns_are_aligned_from_line_to_line(void **state)
{
    static const uint64_t bytes[] = {
        0, 1, MIB / 20, MIB, 9 * MIB + MIB / 10 * 9, 10 * MIB, 99999 * MIB / 10, 123456 * MIB, 999999 * MIB};
    static const uint64_t trims[] = {0, 9, 10, 99, 100, 999, 1000, 9999};
    const struct memwatch_stats none = {0};
    size_t first[6];
    (void)state;
    find_columns(&none, first, COUNT(first));
    for (size_t i = 0; i < COUNT(bytes) * COUNT(bytes) * COUNT(trims); i++) {
        uint64_t one = bytes[i % COUNT(bytes)];
        uint64_t other = bytes[i / COUNT(bytes) % COUNT(bytes)];
        const struct memwatch_stats stats = {.Alloc = one,
                                             .TotalAlloc = other,
                                             .Sys = one,
                                             .NumTrim = trims[i / COUNT(bytes) / COUNT(bytes)],
                                             .RSS = other,
                                             .CgroupUsage = one};
        size_t columns[6];
        find_columns(&stats, columns, COUNT(columns));
        assert_memory_equal(columns, first, sizeof first);
    }
}

/* ---- what is said besides ---- */

static const struct mw_trim_event event = {.reason = MW_TRIM_LIMIT,
                                           .thread = 1235,
                                           .limit_bytes = 64 * MIB,
                                           .rss_before_bytes = 70 * MIB,
                                           .rss_after_bytes = 40 * MIB,
                                           .returned_bytes = 30 * MIB,
                                           .pause_ns = 1500000};

static void a_trim_is_told_in_text(void **state)
{
    static const char *const parts[] = {"memwatch[1234]: ", "trim", "64 MiB", "70 MiB", "40 MiB", "30 MiB", "1.5 ms"};
    char buffer[MW_TEXT_LINE_BYTES];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_trim_text(&line, &someone, &event);
    check_line(&line);
    for (size_t i = 0; i < COUNT(parts); i++)
        CHECK_HAS("trim", buffer, parts[i]);
    struct mw_trim_event forced = event;
    forced.reason = MW_TRIM_FORCED;
    forced.limit_bytes = 0;
    line = MW_TEXT(buffer);
    mw_format_trim_text(&line, &someone, &forced);
    check_line(&line);
    CHECK_LACKS("forced", buffer, "limit");
}

static void a_trim_is_told_in_json(void **state)
{
    char buffer[1024];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_trim_json(&line, &someone, &event);
    check_line(&line);
    assert_true(json_is_valid(buffer));
    check_string(buffer, "Event", "trim");
    check_string(buffer, "Reason", "limit");
    check_u64(buffer, "Thread", 1235);
    check_string(buffer, "Time", "2023-11-14T22:13:20.123Z");
    check_u64(buffer, "Pid", 1234);
    check_u64(buffer, "Limit", 64 * MIB);
    check_u64(buffer, "Returned", 30 * MIB);
    check_u64(buffer, "PauseNs", 1500000);
    check_u64(buffer, "RSSBefore", 70 * MIB);
    check_u64(buffer, "RSSAfter", 40 * MIB);
}

static void a_note_is_told(void **state)
{
    static const char note[] = "past the \"limit\", gr\xc3\xbc\xc3\x9f\xff";
    char buffer[1024];
    struct mw_text line = MW_TEXT(buffer);
    (void)state;
    mw_format_note_text(&line, &someone, "all is well");
    check_line(&line);
    assert_string_equal(buffer, "memwatch[1234]: all is well\n");
    line = MW_TEXT(buffer);
    mw_format_note_json(&line, &someone, note);
    check_line(&line);
    assert_true(json_is_valid(buffer));
    check_string(buffer, "Event", "note");
    check_string(buffer, "Text", "past the \"limit\", gr\xc3\xbc\xc3\x9f\xef\xbf\xbd");
}

/* The monitor drops a line that is truncated: it must be possible to tell. */
static void a_line_without_room_says_so(void **state)
{
    const struct memwatch_stats stats = largest_stats();
    char buffer[MW_TEXT_LINE_BYTES];
    (void)state;
    errno = EXDEV;
    for (size_t capacity = 1; capacity < 64; capacity++) {
        struct mw_text line = mw_text_on(buffer, capacity);
        mw_format_text(&line, &someone, &stats);
        assert_true(line.truncated);
        assert_int_equal(strlen(buffer), capacity - 1);
        line = mw_text_on(buffer, capacity);
        mw_format_json(&line, &someone, &stats);
        assert_true(line.truncated);
        assert_int_equal(strlen(buffer), capacity - 1);
    }
    assert_int_equal(errno, EXDEV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statistic_is_in_json_by_its_name),
        cmocka_unit_test(json_lists_the_pauses_that_were_used),
        cmocka_unit_test(json_lists_the_classes_that_were_used),
        cmocka_unit_test(json_lists_the_allocators_and_what_they_tell),
        cmocka_unit_test(json_without_any_figure_is_whole),
        cmocka_unit_test(the_longest_json_line_fits),
        cmocka_unit_test(names_of_every_shape_keep_the_line_whole),
        cmocka_unit_test(a_ratio_that_is_none_keeps_json_whole),
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(every_day_is_the_c_librarys),
        cmocka_unit_test(the_text_line_says_who_and_what),
        cmocka_unit_test(no_limit_is_said_to_be_none),
        cmocka_unit_test(the_longest_text_lines_fit),
        cmocka_unit_test(columns_are_aligned_from_line_to_line),
        cmocka_unit_test(a_trim_is_told_in_text),
        cmocka_unit_test(a_trim_is_told_in_json),
        cmocka_unit_test(a_note_is_told),
        cmocka_unit_test(a_line_without_room_says_so),
    };
    return cmocka_run_group_tests_name("format", tests, NULL, NULL);
}
