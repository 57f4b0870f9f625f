/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The queue of records from the vCPU thread, which follows the run, to the encoder thread: eight batches in a ring.
 * When all are full, the vCPU thread waits. The guest waits at no other place.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "branch-stream.h"
#include "../common/base.h"

enum { BATCH_RECORDS = 1 << 16, BATCHES = 8 };
/* Which records are logged. NONE: no record; only the window's instants are awaited, which costs as much as
 * counting. */
enum selection { ALL, USER, KERNEL, NONE };
struct batch {
    uint64_t first_brctr, icount_before; /* brctr of its first record; icount of the record before that */
    uint32_t length;
    enum selection selection; /* of the window that its records belong to */
    enum { RECORDS, CHUNK_END, FINISH } then; /* what to do after its records */
    enum end_reason reason;
    uint64_t end_brctr, end_icount, unexplained;
    uint32_t symbols[BATCH_RECORDS];
};

/* ---- The vCPU's side; the control thread's while the machine is stopped --------------------------------------------- */

/* The batch that is being filled. There is always one. */
OURS struct batch *queue_open(void);
/* Hands the open batch over to the encoder, and opens the next one as soon as the encoder has dealt with it. */
OURS struct batch *queue_pass(void);
/* Waits until the encoder has dealt with all batches that were handed over. */
OURS void queue_wait(void);

/* ---- The encoder's side --------------------------------------------------------------------------------------------- */

/* The oldest batch that was handed over. Waits until there is one. */
OURS const struct batch *queue_take(void);
/* Tells that this batch has been dealt with. */
OURS void queue_done(void);

#endif
