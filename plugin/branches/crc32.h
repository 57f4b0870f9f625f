/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * CRC-32, the same as zlib's.
 */
#ifndef CRC32_H
#define CRC32_H

#include "../common/base.h"

/* Must be called once, before all others. */
OURS void make_crc_tables(void);
/* The CRC of bytes after others, whose CRC is `before`; 0 when there are none before. */
OURS uint32_t crc32(const uint8_t *bytes, size_t size, uint32_t before);

#endif
