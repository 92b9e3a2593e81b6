/* SPDX-License-Identifier: MIT */
#include "cfi.h"

#include <stddef.h>
#include <string.h>

/* x86-64 psABI, figure 3.36: DWARF register numbers. */
#define REGISTER_FP 6
#define REGISTER_SP 7
#define REGISTER_RA 16

#define REMEMBERED_STATES 8

/* ---- reading ---- */

/* What is left to be read; a read beyond the end yields 0 and leaves nothing. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool is_short;
};

static bool take(struct reader *reader, void *out, size_t bytes)
{
    if ((size_t)(reader->end - reader->at) < bytes) {
        memset(out, 0, bytes);
        reader->at = reader->end;
        reader->is_short = true;
        return false;
    }
    memcpy(out, reader->at, bytes);
    reader->at += bytes;
    return true;
}

static uint64_t take_unsigned(struct reader *reader, size_t bytes)
{
    uint64_t value = 0;
    take(reader, &value, bytes); /* the lowest byte comes first */
    return value;
}

/* LEB128; *sign_bits: what a sign would fill. */
static uint64_t take_leb(struct reader *reader, uint64_t *sign_bits)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = (uint8_t)take_unsigned(reader, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    *sign_bits = shift < 64 && (byte & 0x40) ? ~UINT64_C(0) << shift : 0;
    return value;
}

static uint64_t take_uleb(struct reader *reader)
{
    uint64_t ignored;
    return take_leb(reader, &ignored);
}

static int64_t take_sleb(struct reader *reader)
{
    uint64_t sign_bits;
    uint64_t value = take_leb(reader, &sign_bits);
    return (int64_t)(value | sign_bits);
}

static void skip(struct reader *reader, uint64_t bytes)
{
    if ((uint64_t)(reader->end - reader->at) < bytes)
        reader->is_short = true;
    reader->at = reader->is_short ? reader->end : reader->at + bytes;
}

/* A pointer of an encoding (LSB Core, "DWARF Exception Header Encoding"); only those that linkers write. */
static bool take_pointer(struct reader *reader, uint8_t encoding, uintptr_t *out)
{
    uintptr_t base = (encoding & 0x70) == 0x10 ? (uintptr_t)reader->at : 0;
    if ((encoding & 0x70) != 0x10 && (encoding & 0x70) != 0)
        return false;
    switch (encoding & 0x0f) {
    case 0x00: /* absptr */
    case 0x04: /* udata8 */
    case 0x0c: /* sdata8 */
        *out = base + take_unsigned(reader, 8);
        return !(encoding & 0x80);
    case 0x03: /* udata4 */
        *out = base + take_unsigned(reader, 4);
        return !(encoding & 0x80);
    case 0x0b: /* sdata4 */
        *out = base + (uintptr_t)(intptr_t)(int32_t)take_unsigned(reader, 4);
        return !(encoding & 0x80);
    default:
        return false;
    }
}

/* ---- the tables ---- */

struct bounds {
    uintptr_t start;
    uintptr_t end;
};

static struct reader reader_at(struct bounds bounds, uintptr_t address)
{
    // NOLINTBEGIN(performance-no-int-to-ptr)
    const uint8_t *end = (const uint8_t *)bounds.end;
    bool is_inside = address >= bounds.start && address < bounds.end;
    return (struct reader){.at = is_inside ? (const uint8_t *)address : end, .end = end};
    // NOLINTEND(performance-no-int-to-ptr)
}

/* .eh_frame_hdr: a sorted table of functions, each with its description (FDE), as distances from the header. */
struct search_table {
    uintptr_t header;
    const uint8_t *entries;
    uint64_t count;
};

struct search_entry {
    int32_t function;
    int32_t description;
};

static bool open_table(const void *header, struct bounds bounds, struct search_table *table)
{
    struct reader reader = reader_at(bounds, (uintptr_t)header);
    uintptr_t ignored;
    uintptr_t count;
    uint8_t version = (uint8_t)take_unsigned(&reader, 1);
    uint8_t frame_encoding = (uint8_t)take_unsigned(&reader, 1);
    uint8_t count_encoding = (uint8_t)take_unsigned(&reader, 1);
    uint8_t table_encoding = (uint8_t)take_unsigned(&reader, 1);
    if (version != 1 || table_encoding != 0x3b || !take_pointer(&reader, frame_encoding, &ignored) ||
        !take_pointer(&reader, count_encoding, &count))
        return false;
    *table = (struct search_table){.header = (uintptr_t)header, .entries = reader.at, .count = count};
    return !reader.is_short && count <= (size_t)(reader.end - reader.at) / sizeof(struct search_entry);
}

static struct search_entry entry_at(const struct search_table *table, uint64_t index)
{
    struct search_entry entry;
    memcpy(&entry, table->entries + index * sizeof entry, sizeof entry);
    return entry;
}

/* The description of the last function that begins at or before the address. */
static uintptr_t search(const struct search_table *table, uintptr_t address)
{
    uint64_t low = 0;
    uint64_t high = table->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (table->header + (uintptr_t)(intptr_t)entry_at(table, middle).function <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? table->header + (uintptr_t)(intptr_t)entry_at(table, low - 1).description : 0;
}

/* What descriptions have in common (CIE), and one of them (FDE). */
struct common {
    uint64_t code_step;
    int64_t data_step;
    uint64_t return_register;
    uint8_t pointer_encoding;
    bool has_augmentation_data;
    bool is_signal;
    struct reader program;
};

/* Length and id word of a CIE or FDE. The reader then ends where it ends. */
static bool open_entry(struct reader *reader, uint32_t *id, uintptr_t *id_at)
{
    uint32_t length = (uint32_t)take_unsigned(reader, 4);
    if (!length || length == UINT32_MAX || length > (size_t)(reader->end - reader->at))
        return false;
    reader->end = reader->at + length;
    *id_at = (uintptr_t)reader->at;
    *id = (uint32_t)take_unsigned(reader, 4);
    return !reader->is_short;
}

static bool take_augmentation(struct common *common, struct reader *reader, const char *letters)
{
    uintptr_t ignored;
    if (!*letters)
        return true;
    if (*letters++ != 'z')
        return false;
    common->has_augmentation_data = true;
    uint64_t bytes = take_uleb(reader);
    struct reader data = *reader;
    skip(reader, bytes);
    for (; *letters; letters++) {
        if (*letters == 'R')
            common->pointer_encoding = (uint8_t)take_unsigned(&data, 1);
        else if (*letters == 'L')
            take_unsigned(&data, 1);
        else if (*letters == 'S')
            common->is_signal = true;
        else if (*letters != 'P' || !take_pointer(&data, (uint8_t)take_unsigned(&data, 1) & 0x7f, &ignored))
            return false;
    }
    return !data.is_short;
}

static bool open_common(struct reader reader, struct common *common)
{
    uint32_t id;
    uintptr_t id_at;
    *common = (struct common){0};
    if (!open_entry(&reader, &id, &id_at) || id != 0)
        return false;
    uint64_t version = take_unsigned(&reader, 1);
    const char *letters = (const char *)reader.at;
    const uint8_t *letters_end = memchr(reader.at, 0, (size_t)(reader.end - reader.at));
    if ((version != 1 && version != 3) || !letters_end)
        return false;
    reader.at = letters_end + 1;
    common->code_step = take_uleb(&reader);
    common->data_step = take_sleb(&reader);
    common->return_register = version == 1 ? take_unsigned(&reader, 1) : take_uleb(&reader);
    if (!take_augmentation(common, &reader, letters))
        return false;
    common->program = reader;
    return !reader.is_short;
}

/* ---- the programs ---- */

/* How a register of the caller is found. */
struct place {
    enum { KEPT, AT_CFA, UNDEFINED, OTHERWISE } kind;
    int64_t offset;
};

struct state {
    enum { CFA_UNKNOWN, CFA_REGISTER, CFA_AT_FP } cfa;
    uint64_t cfa_register;
    int64_t cfa_offset;
    struct place fp;
    struct place ra;
};

struct machine {
    const struct common *common;
    struct state now;
    struct state initial;
    struct state kept[REMEMBERED_STATES];
    unsigned kept_count;
    uintptr_t location;
    bool is_unknown; /* something that is not understood */
};

static void place(struct machine *machine, uint64_t number, struct place place)
{
    if (number == REGISTER_FP)
        machine->now.fp = place;
    else if (number == REGISTER_RA)
        machine->now.ra = place;
}

/* Only one expression is understood: the word at a distance from the frame pointer. */
static void set_cfa_expression(struct machine *machine, struct reader *reader)
{
    uint64_t bytes = take_uleb(reader);
    struct reader expression = *reader;
    skip(reader, bytes);
    if (reader->is_short)
        return;
    expression.end = expression.at + bytes;
    machine->now.cfa = CFA_UNKNOWN;
    if (take_unsigned(&expression, 1) != 0x70 + REGISTER_FP) /* DW_OP_breg6 */
        return;
    int64_t offset = take_sleb(&expression);
    if (take_unsigned(&expression, 1) == 0x06 && expression.at == expression.end) { /* DW_OP_deref */
        machine->now.cfa = CFA_AT_FP;
        machine->now.cfa_offset = offset;
    }
}

static void restore(struct machine *machine, uint64_t number)
{
    place(machine, number, number == REGISTER_FP ? machine->initial.fp : machine->initial.ra);
}

static void set_cfa(struct machine *machine, uint64_t number, int64_t offset)
{
    machine->now.cfa = CFA_REGISTER;
    machine->now.cfa_register = number;
    machine->now.cfa_offset = offset;
}

/* The instructions of DWARF 4, section 7.23, that have no operand in the first byte. */
static void run_extended(struct machine *machine, struct reader *reader, uint8_t code)
{
    int64_t data_step = machine->common->data_step;
    uint64_t number;
    switch (code) {
    case 0x00: /* nop */
        return;
    case 0x01: /* set_loc */
        if (!take_pointer(reader, machine->common->pointer_encoding, &machine->location))
            machine->is_unknown = true;
        return;
    case 0x02: /* advance_loc1 */
    case 0x03: /* advance_loc2 */
    case 0x04: /* advance_loc4 */
        machine->location += take_unsigned(reader, (size_t)1 << (code - 2)) * machine->common->code_step;
        return;
    case 0x05: /* offset_extended */
        number = take_uleb(reader);
        place(machine, number, (struct place){AT_CFA, (int64_t)take_uleb(reader) * data_step});
        return;
    case 0x06: /* restore_extended */
        restore(machine, take_uleb(reader));
        return;
    case 0x07: /* undefined */
        place(machine, take_uleb(reader), (struct place){.kind = UNDEFINED});
        return;
    case 0x08: /* same_value */
        place(machine, take_uleb(reader), (struct place){.kind = KEPT});
        return;
    case 0x09: /* register */
        number = take_uleb(reader);
        take_uleb(reader);
        place(machine, number, (struct place){.kind = OTHERWISE});
        return;
    case 0x0a: /* remember_state */
        if (machine->kept_count < REMEMBERED_STATES)
            machine->kept[machine->kept_count++] = machine->now;
        else
            machine->is_unknown = true;
        return;
    case 0x0b: /* restore_state */
        if (machine->kept_count)
            machine->now = machine->kept[--machine->kept_count];
        else
            machine->is_unknown = true;
        return;
    case 0x0c: /* def_cfa */
        number = take_uleb(reader);
        set_cfa(machine, number, (int64_t)take_uleb(reader));
        return;
    case 0x0d: /* def_cfa_register */
        machine->now.cfa_register = take_uleb(reader);
        return;
    case 0x0e: /* def_cfa_offset */
        machine->now.cfa_offset = (int64_t)take_uleb(reader);
        return;
    case 0x0f: /* def_cfa_expression */
        set_cfa_expression(machine, reader);
        return;
    case 0x10: /* expression */
    case 0x16: /* val_expression */
        number = take_uleb(reader);
        skip(reader, take_uleb(reader));
        place(machine, number, (struct place){.kind = OTHERWISE});
        return;
    case 0x11: /* offset_extended_sf */
        number = take_uleb(reader);
        place(machine, number, (struct place){AT_CFA, take_sleb(reader) * data_step});
        return;
    case 0x12: /* def_cfa_sf */
        number = take_uleb(reader);
        set_cfa(machine, number, take_sleb(reader) * data_step);
        return;
    case 0x13: /* def_cfa_offset_sf */
        machine->now.cfa_offset = take_sleb(reader) * data_step;
        return;
    case 0x2e: /* GNU_args_size */
        take_uleb(reader);
        return;
    default:
        machine->is_unknown = true;
    }
}

/* Runs until the row that the address lies in is complete. */
static void run(struct machine *machine, struct reader reader, uintptr_t address)
{
    while (reader.at < reader.end && !reader.is_short && !machine->is_unknown && machine->location <= address) {
        uint8_t code = (uint8_t)take_unsigned(&reader, 1);
        uint8_t operand = code & 0x3f;
        switch (code >> 6) {
        case 1: /* advance_loc */
            machine->location += operand * machine->common->code_step;
            break;
        case 2: /* offset */
            place(machine, operand, (struct place){AT_CFA, (int64_t)take_uleb(&reader) * machine->common->data_step});
            break;
        case 3: /* restore */
            restore(machine, operand);
            break;
        default:
            run_extended(machine, &reader, code);
        }
    }
    machine->is_unknown |= reader.is_short;
}

static bool fits(int64_t value)
{
    return value >= -(1 << 27) && value < 1 << 27;
}

static struct mw_cfi_rule conclude(const struct machine *machine)
{
    const struct state *state = &machine->now;
    struct mw_cfi_rule rule = {.kind = MW_CFI_NONE};
    if (machine->is_unknown)
        return rule;
    if (state->ra.kind == UNDEFINED)
        return (struct mw_cfi_rule){.kind = MW_CFI_END};
    if (state->ra.kind != AT_CFA || state->ra.offset != -8 || !fits(state->cfa_offset) || !fits(state->fp.offset))
        return rule;
    rule.cfa_offset = (int32_t)state->cfa_offset;
    rule.saves_fp = state->fp.kind == AT_CFA;
    rule.fp_offset = (int32_t)state->fp.offset;
    if (state->cfa == CFA_AT_FP)
        rule.kind = MW_CFI_AT_FP;
    else if (state->cfa == CFA_REGISTER && state->cfa_register == REGISTER_SP)
        rule.kind = MW_CFI_FROM_SP;
    else if (state->cfa == CFA_REGISTER && state->cfa_register == REGISTER_FP)
        rule.kind = MW_CFI_FROM_FP;
    return rule;
}

struct mw_cfi_rule mw_cfi_find(const void *header, uintptr_t start, uintptr_t end, uintptr_t address)
{
    const struct mw_cfi_rule none = {.kind = MW_CFI_NONE};
    struct bounds bounds = {start, end};
    struct search_table table;
    struct common common;
    uint32_t back;
    uintptr_t back_from;
    uintptr_t function;
    uintptr_t length;
    if (!start || start >= end || !open_table(header, bounds, &table))
        return none;
    struct reader description = reader_at(bounds, search(&table, address));
    if (!open_entry(&description, &back, &back_from) || back == 0 ||
        !open_common(reader_at(bounds, back_from - back), &common) ||
        !take_pointer(&description, common.pointer_encoding, &function) ||
        !take_pointer(&description, common.pointer_encoding & 0x0f, &length) || address - function >= length ||
        common.return_register != REGISTER_RA)
        return none;
    if (common.is_signal)
        return (struct mw_cfi_rule){.kind = MW_CFI_SIGNAL};
    if (common.has_augmentation_data)
        skip(&description, take_uleb(&description));
    struct machine machine = {.common = &common, .location = function};
    machine.now.ra.kind = OTHERWISE;
    run(&machine, common.program, UINTPTR_MAX);
    machine.initial = machine.now;
    machine.location = function;
    run(&machine, description, address);
    return conclude(&machine);
}

/* ---- one word ---- */

uint64_t mw_cfi_pack(struct mw_cfi_rule rule)
{
    return (uint64_t)rule.kind << 60 | (uint64_t)rule.saves_fp << 59 |
           ((uint64_t)(uint32_t)rule.cfa_offset & 0xfffffff) << 28 | ((uint64_t)(uint32_t)rule.fp_offset & 0xfffffff);
}
