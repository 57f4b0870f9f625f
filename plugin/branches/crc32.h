/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * CRC-32, as zlib has it.
 */
#ifndef CRC32_H
#define CRC32_H

#include "../common/base.h"

/* Once, before all else. */
OURS void make_crc_tables(void);
/* Of bytes that follow others, whose own is `before`; 0 at the start. */
OURS uint32_t crc32(const uint8_t *bytes, size_t size, uint32_t before);

#endif
