/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * A record is made: counted, and while a log is written queued for the encoder thread, 4 bytes each.
 */
#ifndef RECORDS_H
#define RECORDS_H

/* ---- Records ---------------------------------------------------------------------------------------------------- */

static uint64_t unexplained;    /* transfers that no rule explains: must stay 0 */
static uint64_t *finished;      /* see block.marks; set to 0 whenever such a block starts */
static uint64_t loaded_at;      /* where an instruction THROUGH_MEMORY or THROUGH_STACK read first; likewise */
static uint64_t loaded;         /* what one THROUGH_STACK found there; a delivery may overwrite it */
static bool recount;            /* the step in progress may not have run the block's last instruction */
#if QEMU_PLUGIN_API == 1
static uint64_t finished_word;
#else
static struct plugin_u64 finished_entry;
#endif

/* Queue of symbol numbers to the encoder. */
enum { BATCH_RECORDS = 1 << 15, BATCHES = 16 };
struct batch {
    uint64_t first_brctr, icount_before; /* of its first record; instructions before the record before that */
    uint32_t length;
    enum { RECORDS, CHUNK_END, FINISH } then; /* what to do after its records */
    enum end_reason reason;
    uint64_t end_brctr, end_icount, unexplained;
    uint32_t symbols[BATCH_RECORDS];
};
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *batches[BATCHES];
    unsigned long filled, emptied; /* counts of batches */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* The symbols' descriptions by number, for the encoder: a table of tables, so that none ever moves. */
enum { PAGE_BITS = 14, MOST_PAGES = 1 << 11 };
static const struct symbol **symbol_pages[MOST_PAGES];
static uint32_t symbol_count;
static bool encoder_forgets; /* symbols' numbers begin anew; set while the encoder waits */

static struct symbol *symbol_at(uint32_t number)
{
    return (struct symbol *)symbol_pages[number >> PAGE_BITS][number & ((1 << PAGE_BITS) - 1)];
}

static NOINLINE void use_symbol(struct edge *edge, uint64_t step)
{
    struct symbol *symbol = edge->symbols;
    while (symbol && symbol->step != step)
        symbol = symbol->chain;
    if (!symbol) {
        symbol = take(&edge_arena, sizeof *symbol);
        *symbol = (struct symbol){ edge, step, symbol_count, edge->symbols };
        edge->symbols = symbol;
        uint32_t page = symbol_count >> PAGE_BITS;
        if (page >= MOST_PAGES)
            fail(EXIT_STREAM, "more than %u distinct branches", MOST_PAGES << PAGE_BITS);
        if (!symbol_pages[page])
            symbol_pages[page] = must_have(calloc(1 << PAGE_BITS, sizeof(struct symbol *)));
        symbol_pages[page][symbol_count & ((1 << PAGE_BITS) - 1)] = symbol;
        symbol_count++;
    }
    edge->step = step;
    edge->symbol = symbol->number;
}

/* After each change of the open batch, of `logging` or of `next_brctr`. */
static void find_queue_last(void)
{
    uint64_t room = run.logging ? run.queue_end - run.queue_at : 0, awaited = run.next_brctr - run.brctr;
    run.queue_last = run.queue_at + (room < awaited ? room : awaited);
    if (run.queue_last > run.queue_at)
        run.queue_last--;
}

static void open_batch(struct batch *batch)
{
    batch->first_brctr = run.brctr;
    batch->icount_before = run.icount_of_last;
    run.queue_at = batch->symbols;
    /* A batch never spans two chunks. */
    uint64_t room = (1 << CHUNK_BITS) - (run.brctr & ((1 << CHUNK_BITS) - 1));
    run.queue_end = run.queue_at + (room < BATCH_RECORDS ? room : BATCH_RECORDS);
    find_queue_last();
}

/* Hands the open batch over and opens another; waits while the encoder is behind. */
static NOINLINE void hand_over(int then, enum end_reason reason, uint64_t icount)
{
    pthread_mutex_lock(&queue.lock);
    struct batch *batch = queue.batches[queue.filled % BATCHES];
    batch->length = run.queue_at - batch->symbols;
    batch->then = then;
    batch->reason = reason;
    batch->end_brctr = run.brctr;
    batch->end_icount = icount;
    batch->unexplained = unexplained;
    queue.filled++;
    pthread_cond_broadcast(&queue.changed);
    while (queue.filled - queue.emptied >= BATCHES)
        pthread_cond_wait(&queue.changed, &queue.lock);
    batch = queue.batches[queue.filled % BATCHES];
    pthread_mutex_unlock(&queue.lock);
    open_batch(batch);
}

static void wait_for_encoder(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.filled != queue.emptied)
        pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
}

static NOINLINE void batch_full(void)
{
    hand_over((run.brctr & ((1 << CHUNK_BITS) - 1)) == 0 ? CHUNK_END : RECORDS, 0, 0);
}

static bool delivering; /* the record is of a delivery, not of an instruction that ran */
static void before_record(void);
static void after_record(const struct edge *edge);

/* What is rare with a record: an awaited instant, a step that the edge's last symbol had not, a full batch. */
static NOINLINE void record_slowly(struct edge *edge)
{
    if (run.executed >= run.next_icount)
        before_record();
    run.brctr++;
    if (run.logging) {
        uint64_t step = run.executed - run.icount_of_last;
        run.icount_of_last = run.executed;
        if (edge->step != step)
            use_symbol(edge, step);
        *run.queue_at++ = edge->symbol;
        if (run.queue_at == run.queue_end)
            batch_full();
    }
    if (run.brctr == run.next_brctr)
        after_record(edge);
}

/* A record while logging, or while an icount or a brctr is awaited. Calls only in tail position. */
static NOINLINE void record_watched(struct edge *edge)
{
    uint64_t step = run.executed - run.icount_of_last;
    if (likely(edge->step == step && run.queue_at < run.queue_last && run.executed < run.next_icount)) {
        run.icount_of_last = run.executed;
        *run.queue_at++ = edge->symbol;
        run.brctr++;
    } else {
        record_slowly(edge);
    }
}

static void record(struct edge *edge)
{
    if (run.watched)
        record_watched(edge);
    else
        run.brctr++;
}

/* One step that was seen before. Everything but counting is a call in tail position: no register to save. */
static inline void repeat(const struct successor *successor)
{
    run.executed += successor->count;
    if (likely(!run.watched))
        run.brctr += successor->records;
    else if (successor->records)
        record_watched(successor->edge);
}

static struct edge *edge_between(uint64_t from, uint64_t to, unsigned kind)
{
    struct edge **head = &edges[mix(from * 31 + to * 0x9e3779b97f4a7c15u + kind) & ((1 << EDGE_BITS) - 1)];
    for (struct edge *edge = *head; edge; edge = edge->chain)
        if (edge->from == from && edge->to == to && edge->kind == kind)
            return edge;
    struct edge *edge = take(&edge_arena, sizeof *edge);
    *edge = (struct edge){ .from = from, .to = to, .step = UINT64_MAX, .kind = kind, .chain = *head };
    *head = edge;
    return edge;
}

/* Forgets what may follow what, not the blocks themselves. */
static void forget_successors(void)
{
    memset(pairs, 0, sizeof pairs);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        for (struct block *block = blocks[i]; block; block = block->chain) {
            memset(block->successors, 0, sizeof block->successors);
            memset(&block->inside, 0, sizeof block->inside);
        }
    memset(run.current->successors, 0, sizeof run.current->successors);
    memset(&run.current->inside, 0, sizeof run.current->inside);
}

static void forget_edges(void)
{
    wait_for_encoder();
    /* Numbers of symbols in the open batch would lose their meaning. */
    if (run.logging && run.queue_at != queue.batches[queue.filled % BATCHES]->symbols) {
        hand_over(RECORDS, 0, 0);
        wait_for_encoder();
    }
    forget_successors();
    memset(edges, 0, sizeof edges);
    drop(&edge_arena);
    symbol_count = 0;
    encoder_forgets = true;
}

#endif
