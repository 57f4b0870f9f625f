/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Putting the probes' callbacks into blocks that are being translated.
 */
#ifndef PROBES_INC_H
#define PROBES_INC_H

/* Which accesses to request from QEMU. QEMU 7.2 confuses its own codes (plugin-gen.c, op_rw): a plugin that
 * requests only reads gets only writes. `meet_access` ignores accesses that were not requested. */
static unsigned wanted_accesses(void)
{
    unsigned accesses = probes.instrumented.accesses;
    return QEMU_PLUGIN_API == 1 && (accesses & MEM_READ) ? MEM_READ | MEM_WRITE : accesses;
}

/* Puts the probes' callbacks into a block that is being translated. */
static void probe_block(struct qemu_plugin_tb *tb)
{
    struct probed_block *block = NULL;
    int registers = probes.instrumented.registers ? CB_READ_REGISTERS : CB_NO_REGS;
    uint32_t count = (uint32_t)qemu_plugin_tb_n_insns(tb);
    for (uint32_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t pc = qemu_plugin_insn_vaddr(insn);
        bool probed = probes.instrumented.offsets[pc % OFFSETS];
        if (!probed && !probes.instrumented.accesses)
            continue;
        if (!block) {
            uint64_t start = qemu_plugin_tb_vaddr(tb);
            block = take(&site_arena, sizeof *block);
            struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
            uint32_t size = (uint32_t)(qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last) - start);
            *block = (struct probed_block){ .base = start - instruction_pointer(), .count = count, .size = size };
            if (registers && cc_op_unknown < 0)
                qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), learn_cc_op, registers, NULL);
            if (registers && run.ip_word && !general.known && start >> 32)
                compare_general();
        }
        struct site *site = take(&site_arena, sizeof *site);
        *site = (struct site){ block, i, pc % OFFSETS };
        if (probed)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_probed, registers, site);
        if (probes.instrumented.accesses)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, registers, wanted_accesses(), site);
    }
}

#endif
