/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What is learned of a block when QEMU translates it, and which callbacks it gets.
 */
#ifndef TRANSLATION_INC_H
#define TRANSLATION_INC_H

/* Called before the first instruction of the first block: checks that QEMU's notes on the block are where they are
 * expected. */
static void on_first_block(unsigned vcpu UNUSED, void *block)
{
    learn_counted(block, (uintptr_t)__builtin_return_address(0));
}

static void check_notes(struct qemu_plugin_tb *tb)
{
    static struct probed_block first;
    uint32_t count = (uint32_t)qemu_plugin_tb_n_insns(tb);
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
    uint64_t end = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last);
    first = (struct probed_block){ .count = count, .size = (uint32_t)(end - qemu_plugin_tb_vaddr(tb)) };
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_first_block, CB_NO_REGS, &first);
}

void on_translation(plugin_id id UNUSED, struct qemu_plugin_tb *tb)
{
    static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } fresh;
    struct block *block = &fresh.block;
    if (unlikely(!qemu.current_cpu)) {
        qemu.cpu = qemu.get_cpu(0);
        qemu.current_cpu = dlsym(RTLD_DEFAULT, "current_cpu"); /* thread-local: this thread's */
        translated = true;
        if (*qemu.current_cpu != qemu.cpu)
            refuse_qemu("the processor that runs");
        if (hits_fd >= 0)
            check_notes(tb);
    }
    if (unlikely(!run.ip_word))
        find_ip_word();
    translated_since_flush = true;
    if (unlikely(probes.instrumented.any))
        probe_block(tb);
    if (!following)
        return;
    if (unlikely(film_wanted.on))
        film_block(tb);
    memset(block, 0, sizeof *block);
    block->count = (uint32_t)qemu_plugin_tb_n_insns(tb);
    if (block->count == 0 || block->count > MOST_INSNS)
        fail(EXIT_INEXACT, "a block of %u instructions", block->count);
    block->pc = qemu_plugin_tb_vaddr(tb);
    block->ip = instruction_pointer();
    struct qemu_plugin_insn *insn = NULL;
    uint8_t bytes[MOST_BYTES + 1];
    size_t size = 0;
    uint64_t hash = block->count;
    for (uint32_t i = 0; i < block->count; i++) {
        insn = qemu_plugin_tb_get_insn(tb, i);
        size = read_instruction(insn, bytes);
        block->sizes[i] = (uint8_t)size;
        hash = mix(hash ^ size);
        block->loads_idt |= loads_idt(bytes, size);
        if (unlikely(is_watched(qemu_plugin_insn_vaddr(insn))))
            watch(insn, i, qemu_plugin_insn_vaddr(insn) - block->pc);
    }
    block->last = qemu_plugin_insn_vaddr(insn);
    block->next = block->last + size;
    struct last_instruction last = classify(bytes, size, block->next);
    block->ending = (uint8_t)last.ending;
    block->kind = (uint8_t)last.kind;
    block->through = last.through;
    block->pops = last.pops;
    block->target = last.target;
    bool direct = block->ending == BRANCHES || block->ending == GOES;
    bool loads = block->ending == GOES_ANY && block->through <= THROUGH_MEMORY;
    block->inside = (int16_t)(direct ? instruction_at(block, block->target) : NOT_INSIDE);
    block->marks = block->ending > GOES_ANY || loads || (block->ending == GOES_ANY && block->count > 1) ||
                   (block->kind == CALL && block->inside == (int)block->count - 1);
    block->hash = mix(hash ^ (direct ? block->target - block->pc : 0)) ^ block->ending * 64 ^ block->kind ^
                  (uint64_t)(uint8_t)block->through << 16 ^ (uint64_t)block->pops << 24;
    block = intern(block);
    if (unlikely(run.current->ending == REPEATS && block->pc == run.current->last)) {
        recount = true;
        memset(run.current->after, 0, sizeof run.current->after);
    }
    if (loads)
        qemu_plugin_register_vcpu_mem_cb(insn, on_load, CB_NO_REGS, asked_accesses(MEM_READ),
                                         block->through == THROUGH_STACK ? block : NULL);
    if (block->marks) {
#if QEMU_PLUGIN_API == 1
        qemu_plugin_register_vcpu_insn_exec_inline(insn, OP_ADD_U64, finished, 1);
#else
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, OP_ADD_U64, finished_entry, 1);
#endif
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, run.ip_word ? callback_of(block) : on_early_block, CB_NO_REGS, block);
}

#endif
