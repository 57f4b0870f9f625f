/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The state of the run, which branches.c keeps, and what the other parts of the plugin may ask of it.
 */
#ifndef RUN_H
#define RUN_H

#include "block.h"
#include "qemu.h"
#include "queue.h"

extern struct {
    /* what every block uses: one cache line */
    struct block *current;   /* the block that last began to run */
    uint64_t counter;        /* instructions << 32 | records, since `executed` and `brctr` were brought up to date */
    uint64_t limit, last;    /* while logging: steps from here on are slow; the counter after the last record */
    uint32_t *queue_at;      /* in the open batch */
    uint32_t *queue_last;    /* up to here a record only needs to be queued */
    const uint64_t *ip_word; /* see instruction_pointer() */
    uint64_t base;           /* where the counter began; a step that sets its top bit is looked at */

    uint64_t executed;       /* instructions before `current`, which is the icount at its start */
    uint64_t brctr;          /* records so far */
    uint64_t icount_of_last; /* icount of the latest queued record */
    uint64_t next_icount, next_brctr; /* see "The window" */
    uint64_t repeats;        /* iterations done before `current`, when that is a block of one rep instruction */
    uint32_t *queue_end;     /* of the open batch */
    bool logging;
} run __attribute__((aligned(64))) OURS;

/* The counts at the start of the current block, for the thread that runs it. */
static inline uint64_t executed_now(void) { return run.executed + ((run.counter - run.base) >> 32); }
static inline uint64_t brctr_now(void) { return run.brctr + (uint32_t)(run.counter - run.base); }

/* An option: are branches followed at all? */
extern bool following OURS;
/* The number of transfers that no rule explains, which must stay 0. Other threads read it. */
extern uint64_t unexplained OURS;

/* An instant. */
struct position { uint64_t icount, brctr, pc, repeats; /* of the rep instruction at pc */ };

/*
 * The instruction pointer at a block's start. Blocks are shared between virtual addresses of one physical page
 * (CF_PCREL), so a block's own address is only where it was translated first; and this is asked for at every block.
 * QEMU keeps the register up to date, so the word of the CPU object is looked for that always equals it.
 */
OURS void find_ip_word(void);

static inline uint64_t instruction_pointer(void)
{
    return likely(run.ip_word != NULL) ? *run.ip_word : read_register(REGISTER_IP);
}

/* The counts of the run, for any thread while the run goes on: those of the latest step, or of one shortly before. */
OURS struct position counts_of_run(void);

/* `catch_up` brings the counts up to date, which is necessary before they are read or changed; `go_on` goes on
 * counting from there. */
OURS void catch_up(void);
OURS void go_on(void);
/* Must be called after each change of the open batch, of `logging` or of `next_brctr`. */
OURS void find_queue_last(void);
OURS void open_batch(struct batch *batch);
/* Hands the open batch over and opens another. Waits when the encoder has not kept up. */
OURS void hand_over(int then, enum end_reason reason, uint64_t icount);
/* Drops all successors of blocks, but not the blocks themselves. */
OURS void forget_successors(void);

/*
 * The lock of the run, which a command holds while it reads or changes the run. The vCPU thread of a stopped machine
 * may still discard blocks: QEMU's GDB stub has it do that at each stop, and reports the stop before that is done.
 */
OURS void hold_run(void);
OURS void release_run(void);

/* ---- Of a stopped machine ----------------------------------------------------------------------------------------- */

OURS uint64_t stopped_pc(void);
/* Completes the step in progress, since the address of the next instruction is known. */
OURS struct position settle(void);
/* Notes that the machine is at `pc` without having run a block there, with `repeats` iterations done of a `rep`
 * instruction there. */
OURS void park(uint64_t pc, uint64_t repeats);

/* The deliveries at the latest icount that had any, and the address that was next before them. */
extern struct deliveries { uint64_t icount, count, origin, repeats; } delivered OURS;

#endif
