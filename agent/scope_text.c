/* SPDX-License-Identifier: MIT */
#include "scope_text.h"

#include <string.h>

#include "scope.h"

void mw_scope_unit_name(struct mw_text *out, pid_t pid)
{
    mw_text_string(out, "memwatch-");
    mw_text_u64(out, (uint64_t)pid);
    mw_text_string(out, ".scope");
}

void mw_scope_description(struct mw_text *out, const char *command)
{
    mw_text_string(out, "memwatch-run ");
    for (; *command; command++) {
        if (*command >= ' ' && *command <= '~')
            mw_text_char(out, *command);
        else
            mw_text_char(out, '?');
    }
}

/* The D-Bus specification, "Server Addresses", names those that stand for themselves. */
static bool stands_for_itself(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("-_/.\\*", c));
}

void mw_scope_address(struct mw_text *out, const char *path)
{
    static const char digits[] = "0123456789abcdef";
    mw_text_string(out, "unix:path=");
    for (; *path; path++) {
        unsigned char byte = (unsigned char)*path;
        if (stands_for_itself(*path)) {
            mw_text_char(out, *path);
        } else {
            mw_text_char(out, '%');
            mw_text_char(out, digits[byte >> 4]);
            mw_text_char(out, digits[byte & 15]);
        }
    }
}

/* What stands behind the dot-separated prefix that all of them share. */
static const struct {
    const char *name;
    const char *meaning;
    bool has_message; /* the manager's own words say more */
} refusals[] = {
    {"org.freedesktop.DBus.Error.ServiceUnknown", "no systemd manager is on the message bus", false},
    {"org.freedesktop.DBus.Error.NameHasNoOwner", "no systemd manager is on the message bus", false},
    {"org.freedesktop.DBus.Error.AccessDenied", "systemd refuses to make a scope", true},
    {"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "systemd refuses to make a scope", true},
    {"org.freedesktop.DBus.Error.AuthFailed", "systemd refuses to speak with this user", true},
    {"org.freedesktop.systemd1.UnitExists", "systemd has a unit of that name already", false},
};

static bool is_silence(const char *name)
{
    static const char *const names[] = {"org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout",
                                        "org.freedesktop.DBus.Error.TimedOut", "System.Error.ETIMEDOUT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

bool mw_scope_refusal(struct mw_error *error, const char *name, const char *message, const char *unit)
{
    if (is_silence(name))
        return mw_error_set(error, 0, "systemd did not answer within %d seconds", MW_SCOPE_DEADLINE_S);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strcmp(name, refusals[i].name) == 0)
            return mw_error_set(error, 0, "%s%s%s (%s)", refusals[i].meaning, refusals[i].has_message ? ": " : "",
                                refusals[i].has_message ? message : "", unit);
    return mw_error_set(error, 0, "systemd cannot make the scope %s: %s (%s)", unit, message, name);
}

bool mw_scope_job_result(struct mw_error *error, const char *result, const char *unit)
{
    return strcmp(result, "done") == 0 ||
           mw_error_set(error, 0,
                        "systemd could not move this process into %s: its job ended as \"%s\"; its journal "
                        "knows why",
                        unit, result);
}
