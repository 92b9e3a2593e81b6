/* SPDX-License-Identifier: MIT
 *
 * Segments made in memory, by the layout of segment.h alone, so that the reading side is judged by another hand than
 * the library's. What is built is whole; tests then break it.
 */
#ifndef MW_SEGMENT_BUILDER_H
#define MW_SEGMENT_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "segment.h"

struct segment_builder {
    uint8_t *bytes;
    size_t length;
    struct mw_segment_header *header; /* at the start of bytes */
#define SEGMENT_BUILDER_MEMBER(NAME, name, item) item *name;
    MW_SEGMENT_SECTIONS(SEGMENT_BUILDER_MEMBER)
#undef SEGMENT_BUILDER_MEMBER
};

/* Items of each section. */
struct segment_builder_sizes {
#define SEGMENT_BUILDER_SIZE(NAME, name, item) uint32_t name;
    MW_SEGMENT_SECTIONS(SEGMENT_BUILDER_SIZE)
#undef SEGMENT_BUILDER_SIZE
};

extern const struct segment_builder_sizes segment_builder_tiny;

/* An empty segment of a running process: pid 1234, started at tick 5678 and second 1000, in PID namespace 4026531836,
 * called "app", of the program /usr/bin/app. It samples every 512 KiB and weighs as glibc does. */
void segment_builder_start(struct segment_builder *builder, const struct segment_builder_sizes *sizes);
void segment_builder_free(struct segment_builder *builder);

/* Publishes a stack of the given frames, also one that is there already. Returns its number. */
uint32_t segment_builder_stack(struct segment_builder *builder, unsigned flags, unsigned depth, const uint64_t *frames);
struct mw_segment_stack *segment_builder_stack_at(const struct segment_builder *builder, uint32_t number);

/* A live block of that stack, counted in it. objects: in parts of 2^-16. */
void segment_builder_sample(struct segment_builder *builder, uint32_t stack, uint64_t bytes, uint64_t objects);

void segment_builder_module(struct segment_builder *builder, uint64_t start, uint64_t end, const char *path);
void segment_builder_event(struct segment_builder *builder, uint64_t time_unix_ns, uint32_t kind, uint64_t value);

/* A snapshot as the monitor leaves it. */
void segment_builder_snapshot(struct segment_builder *builder, uint64_t time_unix_ns,
                              const struct memwatch_stats *stats);

/* Starts a segment and puts something into each of its sections: three stacks, of which the first and the third are in
 * one chain, samples of the first two, two modules, two events, a row of each timeline, a snapshot and two slots. */
struct segment_example {
    struct segment_builder builder;
    uint32_t a;
    uint32_t b;
    uint32_t c;
};
struct segment_example segment_builder_example(void);

/* A file without a name that holds the first `length` bytes. */
int segment_builder_file(const struct segment_builder *builder, size_t length);

/* The same at a path, over what is there. */
void segment_builder_write(const struct segment_builder *builder, const char *path);

#endif
