/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * First visits: at which icount each instruction was reached for the first time since they are wanted. A block makes its
 * first step slowly, from each address where it runs, so that this is where to look: it costs the run nothing. The layout
 * is in docs/FORMATS.md, "First visits".
 */
#ifndef FIRST_VISITS_H
#define FIRST_VISITS_H

#include "block.h"

extern struct first_visits {
    bool wanted;
    struct visited_page **pages;
    size_t page_count;
    uint8_t *bytes; /* stretches that nobody has fetched yet */
    size_t size, room, fetched;
    uint64_t icount, end; /* of the stretch before: where it began; the address after it */
    uint64_t complete_to; /* beyond it some may be missing: there were too many */
} first_visits OURS;

/* From now on they are noted. */
OURS void want_first_visits(void);
/* The block began at `icount`, and its first `count` instructions ran; the one after them was reached, if only to fault. */
OURS void note_first_visits(const struct block *block, uint64_t icount, uint64_t count);

#endif
