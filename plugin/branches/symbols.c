/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Symbols by number.
 */
#include "symbols.h"
#include "../common/fail.h"

const struct symbol **symbol_pages[MOST_PAGES];
uint32_t symbol_count;
bool encoder_forgets;

void number_symbol(struct symbol *symbol)
{
    uint32_t number = symbol_count, page = number >> PAGE_BITS;
    if (page >= MOST_PAGES)
        fail(EXIT_STREAM, "more than %u distinct branches", MOST_PAGES << PAGE_BITS);
    if (!symbol_pages[page])
        symbol_pages[page] = must_have(calloc(1 << PAGE_BITS, sizeof(struct symbol *)));
    symbol->number = number;
    symbol_pages[page][number & ((1 << PAGE_BITS) - 1)] = symbol;
    __atomic_store_n(&symbol_count, number + 1, __ATOMIC_RELAXED);
}

void forget_symbols(void)
{
    __atomic_store_n(&symbol_count, 0, __ATOMIC_RELAXED);
    encoder_forgets = true;
}
