/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Distinct branches (edges) and records (symbols). The vCPU thread makes them, and gives their numbers to the encoder
 * thread. A symbol is complete before the batch that names it is handed over, and never changes.
 */
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include "../common/base.h"

/* A distinct (from, to, kind). `step` and `symbol` are those of the latest record that was made slowly. */
struct edge {
    uint64_t from, to, step;
    uint32_t symbol, kind;
    struct edge *chain;
    struct symbol *symbols;
};

/* A distinct (edge, instructions since the record before): the encoder gets its number. */
struct symbol {
    const struct edge *edge;
    uint64_t step;
    uint32_t number;
    struct symbol *chain;
};

/* The symbols by number: a table of tables, so that no symbol ever moves. */
enum { PAGE_BITS = 14, MOST_PAGES = 1 << 11 };
extern const struct symbol **symbol_pages[MOST_PAGES] OURS;
extern uint32_t symbol_count OURS; /* read by the encoder: atomic */
extern bool encoder_forgets OURS;  /* numbers of symbols begin anew; set while the encoder waits */

static inline const struct symbol *symbol_at(uint32_t number)
{
    return symbol_pages[number >> PAGE_BITS][number & ((1 << PAGE_BITS) - 1)];
}

/* Gives the symbol the next number, and adds it to the table. */
OURS void number_symbol(struct symbol *symbol);
/* Lets numbers begin anew. The encoder must be waiting, with no number left to deal with. */
OURS void forget_symbols(void);

#endif
