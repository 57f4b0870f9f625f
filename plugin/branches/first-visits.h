/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * First visits: the icount at which each instruction was reached for the first time since they are wanted. They are
 * noted in slow steps. A block's first step, from each address at which it runs, is always slow, so this costs the
 * run nothing. The layout is in docs/FORMATS.md, "First visits".
 */
#ifndef FIRST_VISITS_H
#define FIRST_VISITS_H

#include "block.h"

extern struct first_visits {
    bool wanted;
    struct visited_page **pages;
    size_t page_count;
    uint8_t *bytes; /* stretches that have not been fetched yet */
    size_t size, room, fetched;
    uint64_t icount, end; /* of the latest stretch: the icount where it began; the address after it */
    uint64_t complete_to; /* beyond this icount some may be missing, since there were too many */
} first_visits OURS;

/* First visits are noted from now on. */
OURS void want_first_visits(void);
/* Notes that the block began at `icount`, that its first `count` instructions ran, and that the one after them was
 * reached, perhaps only to fault. */
OURS void note_first_visits(const struct block *block, uint64_t icount, uint64_t count);

#endif
