/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The encoder thread: makes chunks of queued records and writes them to the data socket. The layout and the model are
 * those of docs/FORMATS.md, "Branch log"; src/formats/branch-chunk-encoder.ts writes the same bytes.
 */
#ifndef CHUNK_ENCODER_H
#define CHUNK_ENCODER_H

/* ---- Encoder thread: records to chunks ---------------------------------------------------------------------------- */

static int data_fd = -1;

/* A symbol of the open chunk; the payload model's own. */
struct node { uint32_t followers[SLOTS], hits[SLOTS]; uint8_t used, overflowed, kind; };
struct fields { uint64_t from, to, step, gap; uint32_t kind; };

static struct {
    /* the open chunk */
    uint32_t records, symbols, kinds[KINDS];
    uint64_t first_brctr, last_brctr, first_icount, last_icount;
    int64_t last; /* symbol; -1 */
    uint32_t run, history;
    uint8_t *runs, *coded;
    size_t runs_size, coded_size;
    /* range coder */
    uint64_t low;
    uint32_t range, held_ones;
    int held;
    uint32_t slot_odds[1 << TABLE_BITS], number_odds[1 << TABLE_BITS], free_odds[FREE_SIZE];
    /* symbols by number in the chunk, and how to find one by its fields */
    struct node *nodes;
    struct fields *fields;
    uint32_t *index, index_size;
    /* the chunk's symbol of a queued number, valid where its epoch is the current one */
    struct local { uint32_t epoch, symbol, step, kind; } *local;
    uint32_t local_size, epoch;
    /* the log */
    uint64_t logged;
    uint32_t crc_table[256];
} encoder;

enum { CHUNK_RECORDS_MOST = 1 << CHUNK_BITS };

static uint32_t crc32(const uint8_t *bytes, size_t size, uint32_t before)
{
    uint32_t crc = ~before;
    while (size--)
        crc = crc >> 8 ^ encoder.crc_table[(crc ^ *bytes++) & 0xff];
    return ~crc;
}

static void send_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(fd, at, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            fail(EXIT_STREAM, "cannot write the branch stream: %s", strerror(errno));
        at += sent;
        size -= sent;
    }
}

static void shift_low(void)
{
    if (encoder.low >> 32 || encoder.low < 0xff000000u) {
        uint8_t carry = encoder.low >> 32;
        if (encoder.held >= 0)
            encoder.coded[encoder.coded_size++] = encoder.held + carry;
        for (; encoder.held_ones; encoder.held_ones--)
            encoder.coded[encoder.coded_size++] = 0xff + carry;
        encoder.held = encoder.low >> 24 & 0xff;
    } else {
        encoder.held_ones++;
    }
    encoder.low = (encoder.low & 0xffffff) << 8;
    encoder.range <<= 8;
}

static inline void code_bit(uint32_t *odds, unsigned bit)
{
    uint32_t uses = *odds & 15, p = *odds >> 4;
    uint32_t shift = uses < SETTLED ? 1 + (uses >> 1) : SETTLED_SHIFT;
    uint32_t bound = (encoder.range >> 15) * (p >> 1);
    if (!bit) {
        encoder.range = bound;
        p += (0x10000 - p) >> shift;
    } else {
        encoder.low += bound;
        encoder.range -= bound;
        p -= p >> shift;
    }
    *odds = p << 4 | (uses < SETTLED ? uses + 1 : uses);
    while (encoder.range < LEAST_RANGE)
        shift_low();
}

static void code_even(unsigned bit)
{
    uint32_t bound = encoder.range >> 1;
    if (!bit) {
        encoder.range = bound;
    } else {
        encoder.low += bound;
        encoder.range -= bound;
    }
    while (encoder.range < LEAST_RANGE)
        shift_low();
}

static inline uint32_t *odds_of(uint32_t *table, uint32_t a, uint32_t b)
{
    uint32_t mixed = a * HASH_A + b * HASH_B;
    return &table[(mixed ^ mixed >> 15) * HASH_C >> (32 - TABLE_BITS)];
}

static void code_tree(uint32_t *set, unsigned value, int bits)
{
    uint32_t prefix = 1;
    for (int bit = bits - 1; bit >= 0; bit--) {
        code_bit(&set[prefix], value >> bit & 1);
        prefix = prefix << 1 | (value >> bit & 1);
    }
}

/* An unsigned number: its bit length by a tree, then the bits below the highest one at even odds. */
static void code_number(unsigned set, uint64_t value)
{
    int length = value ? 64 - __builtin_clzll(value) : 0;
    code_tree(encoder.free_odds + set, length, LENGTH_TREE_BITS);
    for (int bit = length - 2; bit >= 0; bit--)
        code_even(value >> bit & 1);
}

static void code_distance(unsigned set, uint64_t value, uint64_t base)
{
    int64_t distance = value - base;
    code_number(set, (uint64_t)distance << 1 ^ (uint64_t)(distance >> 63));
}

static void end_run(void)
{
    uint32_t rest = encoder.run;
    for (; rest > 0x7f; rest >>= 7)
        encoder.runs[encoder.runs_size++] = (rest & 0x7f) | 0x80;
    encoder.runs[encoder.runs_size++] = rest;
    encoder.run = 0;
}

static void fill(uint32_t *table, size_t size)
{
    for (size_t i = 0; i < size; i++)
        table[i] = EVEN_ODDS;
}

static void reset_chunk(void)
{
    encoder.records = encoder.symbols = encoder.run = encoder.history = encoder.held_ones = 0;
    encoder.runs_size = encoder.coded_size = 0;
    encoder.low = 0;
    encoder.range = INITIAL_RANGE;
    encoder.held = encoder.last = -1;
    memset(encoder.kinds, 0, sizeof encoder.kinds);
    fill(encoder.slot_odds, 1 << TABLE_BITS);
    fill(encoder.number_odds, 1 << TABLE_BITS);
    fill(encoder.free_odds, FREE_SIZE);
    memset(encoder.index, 0, encoder.index_size * sizeof *encoder.index);
    encoder.epoch++;
}

static void open_encoder(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++)
            rest = rest >> 1 ^ (rest & 1 ? 0xedb88320u : 0);
        encoder.crc_table[byte] = rest;
    }
    /* For the worst case; the kernel gives memory only where it is touched. */
    encoder.runs = must_have(malloc(5 * CHUNK_RECORDS_MOST + 16));
    encoder.coded = must_have(malloc((size_t)WORST_RECORD_BYTES * CHUNK_RECORDS_MOST + 64));
    encoder.nodes = must_have(malloc(sizeof *encoder.nodes * CHUNK_RECORDS_MOST));
    encoder.fields = must_have(malloc(sizeof *encoder.fields * CHUNK_RECORDS_MOST));
    encoder.index_size = 1 << 14;
    encoder.index = must_have(malloc(encoder.index_size * sizeof *encoder.index));
    reset_chunk();
}

static void put32(uint8_t *header, int at, uint32_t value) { memcpy(header + at, &value, 4); }
static void put64(uint8_t *header, int at, uint64_t value) { memcpy(header + at, &value, 8); }

static void finish_chunk(void)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    if (encoder.records == 0)
        return;
    end_run();
    for (int i = 0; i < 5; i++)
        shift_low();
    put32(header, CHUNK_MAGIC, CHUNK_MAGIC_WORD);
    put32(header, CHUNK_RECORDS, encoder.records);
    put64(header, CHUNK_FIRST_BRCTR, encoder.first_brctr);
    put64(header, CHUNK_LAST_BRCTR, encoder.last_brctr);
    put64(header, CHUNK_FIRST_ICOUNT, encoder.first_icount);
    put64(header, CHUNK_LAST_ICOUNT, encoder.last_icount);
    put32(header, CHUNK_RUNS_BYTES, encoder.runs_size);
    put32(header, CHUNK_CODED_BYTES, encoder.coded_size);
    put32(header, CHUNK_SYMBOLS, encoder.symbols);
    memcpy(header + CHUNK_KINDS, encoder.kinds, sizeof encoder.kinds);
    put32(header, CHUNK_PAYLOAD_CRC,
          crc32(encoder.coded, encoder.coded_size, crc32(encoder.runs, encoder.runs_size, 0)));
    put32(header, HEADER_CRC, crc32(header, HEADER_CRC, 0));
    send_all(data_fd, header, sizeof header);
    send_all(data_fd, encoder.runs, encoder.runs_size);
    send_all(data_fd, encoder.coded, encoder.coded_size);
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
    send_all(data_fd, header, sizeof header);
    encoder.logged = 0;
}

static uint32_t index_slot(const struct fields *fields)
{
    return mix(fields->from * 31 + fields->to * 0x9e3779b97f4a7c15u + fields->step * 0x85ebca6b + fields->gap * 7 +
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

/* The chunk's symbol with these fields; a new one gets the next number. */
static NOINLINE uint32_t find_symbol(const struct fields *wanted)
{
    uint32_t slot = index_slot(wanted);
    for (; encoder.index[slot]; slot = (slot + 1) & (encoder.index_size - 1)) {
        const struct fields *fields = &encoder.fields[encoder.index[slot] - 1];
        if (fields->from == wanted->from && fields->to == wanted->to && fields->step == wanted->step &&
            fields->gap == wanted->gap && fields->kind == wanted->kind)
            return encoder.index[slot] - 1;
    }
    return encoder.symbols;
}

static void define_symbol(const struct fields *fields)
{
    uint32_t symbol = encoder.symbols++;
    uint64_t base = encoder.last < 0 ? 0 : encoder.fields[encoder.last].to;
    encoder.fields[symbol] = *fields;
    encoder.nodes[symbol].used = encoder.nodes[symbol].overflowed = 0;
    encoder.nodes[symbol].kind = fields->kind;
    code_tree(encoder.free_odds + FREE_KIND, fields->kind, KIND_TREE_BITS);
    code_distance(FREE_FROM + 128 * fields->kind, fields->from, base);
    code_distance(FREE_TO + 128 * fields->kind, fields->to, fields->from);
    code_number(FREE_STEP, fields->step);
    code_number(FREE_GAP, fields->gap);
    if (2 * encoder.symbols > encoder.index_size) {
        grow_index();
    } else {
        uint32_t slot = index_slot(fields);
        while (encoder.index[slot])
            slot = (slot + 1) & (encoder.index_size - 1);
        encoder.index[slot] = symbol + 1;
    }
}

/* Confirms or denies each of the node's followers; was one of them right? */
static inline bool try_followers(struct node *node, uint32_t number, uint32_t symbol)
{
    uint32_t history = encoder.history;
    for (unsigned slot = 0; slot < node->used; slot++) {
        bool wrong = node->followers[slot] != symbol;
        code_bit(odds_of(encoder.slot_odds, number * SLOTS + slot, history), wrong);
        if (wrong)
            continue;
        uint32_t hits = ++node->hits[slot];
        encoder.history = (history << 1 | (slot > 0)) & HISTORY_MASK;
        if (slot > 0 && hits > 2 * node->hits[slot - 1] + SWAP_MARGIN) {
            node->followers[slot] = node->followers[slot - 1];
            node->hits[slot] = node->hits[slot - 1];
            node->followers[slot - 1] = symbol;
            node->hits[slot - 1] = hits;
        }
        return true;
    }
    encoder.history = (history << 1 | 1) & HISTORY_MASK;
    return false;
}

/* What no follower foretold: a number, or a definition. */
static NOINLINE void escape(uint32_t symbol, const struct fields *fields)
{
    bool is_new = symbol == encoder.symbols;
    struct node *node = encoder.last < 0 ? NULL : &encoder.nodes[encoder.last];
    if (node)
        code_bit(&encoder.free_odds[node->used == 0       ? FREE_IS_NEW_FRESH
                                    : node->overflowed ? FREE_IS_NEW_OVERFLOWED
                                                       : FREE_IS_NEW_KNOWN],
                 is_new);
    if (is_new) {
        define_symbol(fields);
    } else {
        uint32_t source = node->overflowed ? encoder.last + 1 : 0, prefix = 1;
        int bits = encoder.symbols > 1 ? 32 - __builtin_clz(encoder.symbols - 1) : 0;
        for (int bit = bits - 1; bit >= 0; bit--) {
            code_bit(odds_of(encoder.number_odds, source, prefix), symbol >> bit & 1);
            prefix = prefix << 1 | (symbol >> bit & 1);
        }
    }
    if (!node)
        return;
    unsigned slot = node->used;
    if (slot < SLOTS)
        node->used++;
    else
        slot = SLOTS - 1, node->overflowed = 1;
    node->followers[slot] = symbol;
    node->hits[slot] = 1;
}

static inline void code_symbol(uint32_t symbol, const struct fields *fields)
{
    struct node *node = encoder.last < 0 ? NULL : &encoder.nodes[encoder.last];
    if (node && node->used == 1) {
        if (node->followers[0] == symbol) {
            encoder.run++;
            goto done;
        }
        end_run();
    }
    if (!(node && node->used > 1 && try_followers(node, encoder.last, symbol)))
        escape(symbol, fields);
done:
    encoder.last = symbol;
}

static bool is_selected(const struct edge *edge)
{
    /* The upper half of the address space is the kernel's. */
    return window.selection == ALL || (window.selection == KERNEL ? (edge->from | edge->to) >> 63
                                                                  : !((edge->from & edge->to) >> 63));
}

static void grow_local(uint32_t number)
{
    uint32_t size = encoder.local_size;
    encoder.local_size = (number + 1) * 2;
    encoder.local = must_have(realloc(encoder.local, encoder.local_size * sizeof *encoder.local));
    memset(encoder.local + size, 0, (encoder.local_size - size) * sizeof *encoder.local);
}

/*
 * Codes a record by its fields; false if it is not selected. In a chunk with gaps each record comes here, else
 * only a chunk's first one and the first of each symbol: the queued symbol's fields are then the record's.
 */
static NOINLINE bool encode_slowly(uint32_t number, uint64_t now, uint64_t icount)
{
    const struct symbol *symbol = symbol_at(number);
    const struct edge *edge = symbol->edge;
    struct fields fields = { edge->from, edge->to, 0, 0, edge->kind };
    if (!is_selected(edge))
        return false;
    if (encoder.records == 0) {
        encoder.first_brctr = now;
        encoder.first_icount = icount;
    } else {
        fields.step = icount - encoder.last_icount;
        fields.gap = now - encoder.last_brctr - 1;
    }
    uint32_t found = find_symbol(&fields);
    if (encoder.records > 0 && window.selection == ALL && symbol->step <= UINT32_MAX)
        encoder.local[number] = (struct local){ encoder.epoch, found, symbol->step, edge->kind };
    code_symbol(found, &fields);
    return true;
}

static void encode_batch(const struct batch *batch)
{
    uint64_t now = batch->first_brctr, icount = batch->icount_before;
    if (encoder_forgets) {
        encoder_forgets = false;
        encoder.epoch++;
    }
    if (encoder.records && (encoder.first_brctr ^ now) >> CHUNK_BITS)
        finish_chunk();
    const struct local *local;
    uint32_t kinds[2][KINDS] = { 0 }; /* two, for one would be added to before its last sum is there */
    for (uint32_t i = 0; i < batch->length; i++, now++) {
        uint32_t number = batch->symbols[i];
        if (unlikely(number >= encoder.local_size))
            grow_local(number);
        local = &encoder.local[number];
        if (unlikely(local->epoch != encoder.epoch || encoder.records == 0)) {
            icount += symbol_at(number)->step;
            if (!encode_slowly(number, now, icount))
                continue;
            kinds[0][symbol_at(number)->edge->kind]++;
        } else {
            icount += local->step;
            kinds[i & 1][local->kind]++;
            code_symbol(local->symbol, NULL);
        }
        encoder.records++;
        encoder.last_brctr = now;
        encoder.last_icount = icount;
    }
    for (int kind = 0; kind < KINDS; kind++)
        encoder.kinds[kind] += kinds[0][kind] + kinds[1][kind];
    if (batch->then != RECORDS)
        finish_chunk();
    if (batch->then == FINISH)
        send_end(batch);
}

static void *encode(void *unused UNUSED)
{
    open_encoder();
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (queue.filled == queue.emptied)
            pthread_cond_wait(&queue.changed, &queue.lock);
        const struct batch *batch = queue.batches[queue.emptied % BATCHES];
        pthread_mutex_unlock(&queue.lock);
        encode_batch(batch);
        pthread_mutex_lock(&queue.lock);
        queue.emptied++;
        pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
    }
    return NULL;
}

#endif
