/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What is learned of the guest's code and kept: blocks as QEMU translated them, which of them followed one another,
 * and the distinct branches (edges) and records (symbols) that came of it.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

/* ---- Blocks, edges, symbols --------------------------------------------------------------------------------- */

/* How a block ends. */
enum ending {
    UNKNOWN,    /* nothing is known of what ran before */
    FALLS,      /* into the next instruction */
    REPEATS,    /* a rep string instruction: into itself or the next */
    BRANCHES,   /* conditionally, to the target or the next */
    GOES,       /* to the target */
    GOES_ANY,   /* anywhere: returns, indirect and far jumps, system calls */
    TRAPS,      /* int n, int3, int1: to a handler that finds the next instruction on its stack */
    TRAPS_OR_FALLS, /* into */
};

/* A distinct (from, to, kind). `step` and `symbol` belong to the record that was made slowly last. */
struct edge {
    uint64_t from, to, step;
    uint32_t symbol, kind;
    struct edge *chain;
    struct symbol *symbols;
};

/* A distinct (edge, instructions since the record before): what the encoder is given, by number. */
struct symbol {
    const struct edge *edge;
    uint64_t step;
    uint32_t number;
    struct symbol *chain;
};

struct block;
/* What it means that `to` ran next. */
struct successor {
    const struct block *to;
    uint64_t delta; /* instructions << 32 | records (0 or 1) */
    /* What to queue for the record when so many instructions ran since the record before; the one met last is first. */
    uint32_t steps[2], symbols[2];
};

enum { THROUGH_OTHER = -1, THROUGH_MEMORY = -2, THROUGH_STACK = -3, NOT_INSIDE = -1, SUCCESSORS = 4, FIRST_FAR = 2 };
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

enum { MOST_INSNS = 2048, BLOCK_BITS = 18, EDGE_BITS = 18, PAIR_BITS = 15 };
static struct block *blocks[1 << BLOCK_BITS];
static struct edge *edges[1 << EDGE_BITS];
static struct pair {
    const struct block *from;
    struct successor successor;
    struct block *then; /* `successor.to` at the address where it ran */
    struct edge *record;
    bool near;
} pairs[1 << PAIR_BITS];

/* Memory that is given back all at once. */
struct arena { struct slab *slab; size_t left, total, align; };
enum { SLAB_SIZE = 1 << 20, CACHE_LINE = 64 };
struct slab { struct slab *before; char room[] __attribute__((aligned(CACHE_LINE))); };
static struct arena block_arena = { .align = CACHE_LINE }, edge_arena = { .align = 16 };
/* Beyond this, everything learned is forgotten and learned again. */
static const size_t most_memory = 384u << 20;

static void *take(struct arena *arena, size_t size)
{
    size_t align = arena->align ? arena->align : 16;
    size = (size + align - 1) & -align;
    if (size > arena->left) {
        struct slab *slab = must_have(aligned_alloc(CACHE_LINE, SLAB_SIZE));
        memset(slab, 0, SLAB_SIZE);
        slab->before = arena->slab;
        arena->slab = slab;
        arena->left = SLAB_SIZE - sizeof *slab;
        arena->total += SLAB_SIZE;
    }
    arena->left -= size;
    return arena->slab->room + (SLAB_SIZE - sizeof(struct slab) - arena->left - size);
}

static void drop(struct arena *arena)
{
    while (arena->slab) {
        struct slab *before = arena->slab->before;
        free(arena->slab);
        arena->slab = before;
    }
    arena->left = arena->total = 0;
}

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/*
 * Where the machine is known to be without having run a block there: at rest, no instructions. Or what is left of the
 * block that ran when QEMU threw its blocks away.
 */
static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } parked;

static size_t block_slot(uint64_t hash, uint64_t pc)
{
    return mix(hash ^ pc * 0x9e3779b97f4a7c15u) & ((1 << BLOCK_BITS) - 1);
}

/* The one block that is like `model`; `model` may be the last one's copy on the stack. */
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

/* The same code at the address where it runs now. */
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
