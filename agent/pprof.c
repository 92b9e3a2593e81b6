/* SPDX-License-Identifier: MIT */
#include "pprof.h"

#include <inttypes.h>
#include <stdio.h>

#include "gzip.h"
#include "interned.h"
#include "memory.h"
#include "profile.pb-c.h"
#include "profile_index.h"

/* All parts of the message are allocated one by one, as if it had been unpacked, and freed as such. */
struct builder {
    Pprof__Profile message;
    struct mw_interned strings;
    struct mw_interned functions; /* each by the numbers of its strings */
    struct mw_interned locations; /* each by its address */
    const struct mw_profile *profile;
    struct mw_symbols *symbols;
    const struct mw_pprof_wishes *wishes;
    struct mw_profile_index before; /* of the profile that this is to be the difference from */
};

/* The format's strings are UTF-8, what a process calls its files need not be. */
static bool is_utf8(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        unsigned more = *c < 0x80 ? 0 : *c < 0xc2 ? 4 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : *c < 0xf5 ? 3 : 4;
        bool is_bad = more > 3 || (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) ||
                      (*c == 0xf0 && c[1] < 0x90) || (*c == 0xf4 && c[1] > 0x8f);
        for (c++; !is_bad && more; more--)
            is_bad = (*c++ & 0xc0) != 0x80;
        if (is_bad)
            return false;
    }
    return true;
}

static int64_t string(struct builder *builder, const char *text)
{
    if (is_utf8(text))
        return (int64_t)mw_interned_add(&builder->strings, text);
    char *ascii = mw_memory_string(text);
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    size_t index = mw_interned_add(&builder->strings, ascii);
    free(ascii);
    return (int64_t)index;
}

static int64_t number(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

/* How much more there is of it than there was. */
static int64_t more(uint64_t now, uint64_t before)
{
    return number(now) - number(before);
}

/* An array grows at the powers of two. */
static void *room_for_one(void *array, size_t count, size_t item_bytes)
{
    return count & (count - 1) ? array : mw_memory_resize(array, count ? 2 * count : 1, item_bytes);
}

/* Makes a message of a type, appends it to a repeated field of another, and is a pointer to it. */
#define ADD(message, field, Type, type)                                                                                \
    ({                                                                                                                 \
        Type *added_ = mw_memory_new(1, sizeof *added_);                                                               \
        type##__init(added_);                                                                                          \
        (message)->field = room_for_one((message)->field, (message)->n_##field, sizeof(void *));                       \
        (message)->field[(message)->n_##field++] = added_;                                                             \
        added_;                                                                                                        \
    })

/* ---- mappings ---- */

static void add_mapping(struct builder *builder, size_t module)
{
    const struct mw_profile_module *from = &builder->profile->modules[module];
    struct mw_symbols_code code = mw_symbols_code(builder->symbols, module);
    Pprof__Mapping *mapping = ADD(&builder->message, mapping, Pprof__Mapping, pprof__mapping);
    char id[2 * MW_SEGMENT_BUILD_ID_BYTES + 1] = "";
    for (unsigned i = 0; i < from->build_id_bytes && i < MW_SEGMENT_BUILD_ID_BYTES; i++)
        snprintf(id + 2 * i, 3, "%02x", from->build_id[i]);
    mapping->id = module + 1;
    mapping->memory_start = code.start;
    mapping->memory_limit = code.end;
    mapping->file_offset = code.file_offset;
    mapping->filename = string(builder, from->path);
    mapping->build_id = string(builder, id);
}

/* What every frame of a mapping has, the mapping has. One without frames has nothing. */
static void settle_mappings(Pprof__Profile *message, const bool *is_used)
{
    for (size_t i = 0; i < message->n_mapping; i++) {
        Pprof__Mapping *mapping = message->mapping[i];
        mapping->has_functions = mapping->has_filenames = mapping->has_line_numbers = mapping->has_inline_frames =
            is_used[i];
    }
    for (size_t i = 0; i < message->n_location; i++) {
        const Pprof__Location *location = message->location[i];
        if (!location->mapping_id)
            continue;
        Pprof__Mapping *mapping = message->mapping[location->mapping_id - 1];
        if (!location->n_line)
            mapping->has_functions = false;
        if (!location->n_line || !location->line[0]->line)
            mapping->has_filenames = mapping->has_line_numbers = mapping->has_inline_frames = false;
    }
}

/* ---- locations ---- */

static uint64_t function_id(struct builder *builder, const struct mw_frame *frame)
{
    char key[80];
    int64_t name = string(builder, frame->function);
    int64_t system_name = string(builder, frame->linkage);
    int64_t file = string(builder, frame->file ? frame->file : "");
    snprintf(key, sizeof key, "%" PRId64 " %" PRId64 " %" PRId64, name, system_name, file);
    size_t index = mw_interned_add(&builder->functions, key);
    if (index == builder->message.n_function) {
        Pprof__Function *function = ADD(&builder->message, function, Pprof__Function, pprof__function);
        function->id = index + 1;
        function->name = name;
        function->system_name = system_name;
        function->filename = file;
    }
    return index + 1;
}

static uint64_t location_id(struct builder *builder, uint64_t return_address)
{
    char key[24];
    snprintf(key, sizeof key, "%" PRIx64, return_address);
    size_t index = mw_interned_add(&builder->locations, key);
    if (index < builder->message.n_location)
        return index + 1;
    const struct mw_symbol *symbol = mw_symbols_find(builder->symbols, return_address);
    Pprof__Location *location = ADD(&builder->message, location, Pprof__Location, pprof__location);
    location->id = index + 1;
    location->mapping_id = symbol->module == MW_SYMBOL_NO_MODULE ? 0 : symbol->module + 1;
    location->address = return_address ? return_address - 1 : 0;
    for (unsigned i = 0; symbol->is_known && i < symbol->count; i++) {
        uint64_t id = function_id(builder, &symbol->frames[i]);
        Pprof__Line *line = ADD(location, line, Pprof__Line, pprof__line);
        line->function_id = id;
        line->line = symbol->frames[i].line;
    }
    return index + 1;
}

/* ---- samples ---- */

/* What has not changed has no part in a difference. */
static bool has_changed(const int64_t values[MW_PPROF_VALUES])
{
    for (unsigned i = 0; i < MW_PPROF_VALUES; i++)
        if (values[i])
            return true;
    return false;
}

static void add_sample(struct builder *builder, const struct mw_profile_stack *stack)
{
    static const struct mw_profile_stack none;
    const struct mw_profile_stack *known = mw_profile_index_find(&builder->before, stack);
    const struct mw_profile_stack *before = known ? known : &none;
    const int64_t values[MW_PPROF_VALUES] = {
        [MW_PPROF_ALLOC_OBJECTS] = more(stack->allocated.objects, before->allocated.objects),
        [MW_PPROF_ALLOC_BYTES] = more(stack->allocated.bytes, before->allocated.bytes),
        [MW_PPROF_LIVE_OBJECTS] = more(stack->live.objects, before->live.objects),
        [MW_PPROF_LIVE_BYTES] = more(stack->live.bytes, before->live.bytes)};
    if (builder->wishes->since && !has_changed(values))
        return;
    Pprof__Sample *sample = ADD(&builder->message, sample, Pprof__Sample, pprof__sample);
    sample->n_location_id = stack->depth;
    sample->location_id = mw_memory_new(stack->depth, sizeof *sample->location_id);
    for (unsigned i = 0; i < stack->depth; i++)
        sample->location_id[i] = location_id(builder, stack->frames[i]);
    sample->n_value = MW_PPROF_VALUES;
    sample->value = mw_memory_new(MW_PPROF_VALUES, sizeof *sample->value);
    memcpy(sample->value, values, sizeof values);
    if (stack->is_mmap) {
        Pprof__Label *label = ADD(sample, label, Pprof__Label, pprof__label);
        label->key = string(builder, MW_PPROF_LABEL_KIND);
        label->str = string(builder, MW_PPROF_KIND_MMAP);
    }
}

/* ---- the whole ---- */

static void set_types(struct builder *builder)
{
    static const struct {
        const char *type;
        const char *unit;
    } types[MW_PPROF_VALUES] = {[MW_PPROF_ALLOC_OBJECTS] = {"alloc_objects", "count"},
                                [MW_PPROF_ALLOC_BYTES] = {"alloc_space", "bytes"},
                                [MW_PPROF_LIVE_OBJECTS] = {"inuse_objects", "count"},
                                [MW_PPROF_LIVE_BYTES] = {"inuse_space", "bytes"}};
    Pprof__Profile *message = &builder->message;
    string(builder, ""); /* is number 0 */
    for (unsigned i = 0; i < MW_PPROF_VALUES; i++) {
        Pprof__ValueType *type = ADD(message, sample_type, Pprof__ValueType, pprof__value_type);
        type->type = string(builder, types[i].type);
        type->unit = string(builder, types[i].unit);
    }
    message->default_sample_type = string(builder, types[builder->wishes->shown_first].type);
    message->period_type = mw_memory_new(1, sizeof *message->period_type);
    pprof__value_type__init(message->period_type);
    message->period_type->type = string(builder, "space");
    message->period_type->unit = string(builder, "bytes");
    message->period = number(builder->profile->sample_mean_bytes);
}

static void set_times(struct builder *builder)
{
    const struct mw_profile *profile = builder->profile;
    builder->message.time_nanos = number(profile->started_unix_ns + profile->age_ns);
    builder->message.duration_nanos =
        more(profile->age_ns, builder->wishes->since ? builder->wishes->since->age_ns : 0);
    if (profile->dropped_samples || profile->dropped_stacks) {
        char text[160];
        snprintf(text, sizeof text,
                 "%" PRIu64 " sampled blocks of %" PRIu64 " bytes and %" PRIu64 " stacks found no room and are missing",
                 profile->dropped_samples, profile->dropped_bytes, profile->dropped_stacks);
        builder->message.comment = mw_memory_new(1, sizeof *builder->message.comment);
        builder->message.comment[builder->message.n_comment++] = string(builder, text);
    }
}

bool mw_pprof_pack(const struct mw_profile *profile, struct mw_symbols *symbols, const struct mw_pprof_wishes *wishes,
                   void **bytes, size_t *count, struct mw_error *error)
{
    struct builder builder = {
        .message = PPROF__PROFILE__INIT, .profile = profile, .symbols = symbols, .wishes = wishes};
    Pprof__Profile *message = &builder.message;
    bool *is_used = mw_memory_new(profile->module_count, sizeof *is_used);
    if (wishes->since)
        builder.before = mw_profile_index_make(wishes->since);
    set_types(&builder);
    for (size_t i = 0; i < profile->module_count; i++)
        add_mapping(&builder, i);
    for (size_t i = 0; i < profile->stack_count; i++)
        add_sample(&builder, &profile->stacks[i]);
    set_times(&builder);
    for (size_t i = 0; i < message->n_location; i++)
        if (message->location[i]->mapping_id)
            is_used[message->location[i]->mapping_id - 1] = true;
    settle_mappings(message, is_used);
    free(is_used);
    message->string_table = builder.strings.strings;
    message->n_string_table = builder.strings.count;

    size_t plain_bytes = pprof__profile__get_packed_size(message);
    void *plain = mw_memory_new(plain_bytes, 1);
    pprof__profile__pack(message, plain);
    bool done = mw_gzip(plain, plain_bytes, MW_GZIP_SMALL, bytes, count, error);
    free(plain);

    message->n_string_table = 0; /* the strings are not the message's to free, nor is it on the heap itself */
    message->string_table = NULL;
    mw_profile_index_free(&builder.before);
    mw_interned_free(&builder.strings);
    mw_interned_free(&builder.functions);
    mw_interned_free(&builder.locations);
    Pprof__Profile *on_heap = mw_memory_new(1, sizeof *on_heap);
    *on_heap = *message;
    pprof__profile__free_unpacked(on_heap, NULL);
    return done;
}
