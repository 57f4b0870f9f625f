/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Distinct branches (edges) and records (symbols): the vCPU's thread makes them, the encoder's is given their numbers. A
 * symbol is written before the batch that names it is handed over, and never changes.
 */
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include "../common/base.h"

/* A distinct (from, to, kind). `step` and `symbol` belong to the record that was made slowly last. */
struct edge {
    uint64_t from, to, step;
    uint32_t symbol, kind;
    struct edge *chain;
    struct symbol *symbols;
};

/* A distinct (edge, instructions since the record before): what the encoder is given, by number. */
struct symbol {
    const struct edge *edge;
    uint64_t step;
    uint32_t number;
    struct symbol *chain;
};

/* The symbols' descriptions by number: a table of tables, so that none ever moves. */
enum { PAGE_BITS = 14, MOST_PAGES = 1 << 11 };
extern const struct symbol **symbol_pages[MOST_PAGES] OURS;
extern uint32_t symbol_count OURS; /* read by the encoder: atomic */
extern bool encoder_forgets OURS;  /* symbols' numbers begin anew; set while the encoder waits */

static inline const struct symbol *symbol_at(uint32_t number)
{
    return symbol_pages[number >> PAGE_BITS][number & ((1 << PAGE_BITS) - 1)];
}

/* Gives it the next number, and keeps it under that. */
OURS void number_symbol(struct symbol *symbol);
/* Numbers begin anew. The encoder waits, and has no number left. */
OURS void forget_symbols(void);

#endif
