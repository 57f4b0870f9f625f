/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Explaining how an address came to be next: did the block run to its end, or was it left before that?
 */
#ifndef EXPLANATION_INC_H
#define EXPLANATION_INC_H

/* What happened at an address: it was reached by running; a fault was raised there; an interrupt came there. */
enum manner { REACHED, FAULTED, INTERRUPTED };
enum { NO_RECORD = -1 };
struct explanation {
    bool found;
    uint32_t count; /* the instructions of the block that ran */
    int kind;       /* of the record from its last instruction; or NO_RECORD */
};

/* Are the addresses equal, allowing for an instruction pointer of 32 or 16 bits that has wrapped around? */
static bool same_address(uint64_t computed, uint64_t pc)
{
    if (computed == pc)
        return true;
    uint64_t distance = pc - computed;
    return pc >> 32 == 0 && ((uint32_t)computed == pc || distance == 0x10000 || distance == -(uint64_t)0x10000);
}

/* May `pc` be next when the block has run to its end? */
static bool ends_at(const struct block *block, uint64_t pc, int *kind)
{
    *kind = NO_RECORD;
    switch (block->ending) {
    case FALLS:
        return same_address(block->next, pc);
    case REPEATS:
        return pc == block->last || same_address(block->next, pc);
    case BRANCHES:
        if (same_address(block->next, pc))
            return true;
        *kind = CONDITIONAL;
        return same_address(block->target, pc);
    case GOES:
        *kind = block->kind;
        return same_address(block->target, pc);
    case TRAPS_OR_FALLS:
        if (same_address(block->next, pc))
            return true;
        *kind = block->kind;
        return true;
    case UNKNOWN:
        return true;
    default:
        *kind = block->kind;
        return true;
    }
}

static const struct block *entered; /* the block that is about to run; NULL when the machine is stopped */
static bool ran_whole(const struct block *block, enum manner manner);

/*
 * Explains how `pc` came to be the next address after the block began. Either the block ran to its end, or it was
 * left before the instruction at `pc`. When both are possible, `finished` tells which.
 */
static struct explanation explain(const struct block *block, uint64_t pc, enum manner manner)
{
    int kind, index = instruction_at(block, pc);
    bool ends = ends_at(block, pc, &kind);
    struct explanation whole = { ends, block->count, kind }, cut = { true, index, NO_RECORD };
    if (index < 0)
        return whole;
    if (!ends)
        return cut;
    if (block->ending == REPEATS)
        return manner == FAULTED && pc == block->last ? cut : whole;
    bool leaves_anywhere = block->ending >= GOES_ANY;
    if (block->marks)
        return !*finished || (manner == FAULTED && leaves_anywhere && pc == block->last) ? cut : whole;
    if (block->inside == index)
        return ran_whole(block, manner) ? whole : cut;
    return leaves_anywhere && manner != REACHED ? cut : whole;
}

/*
 * The iterations done of the rep instruction at `pc`, when the step from the block took `count` instructions and made
 * no record. (QEMU counts iterations as instructions; a rep instruction is always the last of its block.)
 */
static uint64_t repeats_after(const struct block *block, uint64_t pc, uint64_t count)
{
    if (block->count == 0) /* at rest */
        return pc == block->pc ? run.repeats : 0;
    if (block->ending != REPEATS || pc != block->last)
        return 0;
    return block->count == 1 ? run.repeats + count : count / block->count;
}

struct deliveries delivered;

static struct { const struct block *block; uint64_t executed; } step; /* the one in progress */

static void record_delivery(uint64_t from, uint64_t to, enum branch_kind kind)
{
    if (delivered.count == 0 || delivered.icount != run.executed) {
        delivered.icount = run.executed;
        delivered.count = 0;
        delivered.origin = from;
        delivered.repeats = repeats_after(step.block, from, run.executed - step.executed);
    }
    delivered.count++;
    delivering = true;
    record(edge_between(from, to, kind));
    delivering = false;
}

/* Takes an explained step to `pc`: updates the counts and makes the record. */
static void step_to(const struct block *block, uint64_t pc, struct explanation how)
{
    run.executed += how.count;
    if (how.kind != NO_RECORD)
        record(edge_between(block->last, pc, how.kind));
}

#endif
