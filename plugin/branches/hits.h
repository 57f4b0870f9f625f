/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The stream of probe hits: records as `struct hit` says, gathered in two buffers. The vCPU thread fills one while the
 * sender thread writes the other; it waits when both are full, so that nothing is ever lost.
 */
#ifndef HITS_H
#define HITS_H

#include "../common/base.h"

/* A record: this header, then what was asked to be collected. src/formats/plugin-stream.ts has the same table. */
struct hit {
    uint32_t size, id;    /* of the whole record, a multiple of 8 */
    uint64_t icount, brctr, pc, number; /* brctr: UINT64_MAX when branches are not followed */
    uint32_t flags, length;             /* of the access */
    uint64_t address, physical;         /* of the access; without one `address` is the iterations done of a rep instruction */
};
enum { HIT_WRITE = 1, HIT_FAILED = 2, HIT_ACCESS = 4, HIT_PHYSICAL = 8, HIT_DELIVERY = 16, HIT_STOP = 32 };
/* Before each collected piece: its bytes, and whether all of it could be read. Padded to 8. */
struct piece { uint32_t size, whole; };

enum { HIT_MOST = 1 << 19 };

/* Where hits go; -1: nowhere. */
extern int hits_fd OURS;

/* Once, before all else but setting `hits_fd`. */
OURS void open_hits(void);
/* Room for a record of `size` bytes, at most HIT_MOST. A lock is held until `hit_done`, with its true size, not larger. */
OURS char *hit_room(size_t size);
OURS void hit_done(size_t size);
/* Waits until all is sent; how many bytes that is, ever. */
OURS uint64_t flush_hits(void);
/* The sender thread. */
OURS void *send_hits(void *unused);

#endif
