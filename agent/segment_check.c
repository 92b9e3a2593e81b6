/* SPDX-License-Identifier: MIT */
#include "segment_check.h"

#include <limits.h>

#define PAGE_BYTES    4096
#define LARGEST_CLASS 4096 /* scale and overhead of a measure; they are 16 and less */

static const struct section {
    const char *name;
    uint32_t item_bytes;
} sections[] = {
#define SECTION(NAME, name, item) {#name, sizeof(item)},
    MW_SEGMENT_SECTIONS(SECTION)
#undef SECTION
};

static uint64_t section_bytes(const struct mw_segment_place *place)
{
    return (uint64_t)place->item_bytes * place->capacity;
}

static bool check_section(const struct mw_segment_header *header, unsigned i, struct mw_error *error)
{
    const struct mw_segment_place *place = &header->sections[i];
    const char *name = sections[i].name;
    bool is_one = i == MW_SEGMENT_SNAPSHOT || i == MW_SEGMENT_CONTROL;
    if (place->item_bytes != sections[i].item_bytes)
        return mw_error_set(error, 0, "is not as this memwatch knows it: an item of its %s is %u bytes, not %u", name,
                            place->item_bytes, sections[i].item_bytes);
    if (is_one && place->capacity != 1)
        return mw_error_set(error, 0, "is damaged: it has %u times the section %s", place->capacity, name);
    if (place->offset_bytes % PAGE_BYTES || place->offset_bytes < PAGE_BYTES ||
        place->offset_bytes > header->segment_bytes ||
        section_bytes(place) > header->segment_bytes - place->offset_bytes)
        return mw_error_set(error, 0, "is damaged: its section %s is not within it", name);
    for (unsigned k = 0; k < i; k++) {
        const struct mw_segment_place *other = &header->sections[k];
        if (place->offset_bytes < other->offset_bytes + section_bytes(other) &&
            other->offset_bytes < place->offset_bytes + section_bytes(place))
            return mw_error_set(error, 0, "is damaged: its sections %s and %s overlap", sections[k].name, name);
    }
    return true;
}

static bool is_sound(const struct mw_segment_header *header, uint64_t file_bytes, struct mw_error *error)
{
    if (header->magic != MW_SEGMENT_MAGIC)
        return mw_error_set(error, 0, "is not a memwatch segment");
    if (header->version != MW_SEGMENT_VERSION)
        return mw_error_set(error, 0, "is of version %u, this memwatch reads version %u", header->version,
                            MW_SEGMENT_VERSION);
    if (header->segment_bytes > MW_SEGMENT_MOST_BYTES)
        return mw_error_set(error, 0, "is damaged: it says that it has %llu bytes, and more than %llu none has",
                            (unsigned long long)header->segment_bytes, (unsigned long long)MW_SEGMENT_MOST_BYTES);
    if (file_bytes < header->segment_bytes)
        return mw_error_set(error, 0, "is cut off: %llu bytes of %llu are left", (unsigned long long)file_bytes,
                            (unsigned long long)header->segment_bytes);
    if (header->section_count < MW_SEGMENT_SECTION_COUNT ||
        header->section_count > MW_SEGMENT_SECTION_COUNT + MW_SEGMENT_SPARE_SECTIONS)
        return mw_error_set(error, 0, "is damaged: it has %u sections", header->section_count);
    if (header->measure.scale_bytes > LARGEST_CLASS || header->measure.overhead_bytes > header->measure.scale_bytes)
        return mw_error_set(error, 0, "is damaged: its counters' classes have no meaning");
    for (unsigned i = 0; i < MW_SEGMENT_SECTION_COUNT; i++)
        if (!check_section(header, i, error))
            return false;
    return true;
}

void mw_segment_make_printable(char *string, size_t capacity_bytes)
{
    string[capacity_bytes - 1] = '\0';
    for (unsigned char *c = (unsigned char *)string; *c; c++) {
        if (*c < ' ' || *c == 0x7f)
            *c = '?';
        else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            c[0] = c[1] = '?';
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What may be beyond its bounds by accident of time: counts are raised before their items are there. */
static void make_sane(struct mw_segment_header *header)
{
    const struct mw_segment_place *places = header->sections;
    mw_segment_make_printable(header->comm, sizeof header->comm);
    mw_segment_make_printable(header->program, sizeof header->program);
    mw_segment_make_printable(header->run, sizeof header->run);
    header->modules_used = (uint32_t)least(header->modules_used, places[MW_SEGMENT_MODULES].capacity);
    header->slots_used = (uint32_t)least(header->slots_used, places[MW_SEGMENT_SLOTS].capacity);
    header->stacks_used = least(header->stacks_used, places[MW_SEGMENT_STACKS].capacity);
    header->samples_used = least(header->samples_used, places[MW_SEGMENT_SAMPLES].capacity);
    header->history_used = least(header->history_used, MW_SEGMENT_HISTORY);
    if (header->pressure_source >= MW_SEGMENT_PRESSURE_SOURCE_COUNT)
        header->pressure_source = MW_SEGMENT_PRESSURE_NOBODY;
    if (header->pid > INT_MAX)
        header->pid = 0;
}

bool mw_segment_check_header(struct mw_segment_header *header, uint64_t file_bytes, struct mw_error *error)
{
    if (!is_sound(header, file_bytes, error))
        return false;
    make_sane(header);
    return true;
}
