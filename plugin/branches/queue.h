/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The queue of records between the vCPU's thread, which follows the run, and the encoder's: eight batches in a ring. The
 * vCPU's thread waits when all are full, which is the only place where the guest waits.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "branch-stream.h"
#include "../common/base.h"

enum { BATCH_RECORDS = 1 << 16, BATCHES = 8 };
/* Which records are logged. NONE: the instants alone are awaited, at the cost of counting. */
enum selection { ALL, USER, KERNEL, NONE };
struct batch {
    uint64_t first_brctr, icount_before; /* of its first record; instructions before the record before that */
    uint32_t length;
    enum selection selection; /* of the window that its records belong to */
    enum { RECORDS, CHUNK_END, FINISH } then; /* what to do after its records */
    enum end_reason reason;
    uint64_t end_brctr, end_icount, unexplained;
    uint32_t symbols[BATCH_RECORDS];
};

/* ---- The vCPU's side; the control thread's while the machine is stopped --------------------------------------------- */

/* The batch to fill next: there is one always. */
OURS struct batch *queue_open(void);
/* The open batch is full. Opens the next one, once the encoder is done with it. */
OURS struct batch *queue_pass(void);
/* Waits until the encoder has done all that was passed. */
OURS void queue_wait(void);

/* ---- The encoder's side --------------------------------------------------------------------------------------------- */

/* The oldest batch that was passed; waits for one. */
OURS const struct batch *queue_take(void);
/* It has been dealt with. */
OURS void queue_done(void);

#endif
