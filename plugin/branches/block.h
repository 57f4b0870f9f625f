/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Blocks of the guest's code as QEMU translated them, and which of them followed one another.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "instructions.h"
#include "symbols.h"

struct block;
/* What it means that `to` ran next. */
struct successor {
    const struct block *to;
    uint64_t delta; /* instructions << 32 | records (0 or 1) */
    /* What to queue for the record when so many instructions ran since the record before; the one met last is first. */
    uint32_t steps[2], symbols[2];
};

enum { NOT_INSIDE = -1, SUCCESSORS = 4, FIRST_FAR = 2 };
struct block {
    /* 0 and 1: near, `to` alone tells which address is next (see `is_near`). 2 and 3: if it has the right one.
       Two of them fill a cache line, which is all that a step along a known way reads of a block. */
    struct successor after[SUCCESSORS];
    uint64_t ip;             /* at its start */
    struct block *elsewhere; /* the same code at another address, used last */
    struct edge *records[SUCCESSORS]; /* of `after`, if any */
    uint64_t pc, last, next, target; /* linear: start, last instruction, what follows it, where it goes */
    uint32_t count;
    uint8_t ending, kind;
    int8_t through; /* GOES_ANY: the gdb register that holds the target, or a THROUGH_… */
    bool marks;     /* counts up `finished` when its last instruction begins */
    uint16_t pops;  /* RETURN: bytes that it takes off the stack besides */
    int16_t inside; /* which of its instructions its last one leads to; or NOT_INSIDE */
    bool loads_idt, seen;
    bool noted; /* first visits of all its instructions are */
    uint64_t hash; /* of all that does not depend on the address */
    struct block *chain;
    uint8_t sizes[]; /* of each instruction */
};

enum { MOST_INSNS = 2048 };
/* Which instruction of the block is at `pc`; NOT_INSIDE for none. */
static inline int instruction_at(const struct block *block, uint64_t pc)
{
    uint64_t at = block->pc;
    if (pc < at || pc > block->last)
        return NOT_INSIDE;
    for (uint32_t i = 0; i < block->count; at += block->sizes[i++])
        if (at == pc)
            return (int)i;
    return NOT_INSIDE;
}

static inline uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

#endif
