/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Numbers in options and commands.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "base.h"

/* The digits at `text`, in base 10, or 16 with or without 0x, below 2^64; `end` is what follows them. No sign, no space. */
OURS bool parse_number(const char *text, int base, uint64_t *value, const char **end);
/* The same of a whole text. */
OURS bool is_number(const char *text, int base, uint64_t *value);
/* Is it an open file descriptor? */
OURS bool is_open(uint64_t fd);

#endif
