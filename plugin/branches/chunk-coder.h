/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Coding the payload of a chunk: a walk over symbols becomes bytes. docs/FORMATS.md, "Branch log", has the layout;
 * src/formats/branch-walk-coder.ts writes the same bytes.
 */
#ifndef CHUNK_CODER_H
#define CHUNK_CODER_H

#include "bits.h"
#include "branch-stream.h"

enum { CHUNK_RECORDS_MOST = 1 << CHUNK_BITS, NO_SYMBOL = -1 };

struct fields { uint64_t from, to, step, gap; uint32_t kind; };

/* A coded walk, valid until the next one is coded. */
struct payload { const uint8_t *events, *blocks; uint32_t events_size, blocks_size; };

/* Must be called once, before all others. */
OURS void open_coder(void);
/* Codes a walk of at most CHUNK_RECORDS_MOST records. */
OURS struct payload code_walk(const uint32_t *walk, uint32_t records, const struct fields *fields);

#endif
