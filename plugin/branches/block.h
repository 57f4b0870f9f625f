/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Blocks of the guest's code as QEMU translated them, and which block ran after which.
 */
#ifndef BLOCK_H
#define BLOCK_H

#include "instructions.h"
#include "symbols.h"

struct block;
/* What the counts and the log get when `to` runs next. */
struct successor {
    const struct block *to;
    uint64_t delta; /* instructions << 32 | records (0 or 1) */
    /* The symbols to queue for the record, by the instructions since the record before; the latest is first. */
    uint32_t steps[2], symbols[2];
};

enum { NOT_INSIDE = -1, SUCCESSORS = 4, FIRST_FAR = 2 };
struct block {
    /* 0 and 1: near successors: `to` alone tells which address is next (see `is_near`). 2 and 3: far ones, whose
     * address must be compared. Two of them fill a cache line, which is all that a known step reads of a block. */
    struct successor after[SUCCESSORS];
    uint64_t ip;             /* at its start */
    struct block *elsewhere; /* the same code at the other address where it last ran */
    struct edge *records[SUCCESSORS]; /* of `after`, if any */
    uint64_t pc, last, next, target; /* linear addresses: start, last instruction, the one after it, target */
    uint32_t count;
    uint8_t ending, kind;
    int8_t through; /* GOES_ANY: the gdb register that holds the target, or a THROUGH_… */
    bool marks;     /* adds to `finished` when its last instruction begins */
    uint16_t pops;  /* RETURN: further bytes that it takes off the stack */
    int16_t inside; /* the instruction of this block to which its last one leads; or NOT_INSIDE */
    bool loads_idt, seen;
    bool noted; /* first visits of all its instructions are noted */
    uint64_t hash; /* of everything that does not depend on the address */
    struct block *chain;
    uint8_t sizes[]; /* of each instruction */
};

enum { MOST_INSNS = 2048 };
/* The index of the block's instruction at `pc`; NOT_INSIDE when there is none. */
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
