/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Writing bits, the lowest of each byte first.
 */
#ifndef BITS_H
#define BITS_H

#include "../common/base.h"

/* `held` has the `count` bits, fewer than 32, that are not written yet. */
struct bits { uint64_t held; uint32_t count; uint8_t *at, *start; };

/* Writes at most 32 bits. */
static inline void put_bits(struct bits *bits, uint64_t value, uint32_t count)
{
    bits->held |= value << bits->count;
    bits->count += count;
    if (bits->count >= 32) {
        memcpy(bits->at, &bits->held, 4);
        bits->at += 4;
        bits->held >>= 32;
        bits->count -= 32;
    }
}

static inline uint32_t length_of(uint64_t value)
{
    return value ? 64 - __builtin_clzll(value) : 0;
}

static inline void put_wide(struct bits *bits, uint64_t value, uint32_t count)
{
    uint32_t low = count < 32 ? count : 32;
    put_bits(bits, value & (((uint64_t)1 << low) - 1), low);
    if (count > 32)
        put_bits(bits, value >> 32 & (((uint64_t)1 << (count - 32)) - 1), count - 32);
}

/* Writes the bits of a number of `length` bits without its highest one. */
static inline void put_below(struct bits *bits, uint64_t value, uint32_t length)
{
    if (length > 1)
        put_wide(bits, value & ~((uint64_t)1 << (length - 1)), length - 1);
}

/* Writes a number, which takes few bits when it is below 2^least. */
static inline void put_number(struct bits *bits, uint64_t value, uint32_t least)
{
    uint32_t length = length_of(value);
    if (length <= least) {
        put_bits(bits, 1, 1);
        put_bits(bits, value, least);
    } else {
        put_wide(bits, 0, length - least);
        put_bits(bits, 1, 1);
        put_below(bits, value, length);
    }
}

static inline void start_bits(struct bits *bits)
{
    bits->held = bits->count = 0;
    bits->at = bits->start;
}

/* Writes the bits that are held back. Returns the number of bytes in all. */
static inline size_t end_bits(struct bits *bits)
{
    memcpy(bits->at, &bits->held, 4);
    return bits->at - bits->start + (bits->count + 7) / 8;
}

#endif
