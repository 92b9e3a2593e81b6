/* SPDX-License-Identifier: MIT */
#include "mountinfo.h"

#include <errno.h>

#define DEEPEST 64 /* mounts upon mounts; a text that goes in a circle ends there */

/* "36 35 98:0 /root /point options [optional...] - type source super-options" */
bool mw_mount_parse(struct mw_span line, struct mw_mount *out)
{
    bool has_separator = false;
    out->id = mw_span_cut(&line, ' ');
    out->parent = mw_span_cut(&line, ' ');
    mw_span_cut(&line, ' ');
    out->root = mw_span_cut(&line, ' ');
    out->point = mw_span_cut(&line, ' ');
    mw_span_cut(&line, ' ');
    while (line.length && !has_separator)
        has_separator = mw_span_is(mw_span_cut(&line, ' '), "-");
    out->type = mw_span_cut(&line, ' ');
    mw_span_cut(&line, ' ');
    out->super_options = line;
    return has_separator && out->type.length;
}

/* ---- what hides it ---- */

static bool find_by_id(const char *mountinfo_text, struct mw_span id, struct mw_mount *out)
{
    struct mw_span text = mw_span_of(mountinfo_text);
    while (text.length)
        if (mw_mount_parse(mw_span_cut(&text, '\n'), out) && mw_spans_equal(out->id, id))
            return true;
    return false;
}

/* Does another mount stand on this one's own root? */
static bool is_covered(const char *mountinfo_text, const struct mw_mount *mount)
{
    struct mw_span text = mw_span_of(mountinfo_text);
    struct mw_mount other;
    while (text.length)
        if (mw_mount_parse(mw_span_cut(&text, '\n'), &other) && mw_spans_equal(other.parent, mount->id) &&
            mw_spans_equal(other.point, mount->point) && !mw_spans_equal(other.id, mount->id))
            return true;
    return false;
}

/* What covers a mount hides all that stands on it, but not what covers it. */
bool mw_mount_is_hidden(const char *mountinfo_text, const struct mw_mount *mount)
{
    struct mw_mount at = *mount;
    bool is_below_cover = false;
    for (unsigned depth = 0; depth < DEEPEST; depth++) {
        struct mw_mount parent;
        if (!is_below_cover && is_covered(mountinfo_text, &at))
            return true;
        if (mw_spans_equal(at.parent, at.id) || !find_by_id(mountinfo_text, at.parent, &parent))
            return false;
        is_below_cover = mw_spans_equal(parent.point, at.point);
        at = parent;
    }
    return false;
}

/* ---- escapes ---- */

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

int mw_mount_unescape(struct mw_span escaped, char *out, size_t capacity_bytes)
{
    size_t length = 0;
    for (size_t i = 0; i < escaped.length; length++) {
        if (length + 1 >= capacity_bytes)
            return -ENAMETOOLONG;
        const char *s = escaped.start + i;
        if (*s == '\\' && escaped.length - i >= 4 && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
            out[length] = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            i += 4;
        } else {
            out[length] = *s;
            i++;
        }
    }
    out[length] = '\0';
    return 0;
}
