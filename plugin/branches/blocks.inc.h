/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What is learned of the guest's code and kept: blocks, pairs of blocks that ran one after the other, and edges.
 */
#ifndef BLOCKS_INC_H
#define BLOCKS_INC_H

enum { BLOCK_BITS = 18, EDGE_BITS = 18, PAIR_BITS = 15 };
static struct block *blocks[1 << BLOCK_BITS];
static struct edge *edges[1 << EDGE_BITS];
static struct pair {
    const struct block *from;
    struct successor successor;
    struct block *then; /* `successor.to` at the address where it ran */
    struct edge *record;
    bool near;
} pairs[1 << PAIR_BITS];

static struct arena block_arena = { .align = CACHE_LINE }, edge_arena = { .align = 16 };
/* When it takes more memory than this, all of it is dropped and learned again. */
static const size_t most_memory = 384u << 20;

/*
 * A stand-in for the current block. When the machine is at rest at a known address without having run a block there,
 * it has no instructions. When QEMU has discarded its blocks, it is a copy of the one that was running.
 */
static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } parked;
static uint64_t parked_sp; /* where it has no instructions: the stack pointer there */

static size_t block_slot(uint64_t hash, uint64_t pc)
{
    return mix(hash ^ pc * 0x9e3779b97f4a7c15u) & ((1 << BLOCK_BITS) - 1);
}

/* The kept block that equals `model`. When there is none, `model`, which lies on the stack, is copied. */
static struct block *intern(const struct block *model)
{
    struct block **head = &blocks[block_slot(model->hash, model->pc)];
    for (struct block *block = *head; block; block = block->chain)
        if (block->hash == model->hash && block->pc == model->pc && block->ip == model->ip &&
            block->last == model->last && block->target == model->target && block->next == model->next &&
            block->count == model->count && block->ending == model->ending && block->kind == model->kind &&
            block->through == model->through && block->pops == model->pops && block->loads_idt == model->loads_idt && !memcmp(block->sizes, model->sizes, model->count))
            return block;
    struct block *block = take(&block_arena, sizeof *block + model->count);
    memcpy(block, model, sizeof *block + model->count);
    block->chain = *head;
    *head = block;
    return block;
}

/* The block with the same code at the address where it runs now. */
static NOINLINE struct block *relocate(struct block *block, uint64_t ip)
{
    if (block->elsewhere && block->elsewhere->ip == ip)
        return block->elsewhere;
    static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } copy;
    uint64_t distance = ip - block->ip;
    memcpy(&copy, block, sizeof *block + block->count);
    copy.block.ip = ip;
    copy.block.pc += distance;
    copy.block.last += distance;
    copy.block.next += distance;
    copy.block.target += block->ending == BRANCHES || block->ending == GOES ? distance : 0;
    memset(copy.block.after, 0, sizeof copy.block.after);
    memset(copy.block.records, 0, sizeof copy.block.records);
    copy.block.elsewhere = NULL;
    copy.block.seen = copy.block.noted = false;
    block->elsewhere = intern(&copy.block);
    return block->elsewhere;
}

#endif
