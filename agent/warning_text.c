/* SPDX-License-Identifier: MIT */
#include "units.h"
#include "warning.h"

static uint64_t cache_bytes(const struct mw_warning_reading *reading)
{
    return reading->usage_bytes > reading->working_set_bytes ? reading->usage_bytes - reading->working_set_bytes : 0;
}

static void put_amounts(struct mw_text *out, const struct mw_warning_reading *reading)
{
    uint64_t per_mille = (uint64_t)((unsigned __int128)reading->working_set_bytes * 1000 / reading->limit_bytes);
    mw_text_size(out, reading->working_set_bytes);
    mw_text_string(out, " of ");
    mw_text_size(out, reading->limit_bytes);
    mw_text_string(out, " in use (");
    mw_text_fixed(out, per_mille, 1);
    mw_text_string(out, " %)");
    if (cache_bytes(reading) * 100 > reading->limit_bytes) {
        mw_text_string(out, " besides ");
        mw_text_size(out, cache_bytes(reading));
        mw_text_string(out, " of file cache");
    }
}

static void put_growth(struct mw_text *out, const struct mw_warning_step *step,
                       const struct mw_warning_reading *reading)
{
    uint64_t left_bytes =
        reading->limit_bytes > reading->working_set_bytes ? reading->limit_bytes - reading->working_set_bytes : 0;
    unsigned __int128 left_ns = (unsigned __int128)left_bytes * 1000000000 / step->growth_bytes_s;
    mw_text_string(out, ", growing by ");
    mw_text_size(out, step->growth_bytes_s);
    mw_text_string(out, " a second: full in ");
    mw_text_duration(out, left_ns > UINT64_MAX ? UINT64_MAX : (uint64_t)left_ns);
}

void mw_warning_text(struct mw_text *out, const struct mw_warning_step *step, const struct mw_warning_reading *reading,
                     const char *program, int pid)
{
    mw_text_string(out, program);
    mw_text_string(out, " (pid ");
    mw_text_u64(out, (uint64_t)pid);
    mw_text_string(out, step->reason == MW_WARNING_LIMIT ? ") is near its limit: " : ") waits for memory: ");
    put_amounts(out, reading);
    if (step->growth_bytes_s)
        put_growth(out, step, reading);
}

static void put_u64(struct mw_text *out, const char *name, uint64_t value)
{
    mw_text_char(out, ',');
    mw_text_json_string(out, name);
    mw_text_char(out, ':');
    mw_text_u64(out, value);
}

void mw_warning_json(struct mw_text *out, const struct mw_warning_step *step, const struct mw_warning_reading *reading,
                     const char *program, int pid)
{
    mw_text_string(out, "{\"Event\":\"Warning\",\"Reason\":");
    mw_text_json_string(out, step->reason == MW_WARNING_LIMIT ? "limit" : "pressure");
    mw_text_string(out, ",\"Program\":");
    mw_text_json_string(out, program);
    put_u64(out, "Pid", (uint64_t)pid);
    put_u64(out, "Limit", reading->limit_bytes);
    put_u64(out, "WorkingSet", reading->working_set_bytes);
    put_u64(out, "CgroupUsage", reading->usage_bytes);
    put_u64(out, "GrowthPerSecond", step->growth_bytes_s);
    mw_text_char(out, '}');
}
