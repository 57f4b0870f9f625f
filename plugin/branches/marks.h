/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Marks: while the machine runs, the counts at an instant are told now and then, which costs the run nothing. The
 * control thread sees that it is time by counters that it reads without a lock; the vCPU thread makes the mark at its
 * next slow step. Such steps are rare only in a tight loop.
 */
#ifndef MARKS_H
#define MARKS_H

#include "run.h"

/* The control thread saw that it is time. Atomic, as the rest of it. */
extern bool mark_wanted OURS;

/* About every so many instructions, from now on; 0: no more. The machine is stopped. */
OURS void want_marks(uint64_t every);
/* Are there any? */
OURS bool are_marks_wanted(void);
/* The control thread: is it time? */
OURS void look_for_marks(void);
/* The vCPU's thread, before `block`, whose start is an instant without doubt: all steps to it are explained. */
OURS void mark(const struct block *block);

#endif
