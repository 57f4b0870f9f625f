/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * One step: which branch led from one block to the next. For two blocks that have not followed one another before,
 * the rules decide; README.md lists them. Their result is learned when it is certain.
 */
#ifndef STEPS_INC_H
#define STEPS_INC_H

static uint64_t stack_pointer(void)
{
    if (idt.mode == LONG)
        return read_register(REGISTER_SP);
    read_machine();
    return machine.sp;
}

static bool explain_new_step(const struct block *block, uint64_t pc, struct explanation *how)
{
    for (int again = 0; again < 2; again++) {
        if (is_handler(pc)) {
            uint64_t sp = stack_pointer();
            if (block->count == 0 && pc == block->pc && sp == parked_sp)
                return false; /* the machine stood there, and goes on: an old frame on the stack means nothing */
            if (went_to(block, pc, sp)) {
                *how = explain(block, pc, REACHED);
                step_to(block, pc, *how);
                return false;
            }
            if (explain_delivery(block, pc, sp, 0))
                return false;
            /* The address of a handler, but reached by an ordinary branch. */
        }
        *how = explain(block, pc, REACHED);
        if (how->found && (again || !is_handler(pc))) {
            step_to(block, pc, *how);
            return !again;
        }
        read_idt(true);
    }
    if (explain_smi(block, pc))
        return false;
    if (__atomic_fetch_add(&unexplained, 1, __ATOMIC_RELAXED) < 20)
        fprintf(stderr,
                "vmtape plugin: no rule explains how %#" PRIx64 " came after the block %#" PRIx64 "..%#" PRIx64
                " (ending %d, brctr %" PRIu64 ")\n",
                pc, block->pc, block->last, block->ending, run.brctr);
    run.executed += block->count;
    record(edge_between(block->last, pc, FAR));
    return false;
}

/* Explains the step by the rules, without what was learned. Puts into `how` what may be learned from it. */
static bool explain_step(const struct block *block, uint64_t pc, struct explanation *how)
{
    step.block = block;
    step.executed = run.executed;
    bool certain = explain_new_step(block, pc, how);
    if (first_visits.wanted && !block->noted)
        note_first_visits(block, step.executed, run.executed - step.executed);
    return certain;
}

/* Keeps a successor: a near one in place of the oldest, a far one where there is room. */
static void learn(struct block *block, const struct pair *pair)
{
    int first = pair->near ? 0 : FIRST_FAR, i = first + (block->after[first].to != NULL);
    if (pair->then != pair->successor.to || (block->after[i].to && !pair->near))
        return;
    if (block->after[i].to) {
        block->after[first] = block->after[i];
        block->records[first] = block->records[i];
    }
    block->after[i] = pair->successor;
    block->records[i] = pair->record;
}

/*
 * When the code of `next` runs after the block, is it certain that the machine is at the address of `next`? The same
 * code may be mapped at several addresses. But the block itself can lead to few addresses, so it is certain when only
 * one of them, and no handler of an interrupt, has this offset in its page.
 */
static bool is_near(const struct block *block, const struct block *next)
{
    uint64_t offset = next->pc & 0xfff, at = block->pc;
    bool leads = false, other = false;
    if (block->ending < FALLS || block->ending > GOES || offset == 0 /* system management mode */ || idt.offset[offset])
        return false;
    uint64_t ends[2] = { block->next, block->ending >= BRANCHES ? block->target : block->next };
    for (int i = 0; i < 2; i++)
        if ((ends[i] & 0xfff) == offset)
            leads |= ends[i] == next->pc, other |= ends[i] != next->pc;
    for (uint32_t i = 0; i < block->count; at += block->sizes[i++])
        if ((at & 0xfff) == offset)
            leads |= at == next->pc, other |= at != next->pc;
    return leads && !other;
}

/* May it be learned that the block leads to `next`, or could the same step have another meaning later? */
static bool is_certain(const struct block *block, const struct block *next)
{
    int kind, index = instruction_at(block, next->pc);
    if (index < 0 || !ends_at(block, next->pc, &kind))
        return true;
    if (index == block->inside && !block->marks) /* as in `ran_whole` */
        return next->count > 1 || index == (int)block->count - 1;
    return !block->marks;
}

static inline struct pair *pair_of(const struct block *block, const struct block *to, uint64_t ip)
{
    return &pairs[mix((uintptr_t)block * 3 + (uintptr_t)to + ip) & ((1 << PAIR_BITS) - 1)];
}

/* Takes a step that is not known yet: after the block came the code that was registered as `to` and now runs as
 * `next`. The counts are caught up. */
static NOINLINE void slow_step(struct block *block, struct block *next, const struct block *to)
{
    if (unlikely(__atomic_load_n(&mark_wanted, __ATOMIC_RELAXED)))
        mark(block);
    struct pair *pair = pair_of(block, to, next->ip);
    if (unlikely(edge_arena.total > most_memory))
        forget_edges();
    if (recount) {
        /* A rep instruction has stored into its own code: QEMU began an iteration, abandoned it, and runs it
         * again. */
        recount = false;
        uint64_t now = count_of_qemu() - next->count;
        if (next->pc == block->last && now == run.executed + block->count - 1) {
            if (first_visits.wanted)
                note_first_visits(block, run.executed, block->count - 1);
            run.executed = now;
            return;
        }
    }
    if (!next->seen || block->loads_idt || !idt.known) {
        next->seen = true;
        read_idt(block->loads_idt);
    }
    struct explanation how;
    entered = next;
    if (!explain_step(block, next->pc, &how) || block->loads_idt || block->ending == UNKNOWN ||
        block == &parked.block || !is_certain(block, next))
        return;
    bool records = how.kind != NO_RECORD;
    pair->from = block;
    pair->successor = (struct successor){ .to = to, .delta = (uint64_t)how.count << 32 | records };
    pair->then = next;
    pair->record = records ? edge_between(block->last, next->pc, how.kind) : NULL;
    pair->near = is_near(block, next);
    learn(block, pair);
}

#endif
