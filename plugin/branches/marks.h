/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Marks: reports of the counts at an instant now and then while the machine runs. They cost the run nothing. The
 * control thread reads the counters without a lock and finds that a mark is due; the vCPU thread makes it at its next
 * slow step. Slow steps are frequent, except in a tight loop.
 */
#ifndef MARKS_H
#define MARKS_H

#include "run.h"

/* A mark is due: set by the control thread. Atomic, like all of its state. */
extern bool mark_wanted OURS;

/* Makes marks about every `every` instructions from now on; 0 ends them. The machine must be stopped. */
OURS void want_marks(uint64_t every);
/* Are marks to be made? */
OURS bool are_marks_wanted(void);
/* Called by the control thread: checks whether a mark is due. */
OURS void look_for_marks(void);
/* Called by the vCPU thread before `block`: makes the mark. All steps up to the block's start are explained, so
 * its counts are exact. */
OURS void mark(const struct block *block);

#endif
