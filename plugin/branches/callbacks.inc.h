/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The callbacks at the beginning of each block. A known step costs one addition; for any other the rules are asked.
 */
#ifndef CALLBACKS_INC_H
#define CALLBACKS_INC_H

/* Takes a step that was seen before. All calls are in tail position, so that no registers need to be saved. */
static inline void follow(struct successor *successor, struct edge **edge)
{
    uint64_t counter = run.counter + successor->delta;
    __atomic_store_n(&run.counter, counter, __ATOMIC_RELAXED); /* other threads may look */
    if ((int64_t)counter < 0)
        look(successor, edge);
}

static NOINLINE void enter_slowly(struct block *block, struct block *next, uint64_t ip)
{
    catch_up();
    run.current = next->ip == ip ? next : relocate(next, ip);
    slow_step(block, run.current, next);
    go_on();
}

static NOINLINE void enter_far(struct block *block, struct block *next)
{
    uint64_t ip = *run.ip_word;
    size_t i = FIRST_FAR + (block->after[FIRST_FAR + 1].to == next);
    if (block->after[i].to == next && next->ip == ip) {
        follow(&block->after[i], &block->records[i]);
        return;
    }
    struct pair *pair = pair_of(block, next, ip);
    if (pair->from == block && pair->successor.to == next && pair->then->ip == ip && !recount) {
        run.current = pair->then;
        if (pair->near)
            learn(block, pair);
        follow(&pair->successor, &pair->record);
    } else {
        enter_slowly(block, next, ip);
    }
}

static void on_block(unsigned vcpu UNUSED, void *udata)
{
    struct block *next = udata, *block = run.current;
    run.current = next;
    if (block->after[0].to == next)
        follow(&block->after[0], &block->records[0]);
    else if (likely(block->after[1].to == next))
        follow(&block->after[1], &block->records[1]);
    else
        enter_far(block, next);
}

/* The callback of blocks that mark their end. */
static void on_marking_block(unsigned vcpu, void *udata)
{
    on_block(vcpu, udata);
    *finished = 0;
    loaded_at = 0;
}

/* The callback of blocks of one rep instruction. It counts iterations that follow one another without a record. */
static void on_repeating_block(unsigned vcpu, void *udata)
{
    struct block *before = run.current;
    if (likely(before == udata && before->after[0].to == before)) {
        run.repeats++;
        follow(&before->after[0], &before->records[0]);
        return;
    }
    uint64_t executed = executed_now(), brctr = brctr_now();
    on_block(vcpu, udata);
    run.repeats = brctr_now() == brctr ? repeats_after(before, run.current->pc, executed_now() - executed) : 0;
}

/* The callback of loads. `udata`: is it a load from the stack? */
static void on_load(unsigned vcpu UNUSED, uint32_t info, uint64_t linear, void *udata)
{
    if (loaded_at || qemu_plugin_mem_is_store(info))
        return;
    loaded_at = linear;
    if (udata && !read_memory(linear, &loaded, sizeof loaded))
        loaded_at = 0;
}

static udata_callback callback_of(const struct block *block)
{
    return block->marks                                      ? on_marking_block
           : block->ending == REPEATS && block->count == 1 ? on_repeating_block
                                                              : on_block;
}

/* The callback of blocks that were translated before the instruction pointer was found. */
static void on_early_block(unsigned vcpu, void *udata)
{
    if (likely(run.ip_word)) {
        callback_of(udata)(vcpu, udata);
        return;
    }
    struct block *next = udata;
    const struct block *before = run.current;
    uint64_t executed = executed_now(), brctr = brctr_now();
    find_ip_word();
    enter_slowly(run.current, next, instruction_pointer());
    run.repeats = brctr_now() == brctr ? repeats_after(before, run.current->pc, executed_now() - executed) : 0;
    *finished = 0;
    loaded_at = 0;
}

#endif
