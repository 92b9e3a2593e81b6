/* SPDX-License-Identifier: MIT */
#include "segment_builder.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES  4096
#define FIRST_STACK 8
#define SECOND_NS   UINT64_C(1000000000)

const struct segment_builder_sizes segment_builder_tiny = {
    .snapshot = 1,
    .control = 1,
    .events = 4,
    .seconds = 4,
    .minutes = 4,
    .modules = 4,
    .buckets = 4,
    .stacks = 256,
    .samples = 8,
    .slots = 2,
};

static uint64_t up_to_page(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

void segment_builder_start(struct segment_builder *builder, const struct segment_builder_sizes *sizes)
{
    struct mw_segment_header header = {
        .magic = MW_SEGMENT_MAGIC,
        .version = MW_SEGMENT_VERSION,
        .section_count = MW_SEGMENT_SECTION_COUNT,
        .page_bytes = PAGE_BYTES,
        .pid = 1234,
        .pid_namespace = 4026531836,
        .start_ticks = 5678,
        .started_ns = 500 * SECOND_NS,
        .started_unix_ns = 1000 * SECOND_NS,
        .sample_mean_bytes = 512 << 10,
        .measure = {.scale_bytes = 16, .overhead_bytes = 8},
        .comm = "app",
        .program = "/usr/bin/app",
        .state = MW_SEGMENT_RUNNING,
        .stacks_used = FIRST_STACK,
        .slots_used = 1,
        .sections =
            {
#define PLACE(NAME, name, item) [MW_SEGMENT_##NAME] = {.item_bytes = sizeof(item), .capacity = sizes->name},
                MW_SEGMENT_SECTIONS(PLACE)
#undef PLACE
            },
    };
    header.segment_bytes = PAGE_BYTES;
    for (unsigned i = 0; i < MW_SEGMENT_SECTION_COUNT; i++) {
        struct mw_segment_place *place = &header.sections[i];
        place->offset_bytes = header.segment_bytes;
        header.segment_bytes += up_to_page((uint64_t)place->item_bytes * place->capacity);
    }
    builder->length = header.segment_bytes;
    builder->bytes = aligned_alloc(PAGE_BYTES, builder->length);
    if (!builder->bytes)
        abort();
    memset(builder->bytes, 0, builder->length);
    builder->header = (void *)builder->bytes;
    *builder->header = header;
#define FIND_SECTION(NAME, name, item)                                                                                 \
    builder->name = (void *)(builder->bytes + header.sections[MW_SEGMENT_##NAME].offset_bytes);
    MW_SEGMENT_SECTIONS(FIND_SECTION)
#undef FIND_SECTION
}

void segment_builder_free(struct segment_builder *builder)
{
    free(builder->bytes);
    *builder = (struct segment_builder){0};
}

struct mw_segment_stack *segment_builder_stack_at(const struct segment_builder *builder, uint32_t number)
{
    return (void *)&builder->stacks[number];
}

uint32_t segment_builder_stack(struct segment_builder *builder, unsigned flags, unsigned depth, const uint64_t *frames)
{
    uint32_t number = (uint32_t)builder->header->stacks_used;
    struct mw_segment_stack *stack = segment_builder_stack_at(builder, number);
    uint32_t hash = depth ? (uint32_t)frames[0] : 0;
    uint32_t *bucket = &builder->buckets[hash % builder->header->sections[MW_SEGMENT_BUCKETS].capacity];
    builder->header->stacks_used += MW_SEGMENT_STACK_WORDS(depth);
    if (builder->header->stacks_used > builder->header->sections[MW_SEGMENT_STACKS].capacity)
        abort();
    *stack =
        (struct mw_segment_stack){.next = *bucket, .hash = hash, .depth = (uint16_t)depth, .flags = (uint16_t)flags};
    memcpy(stack->frames, frames, depth * sizeof *frames);
    *bucket = number;
    return number;
}

void segment_builder_sample(struct segment_builder *builder, uint32_t stack, uint64_t bytes, uint64_t objects)
{
    uint64_t index = builder->header->samples_used++;
    struct mw_segment_stack *of = segment_builder_stack_at(builder, stack);
    if (builder->header->samples_used > builder->header->sections[MW_SEGMENT_SAMPLES].capacity)
        abort();
    builder->samples[index] = (struct mw_segment_sample){
        .address = 0x7f0000000000 + index * 4096,
        .bytes = bytes,
        .objects = objects,
        .born_ns = builder->header->started_ns + (index + 1) * SECOND_NS,
        .stack = stack,
    };
    of->allocated_samples++;
    of->allocated_objects += objects;
    of->allocated_bytes += (uint64_t)((double)bytes * (double)objects / (double)MW_SEGMENT_OBJECT);
}

void segment_builder_module(struct segment_builder *builder, uint64_t start, uint64_t end, const char *path)
{
    struct mw_segment_module *module = &builder->modules[builder->header->modules_used++];
    *module = (struct mw_segment_module){.start = start, .end = end, .bias = start, .build_id_bytes = 20};
    memset(module->build_id, 0xb1, module->build_id_bytes);
    strncpy(module->path, path, sizeof module->path - 1);
}

void segment_builder_event(struct segment_builder *builder, uint64_t time_unix_ns, uint32_t kind, uint64_t value)
{
    uint32_t capacity = builder->header->sections[MW_SEGMENT_EVENTS].capacity;
    builder->events[builder->header->events_next++ % capacity] =
        (struct mw_segment_event){.time_unix_ns = time_unix_ns, .kind = kind, .values = {value}};
}

void segment_builder_snapshot(struct segment_builder *builder, uint64_t time_unix_ns,
                              const struct memwatch_stats *stats)
{
    builder->snapshot->sequence += 2;
    builder->snapshot->time_unix_ns = time_unix_ns;
    builder->snapshot->stats = *stats;
}

#define FRAMES(...)                                                                                                    \
    (sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)), (const uint64_t[])                                   \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

struct segment_example segment_builder_example(void)
{
    struct segment_example example;
    struct segment_builder *builder = &example.builder;
    struct memwatch_stats stats = {.RSS = 8 << 20, .HeapSys = 1 << 20, .NumTrim = 2};
    segment_builder_start(builder, &segment_builder_tiny);
    example.a = segment_builder_stack(builder, 0, FRAMES(0x1000, 0x2000));
    example.b = segment_builder_stack(builder, MW_SEGMENT_STACK_MMAP, FRAMES(0x1001, 0x2000, 0x3000));
    example.c = segment_builder_stack(builder, MW_SEGMENT_STACK_TRUNCATED, FRAMES(0x1004));
    segment_builder_sample(builder, example.a, 100, MW_SEGMENT_OBJECT * 5);
    segment_builder_sample(builder, example.b, 4096, MW_SEGMENT_OBJECT);
    segment_builder_module(builder, 0x1000, 0x2000, "/usr/lib/libfirst.so");
    segment_builder_module(builder, 0x2000, 0x9000, "/usr/bin/app");
    segment_builder_event(builder, 1000 * SECOND_NS, MW_SEGMENT_START, 0);
    segment_builder_event(builder, 1002 * SECOND_NS, MW_SEGMENT_SET_LIMIT, 7);
    builder->seconds[0] = (struct mw_segment_row){.time_unix_ns = 1001 * SECOND_NS, .Alloc = 5};
    builder->header->seconds_next = 1;
    builder->minutes[0] = (struct mw_segment_row){.time_unix_ns = 1060 * SECOND_NS, .Alloc = 6};
    builder->header->minutes_next = 1;
    segment_builder_snapshot(builder, 1003 * SECOND_NS, &stats);
    builder->header->slots_used = 2;
    builder->slots[0].counters.allocated[2] = 10; /* blocks of 24 bytes */
    builder->slots[0].counters.samples = 3;
    builder->slots[1].counters.freed[2] = 4;
    builder->slots[1].counters.samples = 1;
    builder->slots[1].counters.allocated_others = (struct mw_others){.count = {[70] = 1}, .bytes = 100000};
    return example;
}

static void write_bytes(int fd, const struct segment_builder *builder, size_t length)
{
    if (fd < 0 || write(fd, builder->bytes, length) != (ssize_t)length)
        abort();
}

int segment_builder_file(const struct segment_builder *builder, size_t length)
{
    int fd = memfd_create("segment", MFD_CLOEXEC);
    write_bytes(fd, builder, length);
    return fd;
}

void segment_builder_write(const struct segment_builder *builder, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    write_bytes(fd, builder, builder->length);
    close(fd);
}
