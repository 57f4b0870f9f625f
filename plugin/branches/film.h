/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * A film: each instant from here on, with what changed of the registers, and each access to memory. It goes out on the
 * stream of hits, in pieces of one record each, as words of 8 bytes. src/formats/film-stream.ts has the same table.
 */
#ifndef FILM_H
#define FILM_H

#include "../common/base.h"

/*
 * The first word of an entry has its type in the upper 4 bits.
 *
 * CODE     an instruction that runs for the first time in this film: the lower 8 bits are its size, the next 8 how wide code is
 *          (16, 32, 64), then its number, 24 bits, from 1 on; its address; its bytes, in two words
 * INSTANT  an instruction is about to run: the lower 32 bits are FILM_… flags, the next 16 how many words of registers follow;
 *          the instruction's number, 0 when none runs here; then, as the flags say, pc (else the address told of the instruction),
 *          icount (else it is the last one plus 1), brctr (else the last one), rep (else 0), two words that tell which words of the
 *          `g` packet follow (else the flags' lower 18 bits do), and these
 * ACCESS   an instruction, or the delivery told last, touched memory: bits 0 to 15 bytes, then ACCESS_… flags; linear address,
 *          physical address, and of a write to RAM the bytes afterwards, padded with zeros
 * DELIVERY an interrupt or exception was delivered: its icount and the address next before it; the frame follows as an ACCESS
 * CHANGE   while one register is watched, the only entry: it has another value than before: the lower 8 bits are its bytes, bit 8
 *          that a delivery changed it, else an instruction; icount, brctr, address and rep of that; two words before, two after
 * UNSURE   something else may have written to memory from the present instant on: why, and an address
 */
enum film_entry { FILM_INSTANT, FILM_ACCESS, FILM_DELIVERY, FILM_UNSURE, FILM_CODE, FILM_CHANGE };
enum { CHANGE_DELIVERY = 1 << 8, NO_REGISTER = -1 };
enum {
    FILM_TYPE_SHIFT = 60, FILM_COUNT_SHIFT = 32,
    FILM_SHORT_WORDS = 18,       /* of the `g` packet: general registers, the instruction pointer, flags with cs */
    FILM_MANY = 1 << 18,         /* two words tell which words follow */
    FILM_ICOUNT = 1 << 19, FILM_BRCTR = 1 << 20, FILM_REP = 1 << 21,
    FILM_AGAIN = 1 << 22,        /* the last instant once more: QEMU abandoned it, and begins anew; its accesses do not count */
    FILM_INFERRED = 1 << 23,     /* no instruction ran here: taken from the frame of the delivery that comes next */
    FILM_VAGUE = 1 << 24,        /* as before, but not all of it is known */
    FILM_PC = 1 << 25,
};
enum { ACCESS_WRITE = 1 << 16, ACCESS_MAPPED = 1 << 17, ACCESS_DEVICE = 1 << 18 };
enum film_doubt { DOUBT_PORT, DOUBT_DEVICE, DOUBT_DELIVERY, DOUBT_MANAGEMENT };

/* How blocks are translated now. `watched`: the number of the only register that is of interest, or NO_REGISTER. */
extern struct film_wanted { bool on, reads; int watched; } film_wanted OURS;

/* Can this register be watched? */
OURS bool is_watchable(uint64_t number);
/* From here on a new film is taken; hands over what is left of one. */
OURS void begin_film(void);
OURS void end_film(void);

#endif
