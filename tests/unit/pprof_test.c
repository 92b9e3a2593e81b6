/* SPDX-License-Identifier: MIT
 *
 * What is written is unpacked again by the description of the format, and asked whether it keeps the format's rules.
 * PROGRAMS is the directory with the programs that the symbolizer knows.
 */
#include "pprof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "check.h"
#include "debugfile.h"
#include "folded.h"
#include "pprof_read.h"
#include "profile.pb-c.h"

#define BIAS UINT64_C(0x7f0000000000)
#define LIB  UINT64_C(0x7f1000000000)
#define SPAN UINT64_C(0x10000000)
#define S    UINT64_C(1000000000)

static struct mw_debugfile_facts facts;
static uint64_t inlined_address; /* in the program, after a call that stands in two inlined functions */
static uint64_t main_address;

static struct mw_profile_module modules[] = {
    {.start = BIAS, .end = BIAS + SPAN, .bias = BIAS, .path = PROGRAMS "/symbols", .build_id = facts.build_id},
    {.start = LIB, .end = LIB + SPAN, .bias = LIB, .path = "/nowhere/lib\xc3\xa4.so"},
    {.start = 2 * LIB, .end = 2 * LIB + SPAN, .bias = 2 * LIB, .path = "/nowhere/unused\xc3.so"},
};

static uint64_t known[2];
static uint64_t mixed[3];
static const uint64_t nowhere[] = {0x1235, 0};
static uint64_t deep[5000];

static struct mw_profile_stack stacks[] = {
    {.frames = known,
     .depth = 2,
     .allocated = {.objects = 10, .bytes = 1000, .samples = 5},
     .live = {.objects = 4, .bytes = 400, .samples = 2}},
    {.frames = mixed,
     .depth = 3,
     .is_mmap = true,
     .allocated = {.objects = 1, .bytes = UINT64_MAX, .samples = 1},
     .live = {.objects = 1, .bytes = 4096, .samples = 1}},
    {.frames = nowhere, .depth = 2, .allocated = {.objects = 7, .bytes = 70, .samples = 7}},
    {.frames = NULL, .depth = 0, .live = {.objects = 1, .bytes = 8, .samples = 1}},
};

static const struct mw_profile profile = {.stacks = stacks,
                                          .stack_count = COUNT(stacks),
                                          .modules = modules,
                                          .module_count = COUNT(modules),
                                          .sample_mean_bytes = 512 << 10,
                                          .started_unix_ns = 1000 * S,
                                          .age_ns = 60 * S,
                                          .dropped_samples = 3};

static int prepare(void **state)
{
    unsigned long address;
    char name[64];
    (void)state;
    int fd = mw_debugfile_open(NULL, modules[0].path);
    if (fd < 0 || !mw_debugfile_inspect(fd, &facts))
        return -1;
    close(fd);
    modules[0].build_id_bytes = facts.build_id_bytes;
    FILE *says = popen(PROGRAMS "/symbols", "r");                     // NOLINT(cert-env33-c)
    while (says && fscanf(says, "%63s %lx %*u", name, &address) == 2) // NOLINT(cert-err34-c)
        *(strcmp(name, "main") ? &inlined_address : &main_address) = address;
    pclose(says);
    known[0] = BIAS + inlined_address;
    known[1] = BIAS + main_address;
    mixed[0] = LIB + 0x2001;
    mixed[1] = BIAS + inlined_address;
    mixed[2] = BIAS + main_address;
    return 0;
}

static void pack(const struct mw_profile *from, enum mw_symbols_effort effort, void **bytes, size_t *count)
{
    struct mw_error error;
    struct mw_symbols *symbols = mw_symbols_new(from, NULL, effort);
    if (!mw_pprof_pack(from, symbols, &MW_PPROF_ALL, bytes, count, &error))
        fail_msg("%s", error.text);
    mw_symbols_free(symbols);
}

static Pprof__Profile *unpack(void *bytes, size_t count)
{
    static unsigned char plain[1 << 20];
    z_stream stream = {.next_in = bytes, .avail_in = (uInt)count, .next_out = plain, .avail_out = (uInt)sizeof plain};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK); /* gzip, and nothing else */
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    inflateEnd(&stream);
    free(bytes);
    Pprof__Profile *message = pprof__profile__unpack(NULL, stream.total_out, plain);
    assert_non_null(message);
    return message;
}

static Pprof__Profile *packed(enum mw_symbols_effort effort)
{
    void *bytes;
    size_t count;
    pack(&profile, effort, &bytes, &count);
    return unpack(bytes, count);
}

static const char *text(const Pprof__Profile *message, int64_t index)
{
    assert_in_range(index, 0, message->n_string_table - 1);
    return message->string_table[index];
}

/* ---- rules ---- */

static void types_stand_in_the_order_that_readers_want(void **state)
{
    static const char *const types[][2] = {
        {"alloc_objects", "count"}, {"alloc_space", "bytes"}, {"inuse_objects", "count"}, {"inuse_space", "bytes"}};
    (void)state;
    Pprof__Profile *message = packed(MW_SYMBOLS_FUNCTIONS);
    assert_string_equal(message->string_table[0], "");
    assert_int_equal(message->n_sample_type, COUNT(types));
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_string_equal(text(message, message->sample_type[i]->type), types[i][0]);
        assert_string_equal(text(message, message->sample_type[i]->unit), types[i][1]);
    }
    assert_string_equal(text(message, message->default_sample_type), "inuse_space");
    assert_string_equal(text(message, message->period_type->type), "space");
    assert_string_equal(text(message, message->period_type->unit), "bytes");
    assert_int_equal(message->period, 512 << 10);
    assert_int_equal(message->time_nanos, 1060 * S);
    assert_int_equal(message->duration_nanos, 60 * S);
    assert_int_equal(message->n_comment, 1);
    CHECK_HAS("what is missing", text(message, message->comment[0]), "3 sampled blocks");
    pprof__profile__free_unpacked(message, NULL);
}

static void ids_count_from_one_and_every_index_leads_somewhere(void **state)
{
    (void)state;
    for (int effort = MW_SYMBOLS_OFFSETS; effort <= MW_SYMBOLS_FUNCTIONS; effort++) {
        Pprof__Profile *message = packed((enum mw_symbols_effort)effort);
        for (size_t i = 0; i < message->n_mapping; i++)
            assert_int_equal(message->mapping[i]->id, i + 1);
        for (size_t i = 0; i < message->n_function; i++) {
            assert_int_equal(message->function[i]->id, i + 1);
            assert_string_not_equal(text(message, message->function[i]->name), "");
            text(message, message->function[i]->system_name);
            text(message, message->function[i]->filename);
        }
        for (size_t i = 0; i < message->n_location; i++) {
            const Pprof__Location *location = message->location[i];
            assert_int_equal(location->id, i + 1);
            assert_in_range(location->mapping_id, 0, message->n_mapping);
            for (size_t k = 0; k < location->n_line; k++)
                assert_in_range(location->line[k]->function_id, 1, message->n_function);
            for (size_t k = 0; k < i; k++)
                assert_int_not_equal(location->address, message->location[k]->address);
        }
        assert_int_equal(message->n_sample, COUNT(stacks));
        for (size_t i = 0; i < message->n_sample; i++) {
            assert_int_equal(message->sample[i]->n_value, 4);
            for (size_t k = 0; k < message->sample[i]->n_location_id; k++)
                assert_in_range(message->sample[i]->location_id[k], 1, message->n_location);
        }
        for (size_t i = 0; i < message->n_string_table; i++)
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(message->string_table[i], message->string_table[k]);
        pprof__profile__free_unpacked(message, NULL);
    }
}

static void samples_hold_what_the_stacks_hold(void **state)
{
    static const int64_t values[COUNT(stacks)][4] = {
        {10, 1000, 4, 400}, {1, INT64_MAX, 1, 4096}, {7, 70, 0, 0}, {0, 0, 1, 8}};
    (void)state;
    Pprof__Profile *message = packed(MW_SYMBOLS_FUNCTIONS);
    for (size_t i = 0; i < COUNT(stacks); i++) {
        const Pprof__Sample *sample = message->sample[i];
        assert_memory_equal(sample->value, values[i], sizeof values[i]);
        assert_int_equal(sample->n_location_id, stacks[i].depth);
        for (unsigned k = 0; k < stacks[i].depth; k++) { /* the leaf first, and where the call is */
            uint64_t due = stacks[i].frames[k] ? stacks[i].frames[k] - 1 : 0;
            assert_int_equal(message->location[sample->location_id[k] - 1]->address, due);
        }
        assert_int_equal(sample->n_label, stacks[i].is_mmap);
    }
    assert_string_equal(text(message, message->sample[1]->label[0]->key), "kind");
    assert_string_equal(text(message, message->sample[1]->label[0]->str), "mmap");
    pprof__profile__free_unpacked(message, NULL);
}

static void mappings_say_what_is_needed_elsewhere(void **state)
{
    (void)state;
    for (int effort = MW_SYMBOLS_OFFSETS; effort <= MW_SYMBOLS_FUNCTIONS; effort++) {
        Pprof__Profile *message = packed((enum mw_symbols_effort)effort);
        bool named = effort == MW_SYMBOLS_FUNCTIONS;
        char id[2 * sizeof facts.build_id + 1] = "";
        for (unsigned i = 0; i < facts.build_id_bytes; i++)
            snprintf(id + 2 * i, 3, "%02x", facts.build_id[i]);
        assert_int_equal(message->n_mapping, COUNT(modules));
        const Pprof__Mapping *program = message->mapping[0];
        assert_string_equal(text(message, program->filename), modules[0].path);
        assert_string_equal(text(message, program->build_id), id);
        assert_in_range(BIAS + main_address, program->memory_start, program->memory_limit);
        assert_int_equal(program->memory_start - BIAS, facts.code_start & ~UINT64_C(4095));
        assert_int_equal(program->file_offset, facts.code_offset & ~UINT64_C(4095));
        assert_int_equal(program->has_functions, named);
        assert_int_equal(program->has_filenames, named);
        assert_int_equal(program->has_line_numbers, named);
        assert_int_equal(program->has_inline_frames, named);
        const Pprof__Mapping *library = message->mapping[1]; /* no file, no names */
        assert_int_equal(library->memory_start, LIB);
        assert_int_equal(library->memory_limit, LIB + SPAN);
        assert_string_equal(text(message, library->build_id), "");
        assert_string_equal(text(message, library->filename), "/nowhere/lib\xc3\xa4.so");
        assert_string_equal(text(message, message->mapping[2]->filename), "/nowhere/unused?.so"); /* no UTF-8 */
        assert_false(library->has_functions || library->has_filenames || message->mapping[2]->has_functions);
        pprof__profile__free_unpacked(message, NULL);
    }
}

static void inlined_functions_are_lines_of_their_location(void **state)
{
    static const char *const functions[] = {"inlined_inner", "inlined_outer", "hidden"};
    (void)state;
    Pprof__Profile *message = packed(MW_SYMBOLS_FUNCTIONS);
    const Pprof__Location *location = message->location[message->sample[0]->location_id[0] - 1];
    assert_int_equal(location->n_line, COUNT(functions));
    for (size_t i = 0; i < COUNT(functions); i++) {
        const Pprof__Function *function = message->function[location->line[i]->function_id - 1];
        assert_string_equal(text(message, function->name), functions[i]);
        CHECK_HAS("file", text(message, function->filename), "symbols.c");
        assert_true(location->line[i]->line > 0);
    }
    pprof__profile__free_unpacked(message, NULL);
    message = packed(MW_SYMBOLS_OFFSETS);
    assert_int_equal(message->n_function, 0);
    pprof__profile__free_unpacked(message, NULL);
}

static void an_empty_profile_is_one_too(void **state)
{
    static const struct mw_profile empty = {.sample_mean_bytes = 1};
    void *bytes;
    size_t count;
    (void)state;
    pack(&empty, MW_SYMBOLS_FUNCTIONS, &bytes, &count);
    Pprof__Profile *message = unpack(bytes, count);
    assert_int_equal(message->n_sample_type, 4);
    assert_int_equal(message->n_sample, 0);
    assert_int_equal(message->period, 1);
    pprof__profile__free_unpacked(message, NULL);
}

/* ---- and back ---- */

static void what_was_written_is_read_as_it_was(void **state)
{
    void *bytes;
    size_t count;
    struct mw_pprof_read read;
    struct mw_error error;
    struct mw_folded before = {0};
    struct mw_folded after = {0};
    (void)state;
    struct mw_symbols *symbols = mw_symbols_new(&profile, NULL, MW_SYMBOLS_FUNCTIONS);
    pack(&profile, MW_SYMBOLS_FUNCTIONS, &bytes, &count);
    assert_true(mw_pprof_is_one(bytes, count));
    assert_true(mw_pprof_read(bytes, count, &read, &error));
    free(bytes);
    assert_int_equal(read.profile.stack_count, COUNT(stacks));
    assert_int_equal(read.profile.age_ns, 60 * S);
    assert_int_equal(read.profile.started_unix_ns, 1000 * S);
    assert_true(read.profile.stacks[1].is_mmap);
    assert_int_equal(read.profile.stacks[0].live.bytes, 400);
    assert_int_equal(read.profile.stacks[0].allocated.objects, 10);
    mw_folded_add_profile(&before, &profile, mw_namer_of(symbols), true);
    mw_folded_add_profile(&after, &read.profile, read.namer, true);
    assert_string_equal(before.stacks.strings[0], after.stacks.strings[0]);
    assert_string_equal(after.stacks.strings[0], "main;hidden;inlined_outer;inlined_inner");
    mw_folded_free(&before);
    mw_folded_free(&after);
    mw_pprof_read_free(&read);
    mw_symbols_free(symbols);
}

/* Every byte spoilt, and every length: it is refused, or read as something in bounds. */
static void damaged_files_are_refused_or_in_bounds(void **state)
{
    void *packed_bytes;
    size_t count;
    struct mw_error error;
    (void)state;
    pack(&profile, MW_SYMBOLS_FUNCTIONS, &packed_bytes, &count);
    Pprof__Profile *message = unpack(packed_bytes, count);
    size_t plain_bytes = pprof__profile__get_packed_size(message);
    unsigned char *plain = malloc(plain_bytes);
    unsigned char *bytes = malloc(plain_bytes + 1024);
    assert_true(plain && bytes);
    pprof__profile__pack(message, plain);
    pprof__profile__free_unpacked(message, NULL);
    for (size_t at = 0; at < 8 * plain_bytes; at++) {
        struct mw_pprof_read read;
        z_stream stream = {.next_in = plain,
                           .avail_in = (uInt)(at % 8 ? plain_bytes : at / 8), /* also cut off there */
                           .next_out = bytes,
                           .avail_out = (uInt)(plain_bytes + 1024)};
        plain[at / 8] ^= (unsigned char)(1U << at % 8);
        assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        deflateEnd(&stream);
        plain[at / 8] ^= (unsigned char)(1U << at % 8);
        if (!mw_pprof_read(bytes, stream.total_out, &read, &error))
            continue;
        struct mw_folded folded = {0};
        mw_folded_add_profile(&folded, &read.profile, read.namer, true);
        mw_folded_free(&folded);
        mw_pprof_read_free(&read);
    }
    for (size_t length = 0; length < 40; length++) { /* of the gzip frame itself */
        struct mw_pprof_read read;
        assert_false(mw_pprof_read(bytes, length, &read, &error));
    }
    free(plain);
    free(bytes);
}

static void others_profiles_are_refused(void **state)
{
    void *bytes;
    size_t count;
    struct mw_pprof_read read;
    struct mw_error error = {0};
    struct mw_profile_stack too_deep = {.frames = deep, .depth = COUNT(deep)};
    struct mw_profile with_it = {.stacks = &too_deep, .stack_count = 1};
    (void)state;
    for (size_t i = 0; i < COUNT(deep); i++)
        deep[i] = i + 1;
    pack(&with_it, MW_SYMBOLS_OFFSETS, &bytes, &count);
    assert_false(mw_pprof_read(bytes, count, &read, &error));
    CHECK_HAS("too deep", error.text, "is no profile");
    free(bytes);
    assert_false(mw_pprof_is_one("\x1f", 1));
    assert_false(mw_pprof_is_one("memwatch", 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_stand_in_the_order_that_readers_want),
        cmocka_unit_test(ids_count_from_one_and_every_index_leads_somewhere),
        cmocka_unit_test(samples_hold_what_the_stacks_hold),
        cmocka_unit_test(mappings_say_what_is_needed_elsewhere),
        cmocka_unit_test(inlined_functions_are_lines_of_their_location),
        cmocka_unit_test(an_empty_profile_is_one_too),
        cmocka_unit_test(what_was_written_is_read_as_it_was),
        cmocka_unit_test(damaged_files_are_refused_or_in_bounds),
        cmocka_unit_test(others_profiles_are_refused),
    };
    return cmocka_run_group_tests_name("pprof", tests, prepare, NULL);
}
