/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The stream of probe hits: records as `struct hit` says, gathered in two buffers. The vCPU thread fills one while
 * the sender thread writes the other. When both are full, the vCPU thread waits, so that nothing is lost.
 */
#ifndef HITS_H
#define HITS_H

#include "../common/base.h"

/* A record: this header, then the collected pieces. src/formats/plugin-stream.ts has the same table. */
struct hit {
    uint32_t size, id;    /* of the whole record, a multiple of 8 */
    uint64_t icount, brctr, pc, number; /* brctr: UINT64_MAX when branches are not followed */
    uint32_t flags, length;             /* of the access */
    uint64_t address, physical;         /* of the access; without one, `address` is rep (iterations done) */
};
enum { HIT_WRITE = 1, HIT_FAILED = 2, HIT_ACCESS = 4, HIT_PHYSICAL = 8, HIT_DELIVERY = 16, HIT_STOP = 32 };
/* The header of each collected piece: its bytes, and a PIECE_… word. The piece is padded to a multiple of 8. */
struct piece { uint32_t size, whole; };

enum { HIT_MOST = 1 << 19 };

/* The descriptor to which hits are written; -1 for none. */
extern int hits_fd OURS;

/* Must be called once, when `hits_fd` is set and before all others. */
OURS void open_hits(void);
/* Room for a record of `size` bytes, at most HIT_MOST. It takes a lock, which is held until `hit_done` is called
 * with the record's true size, at most `size`. */
OURS char *hit_room(size_t size);
OURS void hit_done(size_t size);
/* Waits until all hits are sent. Returns how many bytes were sent since the beginning. */
OURS uint64_t flush_hits(void);
/* The sender thread. */
OURS void *send_hits(void *unused);

#endif
