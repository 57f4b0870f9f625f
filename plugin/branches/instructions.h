/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What an instruction does to the flow of control, told from its bytes. Nothing here depends on QEMU.
 */
#ifndef INSTRUCTIONS_H
#define INSTRUCTIONS_H

#include "../common/base.h"
#include "branch-stream.h"

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

enum { THROUGH_OTHER = -1, THROUGH_MEMORY = -2, THROUGH_STACK = -3 };

/* The last instruction of a block. */
struct last_instruction {
    enum ending ending;
    enum branch_kind kind; /* of the record it makes, if it makes one */
    int8_t through;  /* GOES_ANY: the gdb register that holds the target, or a THROUGH_… */
    uint16_t pops;   /* RETURN: bytes that it takes off the stack besides */
    uint64_t target; /* BRANCHES, GOES */
};

/*
 * What it does, when `next` is the address after it. Its bytes may be cut at a page's end (QEMU 7.2 shows an instruction that it
 * then leaves to the next block): what has not the right size is taken for an ordinary one.
 */
OURS struct last_instruction classify(const uint8_t *bytes, size_t size, uint64_t next);

/* lidt, or rsm, which loads the table's address too. */
OURS bool loads_idt(const uint8_t *bytes, size_t size);

#endif
