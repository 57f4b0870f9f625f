/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Classes of instructions, by their opcodes (Intel SDM, volume 2, appendix A).
 */
#include "film-classes.h"

/* Opcodes that change only general registers and flags: a bit for each, the lowest for the first opcode of the
 * row. */
static const uint16_t one_byte[16] = {
    [0x0] = 0x3f3f, [0x1] = 0x3f3f, [0x2] = 0x3f3f, [0x3] = 0x3f3f, /* arithmetic */
    [0x5] = 0xffff,                                                 /* push, pop */
    [0x6] = 0xff08,                                                 /* movsxd, push, imul, ins, outs */
    [0x7] = 0xffff,                                                 /* jcc */
    [0x8] = 0x3fff,                                                 /* arithmetic, mov, lea */
    [0x9] = 0xf3ff,                                                 /* xchg, cbw, cwd, pushf, popf, sahf, lahf */
    [0xa] = 0xffff, [0xb] = 0xffff,                                 /* mov, string instructions, test */
    [0xc] = 0x030f,                                                 /* shifts, ret, enter, leave */
    [0xd] = 0x008f,                                                 /* shifts, xlat */
    [0xe] = 0xfbff,                                                 /* loop, in, out, call, jmp */
    [0xf] = 0x7fe0,                                                 /* cmc, not … div, clc … std, inc */
};
static const uint16_t two_bytes[16] = {
    [0x0] = 0x2000,                 /* prefetchw */
    [0x1] = 0xff00,                 /* hints, endbr, nop */
    [0x3] = 0x0002,                 /* rdtsc */
    [0x4] = 0xffff,                 /* cmov */
    [0x8] = 0xffff, [0x9] = 0xffff, /* jcc, set */
    [0xa] = 0xb83c,                 /* cpuid, bt, shld, bts, shrd, imul */
    [0xb] = 0xfdcb,                 /* cmpxchg, btr, movzx, popcnt, bt, btc, bsf, bsr, movsx */
    [0xc] = 0xff0b,                 /* xadd, movnti, bswap */
};

/* An instruction's opcode after its prefixes. */
struct opcode { bool known, two, simd; uint8_t code, modrm; };

static bool is_prefix(uint8_t byte)
{
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 || byte == 0x65 || byte == 0x66 ||
           byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3;
}

static struct opcode opcode_of(const uint8_t *bytes, size_t size)
{
    struct opcode opcode = { .known = false };
    size_t at = 0;
    for (; at < size && (is_prefix(bytes[at]) || (bytes[at] & 0xf0) == 0x40 /* REX; before another prefix it means nothing */); at++)
        opcode.simd |= bytes[at] == 0x66 || bytes[at] == 0xf2 || bytes[at] == 0xf3;
    if (at < size && bytes[at] == 0x0f)
        opcode.two = true, at++;
    if (at >= size)
        return opcode;
    opcode.known = true;
    opcode.code = bytes[at];
    opcode.modrm = at + 1 < size ? bytes[at + 1] : 0;
    return opcode;
}

bool changes_general_alone(const uint8_t *bytes, size_t size)
{
    struct opcode opcode = opcode_of(bytes, size);
    unsigned reg = opcode.modrm >> 3 & 7, mode = opcode.modrm >> 6;
    if (!opcode.known)
        return false;
    if (!opcode.two) {
        switch (opcode.code) {
        case 0x8f: case 0xc6: case 0xc7:
            return reg == 0;
        case 0xff:
            return reg < 7 && reg != 3 && reg != 5;
        }
        return one_byte[opcode.code >> 4] >> (opcode.code & 15) & 1;
    }
    switch (opcode.code) {
    case 0x38: /* movbe, crc32 */
        return opcode.modrm == 0xf0 || opcode.modrm == 0xf1;
    case 0xae: /* fences */
        return !opcode.simd && mode == 3 && reg >= 5;
    case 0xc7: /* cmpxchg8b, cmpxchg16b */
        return mode != 3 && reg == 1;
    }
    return two_bytes[opcode.code >> 4] >> (opcode.code & 15) & 1;
}

int port_written(const uint8_t *bytes, size_t size)
{
    struct opcode opcode = opcode_of(bytes, size);
    if (!opcode.known || opcode.two)
        return NO_PORT;
    if (opcode.code == 0xe6 || opcode.code == 0xe7)
        return opcode.modrm; /* the byte after the opcode */
    return opcode.code == 0xee || opcode.code == 0xef || opcode.code == 0x6e || opcode.code == 0x6f ? PORT_IN_DX : NO_PORT;
}
