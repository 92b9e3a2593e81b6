/* SPDX-License-Identifier: MIT */
#include "pprof_read.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <zlib.h>

#include "memory.h"
#include "pprof.h"
#include "profile.pb-c.h"

#define MOST_PLAIN_BYTES (UINT64_C(256) << 20)
#define MOST_DEPTH       4096

bool mw_pprof_is_one(const void *bytes, size_t count)
{
    const unsigned char *start = bytes;
    return count > 2 && start[0] == 0x1f && start[1] == 0x8b;
}

static bool gunzip(const void *bytes, size_t count, void **plain, size_t *plain_bytes)
{
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)count};
    enum { GZIP_WINDOW = 15 + 16 };
    size_t capacity_bytes = 0;
    int result = Z_OK;
    *plain = NULL;
    if (count > UINT32_MAX || inflateInit2(&stream, GZIP_WINDOW) != Z_OK)
        return false;
    while (result == Z_OK && capacity_bytes < MOST_PLAIN_BYTES) {
        size_t more_bytes = capacity_bytes ? capacity_bytes : 65536;
        *plain = mw_memory_resize(*plain, capacity_bytes + more_bytes, 1);
        stream.next_out = (Bytef *)*plain + capacity_bytes;
        stream.avail_out = (uInt)more_bytes;
        result = inflate(&stream, Z_NO_FLUSH);
        capacity_bytes += more_bytes;
        if (stream.avail_out && result == Z_OK) /* no end, and nothing more to come */
            break;
    }
    *plain_bytes = stream.total_out;
    inflateEnd(&stream);
    if (result == Z_STREAM_END)
        return true;
    free(*plain);
    return false;
}

/* ---- checked looks into the message ---- */

static char *string_at(const Pprof__Profile *message, int64_t index)
{
    static char none[] = "";
    return index >= 0 && (uint64_t)index < message->n_string_table ? message->string_table[index] : none;
}

static void make_printable(Pprof__Profile *message)
{
    for (size_t i = 0; i < message->n_string_table; i++)
        for (char *c = message->string_table[i]; *c; c++)
            if (*c < ' ' || *c > '~')
                *c = '?';
}

static bool has_our_types(const Pprof__Profile *message)
{
    static const char *const types[MW_PPROF_VALUES] = {[MW_PPROF_ALLOC_OBJECTS] = "alloc_objects",
                                                       [MW_PPROF_ALLOC_BYTES] = "alloc_space",
                                                       [MW_PPROF_LIVE_OBJECTS] = "inuse_objects",
                                                       [MW_PPROF_LIVE_BYTES] = "inuse_space"};
    if (message->n_sample_type != MW_PPROF_VALUES)
        return false;
    for (unsigned i = 0; i < MW_PPROF_VALUES; i++)
        if (strcmp(string_at(message, message->sample_type[i]->type), types[i]) != 0)
            return false;
    return true;
}

/* Ids are numbers of their own, but we count them from 1 and ask that of others. */
static bool is_sound(const Pprof__Profile *message)
{
    for (size_t i = 0; i < message->n_function; i++)
        if (message->function[i]->id != i + 1)
            return false;
    for (size_t i = 0; i < message->n_location; i++) {
        const Pprof__Location *location = message->location[i];
        if (location->id != i + 1 || location->mapping_id > message->n_mapping || location->n_line > MOST_DEPTH)
            return false;
        for (size_t k = 0; k < location->n_line; k++)
            if (location->line[k]->function_id - 1 >= message->n_function)
                return false;
    }
    for (size_t i = 0; i < message->n_sample; i++) {
        const Pprof__Sample *sample = message->sample[i];
        for (size_t k = 0; k < sample->n_location_id; k++)
            if (sample->location_id[k] - 1 >= message->n_location)
                return false;
        if (sample->n_location_id > MOST_DEPTH)
            return false;
    }
    return true;
}

/* ---- what is made of it ---- */

static struct mw_symbol *symbol_of(const Pprof__Profile *message, const Pprof__Location *location)
{
    enum { NAME_BYTES = 24 };
    size_t count = location->n_line ? location->n_line : 1;
    struct mw_symbol *symbol = mw_memory_new(1, sizeof *symbol + count * sizeof symbol->frames[0] + NAME_BYTES);
    symbol->module = location->mapping_id ? location->mapping_id - 1 : MW_SYMBOL_NO_MODULE;
    symbol->offset = location->address;
    symbol->is_known = location->n_line != 0;
    symbol->count = (unsigned)count;
    for (size_t i = 0; i < location->n_line; i++) {
        const Pprof__Line *line = location->line[i];
        const Pprof__Function *function = message->function[line->function_id - 1];
        const char *file = string_at(message, function->filename);
        symbol->frames[i] = (struct mw_frame){
            .function = string_at(message, function->name),
            .linkage = string_at(message, function->system_name),
            .file = *file ? file : NULL,
            .line = line->line > 0 && line->line < INT32_MAX ? (unsigned)line->line : 0,
            .is_inlined = i + 1 < location->n_line,
        };
    }
    if (!location->n_line) {
        char *name = (char *)&symbol->frames[1];
        snprintf(name, NAME_BYTES, "0x%" PRIx64, location->address);
        symbol->frames[0] = (struct mw_frame){.function = name, .linkage = name};
    }
    return symbol;
}

static uint64_t value_at(const Pprof__Sample *sample, unsigned which)
{
    return which < sample->n_value && sample->value[which] > 0 ? (uint64_t)sample->value[which] : 0;
}

static bool is_mmap(const Pprof__Profile *message, const Pprof__Sample *sample)
{
    for (size_t i = 0; i < sample->n_label; i++)
        if (strcmp(string_at(message, sample->label[i]->key), MW_PPROF_LABEL_KIND) == 0 &&
            strcmp(string_at(message, sample->label[i]->str), MW_PPROF_KIND_MMAP) == 0)
            return true;
    return false;
}

/* The standard error of live bytes, as if all blocks were of the same size: the format does not carry it. */
static double error_of(const struct mw_profile_amount *live, uint64_t mean_bytes)
{
    if (mean_bytes <= 1 || !live->objects)
        return 0;
    double block_bytes = (double)live->bytes / (double)live->objects;
    double chance = -expm1(-block_bytes / (double)mean_bytes);
    return chance > 0 ? block_bytes * sqrt((double)live->objects * (1 - chance) / chance) : 0;
}

static void load(const Pprof__Profile *message, struct mw_pprof_read *read)
{
    struct mw_profile *profile = &read->profile;
    profile->sample_mean_bytes = message->period > 0 ? (uint64_t)message->period : 0;
    profile->modules = mw_memory_new(message->n_mapping, sizeof *profile->modules);
    profile->module_count = message->n_mapping;
    for (size_t i = 0; i < message->n_mapping; i++)
        profile->modules[i] = (struct mw_profile_module){.start = message->mapping[i]->memory_start,
                                                         .end = message->mapping[i]->memory_limit,
                                                         .path = string_at(message, message->mapping[i]->filename)};
    read->symbols = mw_memory_new(message->n_location, sizeof(void *));
    for (size_t i = 0; i < message->n_location; i++)
        read->symbols[i] = symbol_of(message, message->location[i]);
    profile->stacks = mw_memory_new(message->n_sample, sizeof *profile->stacks);
    profile->stack_count = message->n_sample;
    for (size_t i = 0; i < message->n_sample; i++) {
        const Pprof__Sample *sample = message->sample[i];
        profile->stacks[i] = (struct mw_profile_stack){
            .frames = sample->location_id,
            .depth = (unsigned)sample->n_location_id,
            .is_mmap = is_mmap(message, sample),
            .allocated = {.objects = value_at(sample, MW_PPROF_ALLOC_OBJECTS),
                          .bytes = value_at(sample, MW_PPROF_ALLOC_BYTES)},
            .live = {.objects = value_at(sample, MW_PPROF_LIVE_OBJECTS),
                     .bytes = value_at(sample, MW_PPROF_LIVE_BYTES)},
        };
        profile->stacks[i].live_bytes_error = error_of(&profile->stacks[i].live, profile->sample_mean_bytes);
    }
    profile->age_ns = message->duration_nanos > 0 ? (uint64_t)message->duration_nanos : 0;
    if (message->time_nanos > message->duration_nanos && message->duration_nanos >= 0)
        profile->started_unix_ns = (uint64_t)(message->time_nanos - message->duration_nanos);
}

/* A frame is the id of its location. */
static const struct mw_symbol *find(void *context, uint64_t id)
{
    const struct mw_pprof_read *read = context;
    return read->symbols[id - 1];
}

bool mw_pprof_read(const void *bytes, size_t count, struct mw_pprof_read *read, struct mw_error *error)
{
    void *plain;
    size_t plain_bytes;
    *read = (struct mw_pprof_read){0};
    if (!gunzip(bytes, count, &plain, &plain_bytes))
        return mw_error_set(error, 0, "is damaged, or too large");
    Pprof__Profile *message = pprof__profile__unpack(NULL, plain_bytes, plain);
    free(plain);
    if (!message)
        return mw_error_set(error, 0, "is no profile");
    if (!has_our_types(message) || !is_sound(message)) {
        pprof__profile__free_unpacked(message, NULL);
        return mw_error_set(error, 0, "is no profile of memwatch's");
    }
    make_printable(message);
    read->message = message;
    read->namer = (struct mw_namer){find, read};
    load(message, read);
    return true;
}

void mw_pprof_read_free(struct mw_pprof_read *read)
{
    const Pprof__Profile *message = read->message;
    for (size_t i = 0; message && i < message->n_location; i++)
        free(read->symbols[i]);
    free(read->symbols);
    free(read->profile.stacks);
    free(read->profile.modules);
    pprof__profile__free_unpacked(read->message, NULL);
    *read = (struct mw_pprof_read){0};
}
