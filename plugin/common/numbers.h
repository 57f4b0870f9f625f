/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Numbers in options and commands.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "base.h"

/* Reads the digits at `text`, in base 10, or in base 16 with or without 0x. The value is below 2^64; `end` is set
 * to what follows. There may be no sign and no space. */
OURS bool parse_number(const char *text, int base, uint64_t *value, const char **end);
/* As `parse_number`, for a whole text. */
OURS bool is_number(const char *text, int base, uint64_t *value);
/* Is it an open file descriptor? */
OURS bool is_open(uint64_t fd);

#endif
