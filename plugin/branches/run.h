/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The run so far: what follows the machine keeps it (branches.c), and what the rest of the plugin may ask of that.
 */
#ifndef RUN_H
#define RUN_H

#include "block.h"
#include "qemu.h"
#include "queue.h"

extern struct {
    /* what every block touches: a cache line */
    struct block *current;   /* began to run last */
    uint64_t counter;        /* instructions << 32 | records, since `executed` and `brctr` were brought up to date */
    uint64_t limit, last;    /* while logging: steps from here on are made slowly; the counter after the last record */
    uint32_t *queue_at;      /* in the open batch */
    uint32_t *queue_last;    /* up to here nothing but queueing is to do */
    const uint64_t *ip_word; /* see instruction_pointer() */
    uint64_t base;           /* what the counter began at: when its top bit is set, a step is looked at */

    uint64_t executed;       /* instructions before `current`: icount at its start */
    uint64_t brctr;          /* records so far */
    uint64_t icount_of_last; /* of the record queued last */
    uint64_t next_icount, next_brctr; /* see "The window" */
    uint64_t repeats;        /* iterations done before `current`, when that is one rep instruction */
    uint32_t *queue_end;     /* of the open batch */
    bool logging;
} run __attribute__((aligned(64))) OURS;

/* The counts at the start of the current block, for the thread that runs it. */
static inline uint64_t executed_now(void) { return run.executed + ((run.counter - run.base) >> 32); }
static inline uint64_t brctr_now(void) { return run.brctr + (uint32_t)(run.counter - run.base); }

/* Options: are branches followed at all? */
extern bool following OURS;
/* Transfers that no rule explains: must stay 0. Read by other threads. */
extern uint64_t unexplained OURS;

/* An instant. */
struct position { uint64_t icount, brctr, pc, repeats; /* of the rep instruction at pc */ };

/*
 * The instruction pointer at a block's start. Blocks are shared between virtual addresses of one physical page
 * (CF_PCREL), so a block's own address is only where it was translated first; and this is asked for at every
 * block. QEMU keeps the register up to date; we find the word of the CPU object that always equals it.
 */
OURS void find_ip_word(void);

static inline uint64_t instruction_pointer(void)
{
    return likely(run.ip_word != NULL) ? *run.ip_word : read_register(REGISTER_IP);
}

/* The counts of the run as any thread may ask for them while it goes on: those of the latest step, or nearly. */
OURS struct position counts_of_run(void);

/* Brings the counts up to date, before anything is asked or changed; and goes on counting from there. */
OURS void catch_up(void);
OURS void go_on(void);
/* After each change of the open batch, of `logging` or of `next_brctr`. */
OURS void find_queue_last(void);
OURS void open_batch(struct batch *batch);
/* Hands the open batch over and opens another; waits while the encoder is behind. */
OURS void hand_over(int then, enum end_reason reason, uint64_t icount);
/* Forgets what may follow what, not the blocks themselves. */
OURS void forget_successors(void);

/*
 * What a command reads and changes of the run: nobody else does meanwhile. A stopped machine's thread may still throw blocks
 * away (QEMU's GDB stub asks for that at each stop, and tells of the stop before it is done).
 */
OURS void hold_run(void);
OURS void release_run(void);

/* ---- Of a stopped machine ----------------------------------------------------------------------------------------- */

OURS uint64_t stopped_pc(void);
/* Completes the step in progress: the next instruction is known. */
OURS struct position settle(void);
/* The machine is known to be at `pc` without having run a block there; so many iterations of the `rep` there are done. */
OURS void park(uint64_t pc, uint64_t repeats);

/* Deliveries at the latest icount that had any, and the address that would have run next before them. */
extern struct deliveries { uint64_t icount, count, origin, repeats; } delivered OURS;

#endif
