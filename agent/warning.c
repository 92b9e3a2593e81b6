/* SPDX-License-Identifier: MIT */
#include "warning.h"

#define S UINT64_C(1000000000)

void mw_warning_begin(struct mw_warning *warning, uint64_t at_bytes, uint64_t limit_bytes)
{
    uint64_t less_bytes = limit_bytes / 10;
    *warning =
        (struct mw_warning){.at_bytes = at_bytes, .again_bytes = at_bytes > less_bytes ? at_bytes - less_bytes : 0};
}

static uint64_t growth_bytes_s(const struct mw_warning *warning, uint64_t used_bytes, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - warning->looked_ns;
    if (!warning->has_looked || used_bytes <= warning->looked_bytes || !passed_ns || passed_ns > MW_WARNING_GROWTH_NS)
        return 0;
    return (uint64_t)((unsigned __int128)(used_bytes - warning->looked_bytes) * S / passed_ns);
}

static bool is_apart(uint64_t last_ns, uint64_t now_ns, uint64_t least_ns)
{
    return !last_ns || now_ns - last_ns >= least_ns;
}

static enum mw_warning_reason choose(struct mw_warning *warning, const struct mw_warning_reading *reading,
                                     uint64_t now_ns)
{
    uint64_t used_bytes = reading->working_set_bytes;
    if (used_bytes < warning->again_bytes)
        warning->has_warned = false;
    if (used_bytes >= warning->at_bytes && !warning->has_warned &&
        is_apart(warning->warned_ns, now_ns, MW_WARNING_APART_NS)) {
        warning->has_warned = true;
        warning->warned_ns = now_ns;
        return MW_WARNING_LIMIT;
    }
    if (reading->is_pressed && is_apart(warning->warned_ns, now_ns, MW_WARNING_APART_NS) &&
        is_apart(warning->pressed_ns, now_ns, MW_WARNING_PRESSURE_NS)) {
        warning->pressed_ns = now_ns;
        return MW_WARNING_PRESSURE;
    }
    return MW_WARNING_NONE;
}

static uint64_t within(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* Half of the time in which it would be there at this pace. */
static uint64_t pause_by_growth(const struct mw_warning *warning, uint64_t used_bytes, uint64_t growth)
{
    if (used_bytes >= warning->at_bytes || !growth)
        return MW_WARNING_USUAL_NS;
    unsigned __int128 half_ns = (unsigned __int128)(warning->at_bytes - used_bytes) * S / growth / 2;
    return half_ns > MW_WARNING_USUAL_NS ? MW_WARNING_USUAL_NS
                                         : within((uint64_t)half_ns, MW_WARNING_SOONEST_NS, MW_WARNING_USUAL_NS);
}

static uint64_t next_pause(const struct mw_warning *warning, uint64_t used_bytes, uint64_t growth)
{
    bool is_still = warning->has_looked && used_bytes == warning->looked_bytes;
    return is_still ? within(2 * warning->pause_ns, MW_WARNING_SOONEST_NS, MW_WARNING_REST_NS)
                    : pause_by_growth(warning, used_bytes, growth);
}

/* Will the kernel tell of all that matters? Once file cache fills the group usage crosses nothing any more; nor does it
 * while it stays where it was too early to warn again. */
static bool is_left_to_kernel(const struct mw_warning *warning, const struct mw_warning_reading *reading)
{
    bool is_near = reading->usage_bytes >= warning->at_bytes;
    bool is_said = reading->working_set_bytes >= warning->at_bytes && warning->has_warned;
    return warning->is_told && (!is_near || is_said);
}

struct mw_warning_step mw_warning_step(struct mw_warning *warning, const struct mw_warning_reading *reading,
                                       uint64_t now_ns)
{
    struct mw_warning_step step = {.look_ns = MW_WARNING_NEVER};
    if (!reading->limit_bytes || !warning->at_bytes)
        return step;
    step.growth_bytes_s = growth_bytes_s(warning, reading->working_set_bytes, now_ns);
    step.reason = choose(warning, reading, now_ns);
    if (!is_left_to_kernel(warning, reading)) {
        warning->pause_ns = next_pause(warning, reading->working_set_bytes, step.growth_bytes_s);
        step.look_ns = now_ns + warning->pause_ns;
    }
    warning->has_looked = true;
    warning->looked_ns = now_ns;
    warning->looked_bytes = reading->working_set_bytes;
    return step;
}
