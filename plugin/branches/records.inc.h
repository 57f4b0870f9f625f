/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Making records: they are counted and, while a log is written, queued for the encoder thread, 4 bytes each.
 */
#ifndef RECORDS_INC_H
#define RECORDS_INC_H

/* ---- Records ---------------------------------------------------------------------------------------------------- */

uint64_t unexplained;
static uint64_t *finished;      /* see block.marks; set to 0 whenever such a block starts */
static uint64_t loaded_at;      /* where one THROUGH_MEMORY or THROUGH_STACK read first; set to 0 likewise */
static uint64_t loaded;         /* the value that one THROUGH_STACK read there, since a delivery may overwrite it */
static bool recount;            /* perhaps the step in progress has not run the block's last instruction */
#if QEMU_PLUGIN_API == 1
static uint64_t finished_word;
#else
static struct plugin_u64 finished_entry;
#endif

static NOINLINE void use_symbol(struct edge *edge, uint64_t step)
{
    struct symbol *symbol = edge->symbols;
    while (symbol && symbol->step != step)
        symbol = symbol->chain;
    if (!symbol) {
        symbol = take(&edge_arena, sizeof *symbol);
        *symbol = (struct symbol){ edge, step, 0, edge->symbols };
        number_symbol(symbol);
        edge->symbols = symbol;
    }
    edge->step = step;
    edge->symbol = symbol->number;
}

void find_queue_last(void)
{
    uint64_t room = run.logging ? run.queue_end - run.queue_at : 0, awaited = run.next_brctr - run.brctr;
    uint64_t most = least(room, awaited);
    run.queue_last = most > 1 ? run.queue_at + most - 1 : run.queue_at; /* there may be no queue yet */
}

void open_batch(struct batch *batch)
{
    batch->first_brctr = run.brctr;
    batch->icount_before = run.icount_of_last;
    run.queue_at = batch->symbols;
    /* A batch never spans two chunks. */
    uint64_t room = (1 << CHUNK_BITS) - (run.brctr & ((1 << CHUNK_BITS) - 1));
    run.queue_end = run.queue_at + (room < BATCH_RECORDS ? room : BATCH_RECORDS);
    find_queue_last();
}

NOINLINE void hand_over(int then, enum end_reason reason, uint64_t icount)
{
    struct batch *batch = queue_open();
    batch->length = (uint32_t)(run.queue_at - batch->symbols);
    batch->selection = window.selection; /* a later window may have another one meanwhile */
    batch->then = then;
    batch->reason = reason;
    batch->end_brctr = run.brctr;
    batch->end_icount = icount;
    batch->unexplained = unexplained;
    open_batch(queue_pass());
}

static NOINLINE void batch_full(void)
{
    hand_over((run.brctr & ((1 << CHUNK_BITS) - 1)) == 0 ? CHUNK_END : RECORDS, 0, 0);
}

bool delivering;

static void record(struct edge *edge)
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

/*
 * Steps that were seen before only add to `run.counter`. Before anything else happens, `executed` and `brctr` are
 * brought up to date (`catch_up`); afterwards the counter begins anew (`go_on`). A step at which the counter's top
 * bit is set is looked at. The counter begins at a value at which this is so: always, while logging; otherwise when
 * an awaited instant may be near, or when the counter might overflow.
 */
enum { MOST_COUNTED = 1 << 30 };
static const uint64_t looked_at = 1ull << 63;

/*
 * What other threads read of the run beside `counter`: the values from which it counts. The number is odd while they
 * do not fit together (a seqlock). Only catch_up and go_on change more than the counter.
 */
static struct { uint64_t number, executed, brctr, base; } published;

static void set_counter(uint64_t counter)
{
    __atomic_store_n(&run.counter, counter, __ATOMIC_RELEASE);
}

/* Begins the counter anew at `base`, from the present counts. */
static void publish(uint64_t base)
{
    __atomic_store_n(&published.number, published.number + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&published.executed, run.executed, __ATOMIC_RELEASE);
    __atomic_store_n(&published.brctr, run.brctr, __ATOMIC_RELEASE);
    __atomic_store_n(&published.base, base, __ATOMIC_RELEASE);
    set_counter(base);
    __atomic_store_n(&published.number, published.number + 1, __ATOMIC_RELEASE);
}

struct position counts_of_run(void)
{
    for (;;) {
        uint64_t number = __atomic_load_n(&published.number, __ATOMIC_ACQUIRE);
        uint64_t executed = __atomic_load_n(&published.executed, __ATOMIC_ACQUIRE);
        uint64_t brctr = __atomic_load_n(&published.brctr, __ATOMIC_ACQUIRE);
        uint64_t base = __atomic_load_n(&published.base, __ATOMIC_ACQUIRE);
        uint64_t done = __atomic_load_n(&run.counter, __ATOMIC_ACQUIRE) - base;
        if (!(number & 1) && __atomic_load_n(&published.number, __ATOMIC_RELAXED) == number)
            return (struct position){ executed + (done >> 32), brctr + (uint32_t)done, 0, 0 };
    }
}

void catch_up(void)
{
    uint64_t done = run.counter - run.base;
    run.executed += done >> 32;
    run.brctr += (uint32_t)done;
    if (run.logging && (uint32_t)done)
        run.icount_of_last = run.executed - ((run.counter - run.last) >> 32);
    publish(run.base);
}

void go_on(void)
{
    uint64_t room = run.next_icount > run.executed ? run.next_icount - run.executed : 0;
    room = least(room, MOST_COUNTED);
    if (run.logging) {
        uint64_t since = run.executed - run.icount_of_last;
        run.base = looked_at;
        run.limit = looked_at + (room << 32);
        run.last = since < MOST_COUNTED ? looked_at - (since << 32) : looked_at + (1ull << 62); /* no step equals it */
    } else {
        /* There is at least one instruction for each record. */
        run.base = looked_at - (least(room, run.next_brctr - run.brctr) << 32);
        run.limit = 0;
    }
    publish(run.base);
}

/* Takes a step that was seen before, between catch_up and go_on. */
static void take_step(struct successor *successor, struct edge *edge)
{
    run.executed += successor->delta >> 32;
    if (!edge)
        return;
    record(edge);
    if (!run.logging || edge->step >= MOST_COUNTED)
        return;
    successor->steps[1] = successor->steps[0];
    successor->symbols[1] = successor->symbols[0];
    successor->steps[0] = (uint32_t)edge->step;
    successor->symbols[0] = edge->symbol;
}

static NOINLINE void step_slowly(struct successor *successor, struct edge **edge)
{
    set_counter(run.counter - successor->delta);
    catch_up();
    take_step(successor, *edge);
    go_on();
}

/* Looks at a step that has been counted, while logging or near an awaited instant. */
static NOINLINE void look(struct successor *successor, struct edge **edge)
{
    uint64_t counter = run.counter;
    uint32_t *at = run.queue_at, symbol;
    if (unlikely(counter >= run.limit))
        goto slowly;
    if (!(uint32_t)successor->delta)
        return;
    uint32_t step = (uint32_t)((counter - run.last) >> 32);
    if (step == successor->steps[0])
        symbol = successor->symbols[0];
    else if (step == successor->steps[1])
        symbol = successor->symbols[1];
    else
        goto slowly;
    if (unlikely(at >= run.queue_last))
        goto slowly;
    run.last = counter;
    *at = symbol;
    run.queue_at = at + 1;
    return;
slowly:
    step_slowly(successor, edge);
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

void forget_successors(void)
{
    memset(pairs, 0, sizeof pairs);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        for (struct block *block = blocks[i]; block; block = block->chain) {
            memset(block->after, 0, sizeof block->after);
            memset(block->records, 0, sizeof block->records);
        }
    memset(run.current->after, 0, sizeof run.current->after);
    memset(run.current->records, 0, sizeof run.current->records);
}

static void forget_edges(void)
{
    queue_wait();
    /* The open batch is handed over first, since the numbers of its symbols lose their meaning. */
    if (run.logging && run.queue_at != queue_open()->symbols) {
        hand_over(RECORDS, 0, 0);
        queue_wait();
    }
    forget_successors();
    memset(edges, 0, sizeof edges);
    drop(&edge_arena);
    forget_symbols();
}

#endif
