/* SPDX-License-Identifier: MIT */
#include "procfs.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_line_end(char c)
{
    return c == '\0' || c == '\n';
}

/* A number, or "max", at the cursor, which is moved behind it. */
static bool parse_value(const char **cursor, uint64_t *out)
{
    const char *s = *cursor;
    uint64_t value = 0;
    if (strncmp(s, "max", 3) == 0) {
        value = UINT64_MAX;
        s += 3;
    } else {
        const char *digits = s;
        for (; *s >= '0' && *s <= '9'; s++)
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
                return false;
        if (s == digits)
            return false;
    }
    *cursor = s;
    *out = value;
    return true;
}

/* Behind the line's end, or at the text's. */
static const char *next_line(const char *s)
{
    const char *end = strchr(s, '\n');
    return end ? end + 1 : s + strlen(s);
}

/* The text behind `key` (and a colon) and blanks, of the first line that begins with it; NULL: none. */
static const char *find_key(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = text; *line; line = next_line(line)) {
        if (strncmp(line, key, length) != 0)
            continue;
        const char *s = line + length;
        if (*s == ':')
            s++;
        if (!is_blank(*s))
            continue;
        while (is_blank(*s))
            s++;
        return s;
    }
    return NULL;
}

bool mw_key_value(const char *text, const char *key, uint64_t *out)
{
    const char *s = find_key(text, key);
    uint64_t value;
    if (!s || !parse_value(&s, &value))
        return false;
    if (strncmp(s, " kB", 3) == 0) {
        if (__builtin_mul_overflow(value, 1024, &value))
            return false;
        s += 3;
    }
    if (!is_line_end(*s))
        return false;
    *out = value;
    return true;
}

bool mw_single_value(const char *text, uint64_t *out)
{
    uint64_t value;
    if (!parse_value(&text, &value) || !is_line_end(*text))
        return false;
    *out = value;
    return true;
}

void mw_proc_status_parse(const char *text, struct mw_proc_status *status)
{
    *status = (struct mw_proc_status){0};
    const struct {
        const char *key;
        uint64_t *out;
    } fields[] = {
        {"VmRSS", &status->vm_rss_bytes},   {"VmHWM", &status->vm_hwm_bytes}, {"VmSwap", &status->vm_swap_bytes},
        {"VmData", &status->vm_data_bytes}, {"VmStk", &status->vm_stk_bytes}, {"RssAnon", &status->rss_anon_bytes},
        {"Threads", &status->threads},      {"Seccomp", &status->seccomp},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        mw_key_value(text, fields[i].key, fields[i].out);
    const char *comm = find_key(text, "Name");
    for (size_t i = 0; comm && !is_line_end(comm[i]) && i < sizeof status->comm - 1; i++)
        status->comm[i] = comm[i];
}

bool mw_pressure_parse(const char *text, double *some_avg10)
{
    /* some avg10=1.23 avg60=0.50 avg300=0.10 total=12345 */
    const char *s = find_key(text, "some");
    uint64_t whole;
    uint64_t hundredths = 0;
    if (!s || strncmp(s, "avg10=", 6) != 0)
        return false;
    s += 6;
    if (!parse_value(&s, &whole) || whole > 100)
        return false;
    if (whole < 100 && *s == '.' && s[1] >= '0' && s[1] <= '9' && s[2] >= '0' && s[2] <= '9')
        hundredths = (uint64_t)(s[1] - '0') * 10 + (uint64_t)(s[2] - '0');
    *some_avg10 = (double)(whole * 100 + hundredths) / 10000;
    return true;
}
