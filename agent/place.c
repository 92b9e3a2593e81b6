/* SPDX-License-Identifier: MIT */
#include "place.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "scope.h"

#define TEXT_BYTES 32

static const char *size_text(uint64_t bytes, char buffer[TEXT_BYTES])
{
    struct mw_text text = mw_text_on(buffer, TEXT_BYTES);
    mw_text_size(&text, bytes);
    return buffer;
}

/* ---- what is wanted ---- */

/* The process whose place is the one to begin with: ours, or the one that is to be limited. */
static const char *process_text(const struct mw_run_options *options, char buffer[TEXT_BYTES])
{
    snprintf(buffer, TEXT_BYTES, options->attach ? "%d" : "self", options->attach);
    return buffer;
}

/* A share is of the least limit above it, or of the machine's memory. */
static uint64_t memory_to_be_had(const struct mw_run_options *options)
{
    char process[TEXT_BYTES];
    struct mw_cgroup own;
    struct mw_cgroup_reading reading;
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (mw_cgroup_find_from_here("", process_text(options, process), &own) || mw_cgroup_read(&own, NULL, &reading) ||
        !reading.limit_bytes)
        return machine;
    return reading.limit_bytes < machine ? reading.limit_bytes : machine;
}

bool mw_placing_prepare(struct mw_placing *placing, const struct mw_run_options *options, struct mw_error *error)
{
    uint64_t limit_bytes = mw_amount_bytes(options->limit, memory_to_be_had(options));
    uint64_t high_bytes = mw_amount_bytes(options->high, limit_bytes);
    *placing = (struct mw_placing){.options = options,
                                   .limits = {.limit_bytes = limit_bytes,
                                              .high_bytes = high_bytes,
                                              .has_swap = options->swap.kind != MW_AMOUNT_NONE,
                                              .swap_bytes = options->swap.bytes,
                                              .swappiness = options->swappiness,
                                              .oom_group = options->oom_group}};
    if (options->limit.kind != MW_AMOUNT_NONE && limit_bytes < MW_SMALLEST_LIMIT_BYTES)
        return mw_error_set(error, 0, "--limit: %llu bytes are too few for any program; the least is 1M",
                            (unsigned long long)limit_bytes);
    if (options->high.kind != MW_AMOUNT_NONE && high_bytes < MW_SMALLEST_LIMIT_BYTES)
        return mw_error_set(error, 0, "--high: %llu bytes are too few for any program; the least is 1M",
                            (unsigned long long)high_bytes);
    return true;
}

/* ---- a group ---- */

/* Nothing is left of it on failure. */
static bool make_group(const struct mw_placing *placing, struct mw_group *group, struct mw_group_limits *in_force,
                       struct mw_error *error)
{
    struct mw_error ignored;
    struct mw_group_limits limits = placing->limits;
    *in_force = (struct mw_group_limits){0};
    char buffer[TEXT_BYTES];
    const char *process = placing->is_in_scope ? "self" : process_text(placing->options, buffer);
    if (!mw_group_create(group, process, placing->options->cgroup, error))
        return false;
    if (group->bound_bytes && (!limits.limit_bytes || group->bound_bytes < limits.limit_bytes))
        limits.limit_bytes = group->bound_bytes;
    if (mw_group_limits_set(group, &limits, in_force, error))
        return true;
    mw_group_remove(group, &ignored);
    return false;
}

static bool enter_scope(struct mw_placing *placing, struct mw_error *error)
{
    const struct mw_group_limits *limits = &placing->limits;
    const char *command = placing->options->command[0];
    char attaching[TEXT_BYTES];
    snprintf(attaching, sizeof attaching, "--attach %d", placing->options->attach);
    struct mw_scope_wish wish = {.command = command ? command : attaching,
                                 .limit_bytes = limits->limit_bytes ? limits->limit_bytes : MW_SCOPE_NO_LIMIT,
                                 .high_bytes = limits->high_bytes ? limits->high_bytes : MW_SCOPE_NO_LIMIT,
                                 .swap_bytes = limits->has_swap ? limits->swap_bytes : MW_SCOPE_NO_LIMIT};
    placing->is_in_scope = mw_scope_enter(&wish, error);
    return placing->is_in_scope;
}

/* In auto mode a scope is asked for once, where a limit is wanted that cannot be had without. */
static bool make_group_in_scope(struct mw_placing *placing, struct mw_group *group, struct mw_group_limits *in_force,
                                struct mw_error *error)
{
    struct mw_error no_scope;
    const struct mw_run_options *options = placing->options;
    bool is_wanted = options->mode == MW_MODE_AUTO && !*options->cgroup && placing->limits.limit_bytes;
    if (!is_wanted || placing->has_asked_systemd || !mw_scope_is_there())
        return false;
    placing->has_asked_systemd = true;
    if (enter_scope(placing, &no_scope))
        return make_group(placing, group, in_force, error);
    mw_warn("systemd's user manager cannot help: %s", no_scope.text);
    return false;
}

static bool find_group(struct mw_placing *placing, struct mw_group *group, struct mw_group_limits *in_force,
                       struct mw_error *error)
{
    enum mw_limit_mode mode = placing->options->mode;
    if (mode == MW_MODE_IN_PROCESS)
        return mw_error_set(error, 0, "--limit-mode=in-process");
    if (mode == MW_MODE_SYSTEMD && !placing->has_asked_systemd && !enter_scope(placing, error))
        return false;
    placing->has_asked_systemd = placing->has_asked_systemd || mode == MW_MODE_SYSTEMD;
    return make_group(placing, group, in_force, error) || make_group_in_scope(placing, group, in_force, error);
}

void mw_place_text(struct mw_text *out, const struct mw_place *place)
{
    const struct mw_group_limits *in_force = &place->in_force;
    if (in_force->limit_bytes) {
        mw_text_string(out, "limit ");
        mw_text_size(out, in_force->limit_bytes);
        mw_text_string(out, " (");
        mw_text_u64(out, in_force->limit_bytes);
        mw_text_string(out, " bytes)");
    }
    if (in_force->high_bytes) {
        mw_text_string(out, ", slowed down from ");
        mw_text_size(out, in_force->high_bytes);
    }
    if (in_force->has_swap) {
        mw_text_string(out, ", swap besides ");
        mw_text_size(out, in_force->swap_bytes);
    }
    mw_text_string(out, out->length ? " by cgroup v" : "cgroup v");
    mw_text_u64(out, (uint64_t)place->group.cgroup.version);
    mw_text_char(out, ' ');
    mw_text_string(out, place->group.cgroup.dir);
}

void mw_place_warn_of_less(const struct mw_placing *placing, const struct mw_place *place)
{
    char limit[TEXT_BYTES];
    uint64_t wanted_bytes = placing->limits.limit_bytes;
    if (wanted_bytes && place->in_force.limit_bytes + 65536 <= wanted_bytes)
        mw_warn("the limit asked for was %s; the groups above allow no more", size_text(wanted_bytes, limit));
}

/* Of a process that runs already more is to be said: attach.c does. */
static void say_group(const struct mw_placing *placing, const struct mw_place *place)
{
    char sentence[MW_CGROUP_PATH_BYTES + 256];
    struct mw_text text = MW_TEXT(sentence);
    if (!placing->limits.limit_bytes || placing->options->attach)
        return;
    mw_place_text(&text, place);
    mw_say("%s", sentence);
    mw_place_warn_of_less(placing, place);
}

/* ---- no group ---- */

/* What was asked for by name; NULL: nothing that needs a group. */
static const char *insisted(const struct mw_run_options *options)
{
    return *options->cgroup                   ? "--cgroup"
           : options->attach                  ? "--attach"
           : options->mode == MW_MODE_CGROUP  ? "--limit-mode=cgroup"
           : options->mode == MW_MODE_SYSTEMD ? "--limit-mode=systemd"
                                              : NULL;
}

/* In most containers no group can be made, but the one we are in tells of OOM kills as well. */
static bool do_without(const struct mw_placing *placing, struct mw_place *place, const struct mw_error *why,
                       struct mw_error *error)
{
    char wanted[TEXT_BYTES];
    struct mw_cgroup_reading reading;
    const char *option = insisted(placing->options);
    *place = (struct mw_place){0};
    if (option)
        return mw_error_set(error, 0, "%s cannot be had: %s", option, why->text);
    if (placing->limits.limit_bytes && placing->options->mode == MW_MODE_IN_PROCESS)
        mw_say("limit %s, held inside the program: past it its allocations fail",
               size_text(placing->limits.limit_bytes, wanted));
    else if (placing->limits.limit_bytes)
        mw_warn("no memory cgroup can be used (%s): the kernel enforces no limit; past %s the program's allocations "
                "fail, as far as it is watched",
                why->text, size_text(placing->limits.limit_bytes, wanted));
    place->has_shared = mw_cgroup_find("", "self", &place->group.cgroup) == 0 &&
                        mw_cgroup_read(&place->group.cgroup, NULL, &reading) == 0;
    return true;
}

/* ---- the place ---- */

bool mw_place_make(struct mw_placing *placing, struct mw_place *place, struct mw_error *error)
{
    struct mw_error why;
    *place = (struct mw_place){0};
    if (placing->cannot_enter)
        return do_without(placing, place, &(struct mw_error){.text = "it cannot be entered"}, error);
    place->has_group = find_group(placing, &place->group, &place->in_force, &why);
    if (!place->has_group)
        return do_without(placing, place, &why, error);
    say_group(placing, place);
    return true;
}

bool mw_place_make_other(struct mw_placing *placing, struct mw_place *place, const struct mw_error *why,
                         struct mw_error *error)
{
    struct mw_error ignored;
    if (place->has_group)
        mw_group_remove(&place->group, &ignored);
    place->has_group = make_group_in_scope(placing, &place->group, &place->in_force, &ignored);
    if (place->has_group) {
        say_group(placing, place);
        return true;
    }
    placing->cannot_enter = true;
    return do_without(placing, place, why, error);
}

static void set_bytes(const char *name, uint64_t bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    setenv(name, text, 1);
}

void mw_place_tell_program(const struct mw_placing *placing, const struct mw_place *place)
{
    char path[MW_CGROUP_PATH_BYTES + 64];
    if (!place->has_group && placing->limits.limit_bytes) {
        set_bytes("MEMWATCH_LIMIT", placing->limits.limit_bytes / 10 * 9); /* as it is of a group's limit by default */
        set_bytes("MEMWATCH_HARD_LIMIT", placing->limits.limit_bytes);
    }
    /* systemd's convention, which names the group that we are in; the program's is another one now. */
    if (place->has_group && place->group.cgroup.version == 2 &&
        mw_cgroup_file_path(&place->group.cgroup, MW_CGROUP_PRESSURE, path, sizeof path) == 0 &&
        access(path, W_OK) == 0) {
        setenv("MEMORY_PRESSURE_WATCH", path, 1);
        setenv("MEMORY_PRESSURE_WRITE", "c29tZSAyMDAwMDAgMjAwMDAwMAA=", 1); /* "some 200000 2000000", 0: its default */
    }
}
