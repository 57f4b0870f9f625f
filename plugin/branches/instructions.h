/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Decoding what an instruction does to the flow of control. Nothing here depends on QEMU.
 */
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include "../common/base.h"
#include "branch-stream.h"

/* How a block ends. */
enum ending {
    UNKNOWN,    /* it is not known what ran before */
    FALLS,      /* goes on to the next instruction */
    REPEATS,    /* a rep string instruction: goes to itself or to the next */
    BRANCHES,   /* a conditional branch: to the target or the next */
    GOES,       /* to the target */
    GOES_ANY,   /* to any address: returns, indirect and far jumps, system calls */
    TRAPS,      /* int n, int3, int1: to a handler that finds the next instruction on its stack */
    TRAPS_OR_FALLS, /* into */
};

enum { THROUGH_OTHER = -1, THROUGH_MEMORY = -2, THROUGH_STACK = -3 };

/* The last instruction of a block. */
struct last_instruction {
    enum ending ending;
    enum branch_kind kind; /* of its record, if it makes one */
    int8_t through;  /* GOES_ANY: the gdb register that holds the target, or a THROUGH_… */
    uint16_t pops;   /* RETURN: further bytes that it takes off the stack */
    uint64_t target; /* BRANCHES, GOES */
};

/*
 * Decodes an instruction; `next` is the address after it. Its bytes may be cut at the end of a page (QEMU 7.2 shows
 * an instruction that it then leaves to the next block), so one whose size is wrong is taken for an ordinary one.
 */
OURS struct last_instruction classify(const uint8_t *bytes, size_t size, uint64_t next);

/* Is it lidt, or rsm, which also loads the table's address? */
OURS bool loads_idt(const uint8_t *bytes, size_t size);

#endif
