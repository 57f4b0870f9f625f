/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Coding walks. The processor cannot predict most walks, so coding a record has no jump that depends on the walk. It
 * takes about 2 ns, and a fifth of that within a repeat.
 */
#include "chunk-coder.h"
#include "../common/fail.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The two questions about a symbol: is it in the first slot (turn), and if not, in which other one (choice)? */
enum { TURN, CHOICE, QUESTIONS };

/* Free slots have NO_SYMBOL. `open`: the answers of the open block below a leading 1. */
struct node {
    uint32_t followers[SLOTS];
    uint64_t open[QUESTIONS], turns; /* all ones after the first turn */
    uint32_t block[QUESTIONS];
    uint8_t used;
} __attribute__((aligned(64)));

static struct {
    struct node *nodes; /* symbol s has node s + 1; node 0 is that before the first record */
    uint64_t *blocks;
    uint8_t *block_classes;
    uint32_t block_count, symbols, repeats[1 << REPEAT_TABLE_BITS];
    struct bits events, coded_blocks;
    uint8_t class_of[ANSWERS + 1];
    struct { uint16_t code; uint8_t length; } codes[CLASSES][256];
    /* by the number of used slots and which of them was right: the answers, and the bits of the choice */
    struct answers { uint8_t turn, choice, choice_bits, unused; } answers[(SLOTS + 1) << SLOTS];
} coder;

/* ---- Blocks of answers --------------------------------------------------------------------------------------------- */

static void make_codes(void)
{
    /* By class: the most ones that the block before may have, and the length of a byte's code by its number of
     * ones. Class 0 is coded as class 1. */
    static const uint8_t most[CLASSES] = { 0, 5, 9, 14, 21, 32 };
    static const uint8_t lengths[CLASSES][9] = {
        { 1, 5, 8, 10, 11, 11, 11, 11, 11 }, { 1, 5, 8, 10, 11, 11, 11, 11, 11 }, { 2, 4, 8, 10, 11, 11, 11, 11, 11 },
        { 3, 4, 7, 9, 12, 12, 12, 12, 12 }, { 3, 5, 7, 8, 9, 11, 11, 11, 11 }, { 5, 7, 7, 8, 8, 9, 9, 9, 9 },
    };
    for (uint32_t ones = 0; ones <= ANSWERS; ones++) {
        uint32_t class = 0;
        while (most[class] < (ones > ANSWERS / 2 ? ANSWERS - ones : ones))
            class++;
        coder.class_of[ones] = (uint8_t)(class + (ones > ANSWERS / 2 ? CLASSES : 0));
    }
    for (int class = 0; class < CLASSES; class++) {
        uint32_t next = 0;
        for (int length = 1; length <= LONGEST_CODE; length++, next <<= 1)
            for (int byte = 0; byte < 256; byte++) {
                if (lengths[class][__builtin_popcount(byte)] != length)
                    continue;
                uint32_t code = 0; /* its highest bit goes first */
                for (int bit = 0; bit < length; bit++)
                    code |= (next >> bit & 1) << (length - 1 - bit);
                coder.codes[class][byte].code = (uint16_t)code;
                coder.codes[class][byte].length = (uint8_t)length;
                next++;
            }
    }
}

static void open_block(struct node *node, int question, uint8_t class)
{
    node->open[question] = 1;
    node->block[question] = coder.block_count;
    coder.block_classes[coder.block_count++] = class;
}

/* Puts a block's answers into their place. The first answer is the highest bit. */
static uint64_t close_block(struct node *node, int question)
{
    uint64_t open = node->open[question];
    int empty = __builtin_clzll(open);
    return coder.blocks[node->block[question]] = open << empty << 1;
}

static NOINLINE void next_blocks(struct node *node)
{
    for (int question = TURN; question < QUESTIONS; question++)
        if (node->open[question] >> ANSWERS_FULL)
            open_block(node, question, coder.class_of[__builtin_popcountll(close_block(node, question))]);
}

static NOINLINE void code_blocks(void)
{
    struct bits bits = coder.coded_blocks;
    for (uint32_t i = 0; i < coder.block_count; i++) {
        uint64_t block = coder.blocks[i];
        uint32_t class = coder.block_classes[i];
        if (class >= CLASSES) {
            block = ~block;
            class -= CLASSES;
        }
        if (class == 0) {
            put_bits(&bits, block != 0, 1);
            if (block == 0)
                continue;
        }
        for (int pair = 0; pair < 4; pair++, block <<= 16) {
            uint32_t first = (uint32_t)(block >> 56), second = block >> 48 & 0xff, length = coder.codes[class][first].length;
            put_bits(&bits, coder.codes[class][first].code | (uint32_t)coder.codes[class][second].code << length,
                     length + coder.codes[class][second].length);
        }
    }
    coder.coded_blocks = bits;
}

/* ---- Events ------------------------------------------------------------------------------------------------------- */

static void put_definition(const struct fields *fields, uint64_t base)
{
    struct bits *bits = &coder.events;
    switch (fields->kind) {
    case CONDITIONAL: put_bits(bits, 0, 2); break;
    case CALL: put_bits(bits, 1, 2); break;
    case RETURN: put_bits(bits, 2, 2); break;
    case JUMP: put_bits(bits, 3, 3); break;
    default: put_bits(bits, 7 | fields->kind << 3, 7);
    }
    put_number(bits, fields->from - base, FROM_BITS);
    int64_t distance = fields->to - fields->from;
    uint64_t folded = (uint64_t)distance << 1 ^ (uint64_t)(distance >> 63);
    uint32_t length = length_of(folded);
    put_bits(bits, length < TO_LONG ? length : TO_LONG, TO_LENGTH_BITS);
    if (length >= TO_LONG)
        put_bits(bits, length, LONG_LENGTH_BITS);
    put_below(bits, folded, length);
    put_number(bits, fields->step, STEP_BITS);
    put_number(bits, fields->gap, GAP_BITS);
}

static NOINLINE void put_new_follower(struct node *node, uint32_t records, uint32_t symbol, const struct fields *fields)
{
    struct bits *bits = &coder.events;
    put_number(bits, records, EVENT_BITS);
    if (symbol < coder.symbols) {
        put_bits(bits, 0, 1);
        put_bits(bits, symbol, length_of(coder.symbols - 1));
    } else {
        put_bits(bits, 1, 2);
        put_definition(&fields[symbol], node == coder.nodes ? 0 : fields[node - coder.nodes - 1].to);
        struct node *defined = &coder.nodes[++coder.symbols];
        memset(defined, 0, sizeof *defined);
        memset(defined->followers, NO_SYMBOL, sizeof defined->followers);
        defined->open[TURN] = defined->open[CHOICE] = 1;
    }
    if (node->used == SLOTS) {
        node->followers[SLOTS - 1] = symbol;
        return;
    }
    node->followers[node->used++] = symbol;
    if (node->used == 2) {
        node->turns = UINT64_MAX;
        open_block(node, TURN, 0);
    } else if (node->used == 3) {
        open_block(node, CHOICE, 0);
    }
}

static void put_repeat(uint32_t records, uint32_t distance, uint32_t length)
{
    struct bits *bits = &coder.events;
    put_number(bits, records, EVENT_BITS);
    put_bits(bits, 3, 2);
    put_number(bits, distance - 1, REPEAT_DISTANCE_BITS);
    put_number(bits, length - REPEAT_LEAST, REPEAT_LENGTH_BITS);
}

/* ---- The walk ----------------------------------------------------------------------------------------------------- */

/* A mask whose bit i tells whether slot i has the symbol. At most one has. */
static inline unsigned slots_with(const uint32_t *followers, uint32_t symbol)
{
#ifdef __SSE2__
    __m128i equal = _mm_cmpeq_epi32(_mm_load_si128((const __m128i *)followers), _mm_set1_epi32(symbol));
    return _mm_movemask_ps(_mm_castsi128_ps(equal));
#else
    unsigned found = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        found |= (followers[slot] == symbol) << slot;
    return found;
#endif
}

static void make_answers(void)
{
    for (unsigned used = 1; used <= SLOTS; used++)
        for (unsigned slot = 0; slot < used; slot++) {
            unsigned i = used << SLOTS | 1u << slot;
            coder.answers[i].turn = slot > 0;
            coder.answers[i].choice = (uint8_t)(slot > 0 ? slot - 1 : 0);
            coder.answers[i].choice_bits = (uint8_t)(slot > 0 && used > 2 ? used - 2 : 0);
        }
}

/* How many symbols from `at` on equal those from `before` on? */
static uint32_t common_length(const uint32_t *before, const uint32_t *at, const uint32_t *end)
{
    const uint32_t *start = at;
    for (; end - at >= 4; before += 4, at += 4) {
        uint64_t a[2], b[2];
        memcpy(a, before, sizeof a);
        memcpy(b, at, sizeof b);
        if ((a[0] ^ b[0]) | (a[1] ^ b[1]))
            break;
    }
    for (; at < end && *before == *at; before++)
        at++;
    return (uint32_t)(at - start);
}

/* Chooses one of the next 16 places: the one after the symbol with the smallest hash. So the same place is chosen
 * when the same symbols come again. */
static const uint32_t *choose_place(const uint32_t *at, const uint32_t *end)
{
    const uint32_t *best = at;
    uint32_t least = UINT32_MAX;
    if (end - at > REPEAT_CHOICE)
        end = at + REPEAT_CHOICE;
    for (; at < end; at++) {
        uint32_t hash = at[-1] * HASH_A;
        if (hash < least) {
            least = hash;
            best = at;
        }
    }
    return best;
}

/* Where in the walk the 16 symbols before `at` were seen when a repeat was last looked for after them; 0 when
 * never. */
static uint32_t look_for_repeat(const uint32_t *walk, const uint32_t *at)
{
    uint32_t hash = 0;
    for (int back = REPEAT_CONTEXT; back > 0; back--)
        hash = (hash + at[-back]) * HASH_A;
    uint32_t *place = &coder.repeats[(hash ^ hash >> 15) * HASH_C >> (32 - REPEAT_TABLE_BITS)], found = *place;
    *place = (uint32_t)(at - walk);
    return found;
}

/* Codes a walk from `at` up to `stop`, beginning in `node`. Returns the node in which it ends. Events have coded
 * all before `*coded`. */
static NOINLINE struct node *code_until(const uint32_t *at, const uint32_t *stop, struct node *node,
                                        const uint32_t **coded, const struct fields *fields)
{
    struct node *first = coder.nodes + 1; /* a copy, which no store through a node can change */
    for (; at < stop; at++) {
        uint32_t symbol = *at;
        unsigned found = slots_with(node->followers, symbol);
        if (likely(found)) {
            const struct answers *answers = &coder.answers[node->used << SLOTS | found];
            uint64_t turns = node->open[TURN], choices = node->open[CHOICE];
            turns += (turns & node->turns) + answers->turn;
            choices = (choices << answers->choice_bits) + answers->choice;
            node->open[TURN] = turns;
            node->open[CHOICE] = choices;
            if (unlikely((turns | choices) >> ANSWERS_FULL))
                next_blocks(node);
        } else {
            put_new_follower(node, (uint32_t)(at - *coded), symbol, fields);
            *coded = at + 1;
        }
        node = first + symbol;
    }
    return node;
}

struct payload code_walk(const uint32_t *walk, uint32_t records, const struct fields *fields)
{
    struct node *node = coder.nodes;
    const uint32_t *at = walk, *end = walk + records, *coded = walk, *next = walk + REPEAT_CONTEXT;
    uint32_t patience = REPEAT_PATIENCE;
    memset(node, 0, sizeof *node);
    memset(node->followers, NO_SYMBOL, sizeof node->followers);
    memset(coder.repeats, 0, sizeof coder.repeats);
    coder.block_count = coder.symbols = 0;
    start_bits(&coder.events);
    start_bits(&coder.coded_blocks);
    for (;;) {
        const uint32_t *stop = next < end ? choose_place(next, end) : end;
        node = code_until(at, stop, node, &coded, fields);
        at = stop;
        if (at == end)
            break;
        uint32_t before = look_for_repeat(walk, at);
        uint32_t length = before ? common_length(walk + before, at, end) : 0;
        if (length >= REPEAT_LEAST) {
            put_repeat((uint32_t)(at - coded), (uint32_t)(at - walk) - before, length);
            coded = at += length;
            node = &coder.nodes[at[-1] + 1];
            patience = REPEAT_PATIENCE;
        } else if (patience < REPEAT_MOST_PATIENCE) {
            patience *= 2;
        }
        next = at + patience;
    }
    if (coded < end)
        put_number(&coder.events, end - coded, EVENT_BITS);
    for (uint32_t i = 1; i <= coder.symbols; i++)
        for (int question = TURN; question < QUESTIONS; question++)
            if (coder.nodes[i].used > question + 1)
                close_block(&coder.nodes[i], question);
    code_blocks();
    return (struct payload){ coder.events.start, coder.coded_blocks.start, (uint32_t)end_bits(&coder.events),
                             (uint32_t)end_bits(&coder.coded_blocks) };
}

void open_coder(void)
{
    /* Sizes for the worst case; the kernel only allocates the pages that are used. */
    coder.nodes = must_have(aligned_alloc(sizeof *coder.nodes, sizeof *coder.nodes * (CHUNK_RECORDS_MOST + 1)));
    coder.blocks = must_have(malloc(sizeof *coder.blocks * 2 * CHUNK_RECORDS_MOST));
    coder.block_classes = must_have(malloc(2 * CHUNK_RECORDS_MOST));
    coder.events.start = must_have(malloc((size_t)WORST_RECORD_BYTES * CHUNK_RECORDS_MOST + 64));
    coder.coded_blocks.start = must_have(malloc((size_t)16 * CHUNK_RECORDS_MOST + 64));
    make_codes();
    make_answers();
}
