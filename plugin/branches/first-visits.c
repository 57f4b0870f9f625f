/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Noting first visits.
 */
#include "first-visits.h"
#include "../common/fail.h"

enum { VISITED_SLOTS = 1 << 16, MOST_VISITED_PAGES = 1 << 17, MOST_VISITED_BYTES = 192 << 20 };
struct visited_page { uint64_t number; struct visited_page *chain; uint64_t instructions[64]; /* a bit an address */ };

struct first_visits first_visits = { .complete_to = UINT64_MAX };

void want_first_visits(void)
{
    first_visits.pages = must_have(calloc(VISITED_SLOTS, sizeof *first_visits.pages));
    first_visits.wanted = true;
}

/* Is this the first visit of the address? The visit is noted. */
static bool visits_first(uint64_t address)
{
    static struct visited_page *latest;
    uint64_t number = address >> 12, bit = 1ull << (address & 63), word = (address >> 6) & 63;
    if (!latest || latest->number != number) {
        struct visited_page **head = &first_visits.pages[mix(number * 0x9e3779b97f4a7c15u) & (VISITED_SLOTS - 1)];
        struct visited_page *page = *head;
        while (page && page->number != number)
            page = page->chain;
        if (!page) {
            page = must_have(calloc(1, sizeof *page));
            page->number = number;
            page->chain = *head;
            *head = page;
            first_visits.page_count++;
        }
        latest = page;
    }
    bool first = !(latest->instructions[word] & bit);
    latest->instructions[word] |= bit;
    return first;
}

static void put_varint(uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        first_visits.bytes[first_visits.size++] = (number & 0x7f) | 0x80;
    first_visits.bytes[first_visits.size++] = (uint8_t)number;
}

static void put_stretch(uint64_t icount, uint64_t address, uint64_t end, const uint8_t *sizes, uint32_t count)
{
    uint64_t distance = address - first_visits.end;
    if (first_visits.room - first_visits.size < 32 + (size_t)MOST_INSNS) {
        first_visits.room = first_visits.room * 2 + (1 << 16);
        first_visits.bytes = must_have(realloc(first_visits.bytes, first_visits.room));
    }
    put_varint(icount - first_visits.icount);
    put_varint(distance << 1 ^ -(distance >> 63));
    put_varint(count);
    for (uint32_t i = 0; i < count; i += 2)
        first_visits.bytes[first_visits.size++] = (uint8_t)((sizes[i] & 15) | (i + 1 < count ? sizes[i + 1] << 4 : 0));
    first_visits.icount = icount;
    first_visits.end = end;
}

void note_first_visits(const struct block *block, uint64_t icount, uint64_t count)
{
    uint32_t reached = count < block->count ? (uint32_t)count + 1 : block->count;
    uint64_t at = block->pc;
    if (block->noted)
        return;
    ((struct block *)block)->noted = reached == block->count;
    for (uint32_t i = 0; i < reached; at += block->sizes[i++]) {
        if (!visits_first(at))
            continue;
        uint64_t from = at;
        uint32_t first = i;
        do
            at += block->sizes[i++];
        while (i < reached && visits_first(at));
        put_stretch(icount + first, from, at, block->sizes + first, i - first);
        if (i == reached)
            break; /* otherwise the instruction here was visited before */
    }
    if (first_visits.page_count < MOST_VISITED_PAGES && first_visits.fetched + first_visits.size < MOST_VISITED_BYTES)
        return;
    first_visits.wanted = false;
    first_visits.complete_to = icount + count;
}
