/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Making chunks of records.
 */
#include "chunk-encoder.h"
#include "../common/fail.h"
#include "../common/lines.h"
#include "block.h"
#include "chunk-coder.h"
#include "crc32.h"
#include "queue.h"

int data_fd = -1;

/* Counts of records of up to 16 kinds, which are added in one operation. */
typedef uint8_t kind_counts __attribute__((vector_size(16)));
enum { MOST_ADDED = 255 };

static struct {
    /* the open chunk: its symbols in the order of its records */
    uint32_t *walk, records, kinds[16];
    uint64_t first_brctr, last_brctr, first_icount, last_icount;
    /* the chunk's symbols, the index to find one by its fields, and what each adds to the counts */
    struct fields *fields;
    uint64_t *steps;
    kind_counts *units;
    uint32_t symbols, *index, index_size;
    /* by a queued number: the chunk's symbol, or NO_SYMBOL; the numbers that have one */
    uint32_t *local, local_size, *named, named_count;
    /* the log */
    uint64_t logged;
} encoder;

static void reset_chunk(void)
{
    encoder.records = encoder.symbols = 0;
    memset(encoder.kinds, 0, sizeof encoder.kinds);
    memset(encoder.index, 0, encoder.index_size * sizeof *encoder.index);
    while (encoder.named_count > 0)
        encoder.local[encoder.named[--encoder.named_count]] = NO_SYMBOL;
}

static void open_encoder(void)
{
    make_crc_tables();
    open_coder();
    encoder.walk = must_have(malloc(sizeof *encoder.walk * CHUNK_RECORDS_MOST));
    encoder.fields = must_have(malloc(sizeof *encoder.fields * CHUNK_RECORDS_MOST));
    encoder.steps = must_have(malloc(sizeof *encoder.steps * CHUNK_RECORDS_MOST));
    encoder.units = must_have(malloc(sizeof *encoder.units * CHUNK_RECORDS_MOST));
    encoder.named = must_have(malloc(sizeof *encoder.named * CHUNK_RECORDS_MOST));
    encoder.index_size = 1 << 14;
    encoder.index = must_have(malloc(encoder.index_size * sizeof *encoder.index));
    reset_chunk();
}

static void send_all(const void *bytes, size_t size)
{
    if (!send_bytes(data_fd, bytes, size))
        fail(EXIT_STREAM, "cannot write the branch stream: %s", strerror(errno));
}

static void put32(uint8_t *header, int at, uint32_t value) { memcpy(header + at, &value, 4); }
static void put64(uint8_t *header, int at, uint64_t value) { memcpy(header + at, &value, 8); }

static void finish_chunk(void)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    if (encoder.records == 0)
        return;
    struct payload payload = code_walk(encoder.walk, encoder.records, encoder.fields);
    put32(header, CHUNK_MAGIC, CHUNK_MAGIC_WORD);
    put32(header, CHUNK_RECORDS, encoder.records);
    put64(header, CHUNK_FIRST_BRCTR, encoder.first_brctr);
    put64(header, CHUNK_LAST_BRCTR, encoder.last_brctr);
    put64(header, CHUNK_FIRST_ICOUNT, encoder.first_icount);
    put64(header, CHUNK_LAST_ICOUNT, encoder.last_icount);
    put32(header, CHUNK_EVENTS_BYTES, payload.events_size);
    put32(header, CHUNK_BLOCKS_BYTES, payload.blocks_size);
    put32(header, CHUNK_SYMBOLS, encoder.symbols);
    memcpy(header + CHUNK_KINDS, encoder.kinds, KINDS * sizeof *encoder.kinds);
    put32(header, CHUNK_PAYLOAD_CRC, crc32(payload.blocks, payload.blocks_size, crc32(payload.events, payload.events_size, 0)));
    put32(header, HEADER_CRC, crc32(header, HEADER_CRC, 0));
    send_all(header, sizeof header);
    send_all(payload.events, payload.events_size);
    send_all(payload.blocks, payload.blocks_size);
    encoder.logged += encoder.records;
    reset_chunk();
}

static void send_end(const struct batch *batch)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    put32(header, END_MAGIC, END_MAGIC_WORD);
    put32(header, END_REASON, batch->reason);
    put64(header, END_BRCTR, batch->end_brctr);
    put64(header, END_ICOUNT, batch->end_icount);
    put64(header, END_RECORDS, encoder.logged);
    put64(header, END_UNEXPLAINED, batch->unexplained);
    put32(header, HEADER_CRC, crc32(header, HEADER_CRC, 0));
    send_all(header, sizeof header);
    encoder.logged = 0;
}

static uint32_t index_slot(const struct fields *fields)
{
    return (uint32_t)mix(fields->from * 31 + fields->to * 0x9e3779b97f4a7c15u + fields->step * 0x85ebca6b + fields->gap * 7 +
               fields->kind) & (encoder.index_size - 1);
}

static void grow_index(void)
{
    free(encoder.index);
    encoder.index_size *= 2;
    encoder.index = must_have(calloc(encoder.index_size, sizeof *encoder.index));
    for (uint32_t symbol = 0; symbol < encoder.symbols; symbol++) {
        uint32_t slot = index_slot(&encoder.fields[symbol]);
        while (encoder.index[slot])
            slot = (slot + 1) & (encoder.index_size - 1);
        encoder.index[slot] = symbol + 1;
    }
}

/* The chunk's symbol with these fields. When there is none, it is added with the next number. */
static NOINLINE uint32_t find_symbol(const struct fields *wanted)
{
    uint32_t slot = index_slot(wanted);
    for (; encoder.index[slot]; slot = (slot + 1) & (encoder.index_size - 1)) {
        const struct fields *fields = &encoder.fields[encoder.index[slot] - 1];
        if (fields->from == wanted->from && fields->to == wanted->to && fields->step == wanted->step &&
            fields->gap == wanted->gap && fields->kind == wanted->kind)
            return encoder.index[slot] - 1;
    }
    uint32_t symbol = encoder.symbols++;
    encoder.index[slot] = symbol + 1;
    encoder.fields[symbol] = *wanted;
    encoder.steps[symbol] = wanted->step;
    encoder.units[symbol] = (kind_counts){ 0 };
    encoder.units[symbol][wanted->kind] = 1;
    if (2 * encoder.symbols > encoder.index_size)
        grow_index();
    return symbol;
}

static bool is_selected(const struct edge *edge, enum selection selection)
{
    /* The upper half of the address space is the kernel's. */
    return selection == ALL || (selection == KERNEL ? (edge->from | edge->to) >> 63 : !((edge->from & edge->to) >> 63));
}

/* Must be called before each batch: makes room for all numbers that it may contain. */
static void grow_local(void)
{
    uint32_t numbers = __atomic_load_n(&symbol_count, __ATOMIC_RELAXED), size = encoder.local_size;
    if (numbers <= size)
        return;
    encoder.local_size = numbers * 2;
    encoder.local = must_have(realloc(encoder.local, encoder.local_size * sizeof *encoder.local));
    memset(encoder.local + size, NO_SYMBOL, (encoder.local_size - size) * sizeof *encoder.local);
}

/*
 * Adds a record by its fields, if it is selected. In a log with gaps all records are added by this. Otherwise only
 * the first record of a chunk and the first of each number are; all others have the fields of their queued symbol.
 */
static NOINLINE void add_slowly(uint32_t number, uint64_t now, uint64_t icount, enum selection selection)
{
    const struct edge *edge = symbol_at(number)->edge;
    struct fields fields = { edge->from, edge->to, 0, 0, edge->kind };
    if (!is_selected(edge, selection))
        return;
    if (encoder.records == 0) {
        encoder.first_brctr = now;
        encoder.first_icount = icount;
    } else {
        fields.step = icount - encoder.last_icount;
        fields.gap = now - encoder.last_brctr - 1;
    }
    uint32_t symbol = find_symbol(&fields);
    if (encoder.records > 0 && selection == ALL) {
        encoder.local[number] = symbol;
        encoder.named[encoder.named_count++] = number;
    }
    encoder.walk[encoder.records++] = symbol;
    encoder.kinds[edge->kind]++;
    encoder.last_brctr = now;
    encoder.last_icount = icount;
}

/* Adds records up to the first whose number has no symbol yet. Returns how many. */
static uint32_t add_known(const uint32_t *numbers, uint32_t count)
{
    /* copies, which no store to the walk can change */
    uint32_t *walk = encoder.walk + encoder.records, i = 0;
    const uint32_t *local = encoder.local;
    const uint64_t *steps = encoder.steps;
    const kind_counts *units = encoder.units;
    uint64_t icount = encoder.last_icount;
    for (bool known = true; known && i < count;) {
        uint32_t stop = count - i < MOST_ADDED ? count : i + MOST_ADDED;
        kind_counts counts = { 0 };
#pragma GCC unroll 4
        for (; i < stop; i++) {
            uint32_t symbol = local[numbers[i]];
            if (unlikely(symbol == (uint32_t)NO_SYMBOL)) {
                known = false;
                break;
            }
            walk[i] = symbol;
            counts += units[symbol];
            icount += steps[symbol];
        }
        for (int kind = 0; kind < KINDS; kind++)
            encoder.kinds[kind] += counts[kind];
    }
    encoder.records += i;
    encoder.last_brctr += i;
    encoder.last_icount = icount;
    return i;
}

static void encode_batch(const struct batch *batch)
{
    uint64_t icount = batch->icount_before;
    if (encoder_forgets) {
        encoder_forgets = false;
        while (encoder.named_count > 0)
            encoder.local[encoder.named[--encoder.named_count]] = NO_SYMBOL;
    }
    grow_local();
    if (encoder.records && (encoder.first_brctr ^ batch->first_brctr) >> CHUNK_BITS)
        finish_chunk();
    for (uint32_t i = 0; i < batch->length; i++) {
        if (batch->selection == ALL && encoder.records > 0) {
            i += add_known(batch->symbols + i, batch->length - i);
            icount = encoder.last_icount;
            if (i == batch->length)
                break;
        }
        icount += symbol_at(batch->symbols[i])->step;
        add_slowly(batch->symbols[i], batch->first_brctr + i, icount, batch->selection);
    }
    if (batch->then != RECORDS)
        finish_chunk();
    if (batch->then == FINISH)
        send_end(batch);
}

void *encode(void *unused UNUSED)
{
    open_encoder();
    for (;;) {
        encode_batch(queue_take());
        queue_done();
    }
}
