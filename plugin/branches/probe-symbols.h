/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The functions of QEMU that probes use beyond those of qemu.h.
 */
#ifndef PROBE_SYMBOLS_H
#define PROBE_SYMBOLS_H

#include "../common/base.h"

extern struct {
    uint64_t (*physical_page)(void *cpu, uint64_t page); /* UINT64_MAX: not mapped */
    bool (*is_device)(uint64_t physical);
    void (*flush_blocks)(void *cpu);
    void (*ask_cpu)(void *cpu, void (*work)(void *cpu, void *), void *); /* runs it alone in its thread, when awake */
    bool (*peek_instruction)(void *cpu, uintptr_t host, uint64_t *data); /* what insn_start noted: pc, cc_op */
    uint64_t (*flags_of)(void *env, int cc_op);
    void (*raise)(void *env, int exception, uintptr_t host) __attribute__((noreturn));
    const char *(*block_of)(uintptr_t host);
} more OURS;

/* Finds them all. Returns the name of one that this QEMU lacks, or NULL. */
OURS const char *find_more_symbols(void);
/* Are QEMU's notes on its calls of plugins, which `make_registers_readable` changes, as expected? */
OURS bool are_notes_known(void);
/* Makes registers readable in the callbacks of blocks that are translated from now on. False when that is not
 * possible. */
OURS bool make_registers_readable(void);

#endif
