/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * GDB's agent expressions (GDB manual, appendix "The GDB Agent Expression Mechanism"), with additional opcodes for
 * what GDB cannot ask: counts and the access. src/formats/agent-opcodes.ts has the same table, and
 * test/formats/agent-evaluation.ts evaluates them in TypeScript.
 *
 * The program that links this defines the three functions below. Nothing here depends on QEMU.
 */
#ifndef AGENT_H
#define AGENT_H

#include "../common/base.h"

OURS bool agent_register(unsigned number, uint64_t *value);
OURS bool agent_memory(uint64_t address, void *to, size_t size);
OURS bool agent_special(unsigned opcode, uint64_t *value);

enum agent_opcode {
    AGENT_ADD = 0x02, AGENT_SUB, AGENT_MUL, AGENT_DIV_SIGNED, AGENT_DIV_UNSIGNED, AGENT_REM_SIGNED, AGENT_REM_UNSIGNED,
    AGENT_LSH, AGENT_RSH_SIGNED, AGENT_RSH_UNSIGNED,
    AGENT_LOG_NOT = 0x0e, AGENT_BIT_AND, AGENT_BIT_OR, AGENT_BIT_XOR, AGENT_BIT_NOT,
    AGENT_EQUAL, AGENT_LESS_SIGNED, AGENT_LESS_UNSIGNED,
    AGENT_EXT = 0x16, AGENT_REF8, AGENT_REF16, AGENT_REF32, AGENT_REF64,
    AGENT_IF_GOTO = 0x20, AGENT_GOTO, AGENT_CONST8, AGENT_CONST16, AGENT_CONST32, AGENT_CONST64, AGENT_REG, AGENT_END,
    AGENT_DUP, AGENT_POP, AGENT_ZERO_EXT, AGENT_SWAP,
    AGENT_PICK = 0x32, AGENT_ROT,
    AGENT_ICOUNT = 0xe0, AGENT_BRCTR, AGENT_HIT, AGENT_ADDRESS, AGENT_LENGTH, AGENT_WRITE, AGENT_PC, AGENT_LAST = AGENT_PC
};
enum { AGENT_STACK = 64, AGENT_STEPS = 4096, AGENT_MOST_BYTES = 2048 };

/* The number of operand bytes after an opcode; -1 for an unknown opcode. */
OURS int agent_operand_bytes(unsigned opcode);
/* Is every opcode known, with all its operands? The targets of jumps are checked when they are made. */
OURS bool agent_is_valid(const uint8_t *code, size_t size);
/* Evaluates an expression. False when it fails: by a bad opcode, stack, address or register, or by too many steps. */
OURS bool agent_evaluate(const uint8_t *code, size_t size, uint64_t *result);

#endif
