/* SPDX-License-Identifier: MIT
 *
 * libFuzzer's entry for the reading of segments: read, load, and every accessor.
 *
 * An input is a list of changes to the builder's example, of 12 bytes each, and not a segment itself: that would have
 * fifty pages of zeros, in which a fuzzer finds nothing. Any segment of the example's length can be made this way.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "events.h"
#include "format.h"
#include "profile.h"
#include "segment_builder.h"

struct change {
    uint8_t where; /* a section, the header, or the length of the file */
    uint8_t bytes; /* of value, 1 to 8 */
    uint16_t at;   /* in units of four bytes from where's start */
    uint64_t value;
} __attribute__((packed));

enum { WHERE_HEADER = MW_SEGMENT_SECTION_COUNT, WHERE_LENGTH, WHERES };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The reading side waits for a writer that is in the midst of something. Here there is none. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)time;
    (void)left;
    return 0;
}

static size_t apply(const struct change *change, struct segment_builder *builder, size_t length)
{
    unsigned where = change->where % WHERES;
    if (where == WHERE_LENGTH)
        return change->value % (builder->length + 1);
    /* of the example's own header: the one that is being changed says anything */
    static struct mw_segment_header first;
    if (!first.magic)
        first = *builder->header;
    size_t offset = (where == WHERE_HEADER ? 0 : first.sections[where].offset_bytes) + change->at * sizeof(uint32_t);
    size_t bytes = change->bytes % 8 + 1;
    if (offset + bytes <= builder->length)
        memcpy(builder->bytes + offset, &change->value, bytes);
    return length;
}

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Whoever compiles this is to believe that it is read. */
static void keep(const void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* Touches all that a report could touch, so that the sanitizers see it, and holds it to what the headers promise. */
static void look_at_profile(const struct mw_profile *profile)
{
    uint64_t frames[MW_SEGMENT_DEPTH];
    uint8_t build_id[MW_SEGMENT_BUILD_ID_BYTES];
    for (size_t i = 0; i < profile->stack_count; i++) {
        const struct mw_profile_stack *stack = &profile->stacks[i];
        require(stack->depth > 0 && stack->depth <= MW_SEGMENT_DEPTH && stack->live_bytes_error >= 0);
        memcpy(frames, stack->frames, stack->depth * sizeof frames[0]);
        keep(frames);
    }
    for (size_t i = 0; i < profile->sample_count; i++)
        require(profile->samples[i].stack < profile->stack_count && profile->samples[i].objects >= 0);
    for (size_t i = 0; i < profile->module_count; i++) {
        const struct mw_profile_module *module = &profile->modules[i];
        require(module->start < module->end && strlen(module->path) < sizeof(struct mw_segment_module));
        require(module->build_id_bytes <= sizeof build_id);
        memcpy(build_id, module->build_id, module->build_id_bytes);
        keep(build_id);
    }
    require(profile->history_used <= MW_SEGMENT_HISTORY);
}

static void look_at_view(const struct mw_segment_view *view)
{
    static char line[MW_JSON_LINE_BYTES];
    struct mw_text out = MW_TEXT(line);
    struct memwatch_stats stats;
    const struct mw_identity who = {.pid = (int)view->header.pid, .comm = view->header.comm};
    mw_segment_view_stats(view, &stats);
    mw_format_json(&out, &who, &stats);
    require(!out.truncated && strlen(view->header.program) < sizeof view->header.program);
    for (size_t i = 0; i < view->stack_count; i++)
        require(mw_segment_view_find(view, view->stacks[i]) == i);
    for (size_t i = 0; i < view->event_count; i++) {
        require(view->events[i].kind > MW_SEGMENT_NO_EVENT && view->events[i].kind < MW_SEGMENT_EVENT_KINDS);
        out = MW_TEXT(line);
        mw_event_describe(&out, &view->events[i]);
        mw_event_put_members(&out, &view->events[i]);
        require(!out.truncated && out.length < 1024);
    }
    for (size_t i = 0; i < view->second_count; i++)
        require(view->seconds[i].time_unix_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct segment_example example = segment_builder_example();
    struct mw_segment_view view;
    struct mw_profile profile;
    struct mw_error error = {0};
    struct change change;
    size_t length = example.builder.length;
    for (; size >= sizeof change; data += sizeof change, size -= sizeof change) {
        memcpy(&change, data, sizeof change);
        length = apply(&change, &example.builder, length);
    }
    int fd = segment_builder_file(&example.builder, length);
    if (mw_segment_read(fd, &view, &error)) {
        look_at_view(&view);
        require(mw_profile_load(&view, &profile, &error));
        mw_segment_view_free(&view);
        look_at_profile(&profile);
        mw_profile_free(&profile);
    } else {
        require(*error.text);
    }
    close(fd);
    segment_builder_free(&example.builder);
    return 0;
}
