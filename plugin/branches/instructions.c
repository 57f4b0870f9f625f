/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Reading instructions.
 */
#include "instructions.h"

static bool is_prefix(uint8_t byte)
{
    /* Outside 64-bit code 0x40…0x4f are not prefixes but instructions of one byte. */
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || (byte >= 0x64 && byte <= 0x67) ||
           byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || (byte >= 0x40 && byte <= 0x4f);
}

/* The signed number of `size` bytes (1, 2 or 4) that ends at `end`. */
static int64_t displacement(const uint8_t *end, size_t size)
{
    int16_t two;
    int32_t four;
    switch (size) {
    case 1:
        return (int8_t)end[-1];
    case 2:
        memcpy(&two, end - 2, 2);
        return two;
    default:
        memcpy(&four, end - 4, 4);
        return four;
    }
}

static void ends_by(struct last_instruction *last, enum ending ending, enum branch_kind kind)
{
    last->ending = ending;
    last->kind = kind;
}

static void read_last(struct last_instruction *last, const uint8_t *bytes, size_t size, uint64_t next)
{
    size_t at = 0;
    bool repeated = false;
    while (at + 1 < size && is_prefix(bytes[at])) {
        repeated |= bytes[at] == 0xf2 || bytes[at] == 0xf3;
        at++;
    }
    uint8_t op = bytes[at++];
    size_t rest = size - at;
    bool near = rest == 2 || rest == 4;
    const uint8_t *end = bytes + size;
    switch (op) {
    case 0x6c ... 0x6f: /* ins, outs */
    case 0xa4 ... 0xa7: /* movs, cmps */
    case 0xaa ... 0xaf: /* stos, lods, scas */
        if (repeated && rest == 0)
            last->ending = REPEATS;
        return;
    case 0x70 ... 0x7f: /* jcc */
    case 0xe0 ... 0xe3: /* loop, jcxz */
        if (rest != 1)
            return;
        ends_by(last, BRANCHES, CONDITIONAL);
        last->target = next + displacement(end, 1);
        return;
    case 0xeb:
        if (rest != 1)
            return;
        ends_by(last, GOES, JUMP);
        last->target = next + displacement(end, 1);
        return;
    case 0xe8:
    case 0xe9:
        if (!near)
            return;
        ends_by(last, GOES, op == 0xe8 ? CALL : JUMP);
        last->target = next + displacement(end, rest);
        return;
    case 0xc2: /* ret */
    case 0xc3:
        if (rest == (op == 0xc2 ? 2 : 0))
            ends_by(last, GOES_ANY, RETURN);
        if (rest == 2)
            last->pops = (uint16_t)displacement(end, 2);
        return;
    case 0xca: /* far ret */
    case 0xcb:
        if (rest == (op == 0xca ? 2 : 0))
            ends_by(last, GOES_ANY, FAR);
        last->through = THROUGH_STACK;
        return;
    case 0x9a: /* far call, jump */
    case 0xea:
        if (rest >= 4)
            ends_by(last, GOES_ANY, FAR);
        return;
    case 0xcf:
        ends_by(last, GOES_ANY, IRET);
        last->through = THROUGH_STACK;
        return;
    case 0xcc: /* int3 */
    case 0xf1: /* int1 */
        ends_by(last, TRAPS, EXCEPTION);
        return;
    case 0xcd: /* int n */
        if (rest == 1)
            ends_by(last, TRAPS, EXCEPTION);
        return;
    case 0xce:
        ends_by(last, TRAPS_OR_FALLS, EXCEPTION);
        return;
    case 0xff: {
        if (rest == 0)
            return;
        static const int8_t registers[8] = { 0, 2, 3, 1, 7, 6, 4, 5 }; /* gdb's order: rax rbx rcx rdx rsi rdi rbp rsp */
        int operation = bytes[at] >> 3 & 7, rm = bytes[at] & 7;
        bool from_memory = bytes[at] >> 6 != 3, high = at >= 2 && (bytes[at - 2] & 0xf1) == 0x41;
        if (operation == 2)
            ends_by(last, GOES_ANY, INDIRECT_CALL);
        else if (operation == 4)
            ends_by(last, GOES_ANY, INDIRECT_JUMP);
        else if ((operation == 3 || operation == 5) && from_memory)
            ends_by(last, GOES_ANY, FAR);
        last->through = (int8_t)(from_memory ? THROUGH_MEMORY : high ? 8 + rm : registers[rm]);
        return;
    }
    case 0x0f:
        break;
    default:
        return;
    }
    if (rest == 0)
        return;
    op = bytes[at++];
    rest--;
    switch (op) {
    case 0x05: /* syscall */
    case 0x34: /* sysenter */
        ends_by(last, GOES_ANY, SYSCALL);
        return;
    case 0x07: /* sysret */
    case 0x35: /* sysexit */
        ends_by(last, GOES_ANY, SYSRETURN);
        return;
    case 0xaa: /* rsm */
        ends_by(last, GOES_ANY, FAR);
        return;
    case 0x01:
        if (rest == 1 && (bytes[at] == 0xd8 || bytes[at] == 0xd9)) /* vmrun, vmmcall */
            ends_by(last, GOES_ANY, FAR);
        return;
    case 0x80 ... 0x8f: /* jcc */
        if (rest != 2 && rest != 4)
            return;
        ends_by(last, BRANCHES, CONDITIONAL);
        last->target = next + displacement(end, rest);
        return;
    }
}

struct last_instruction classify(const uint8_t *bytes, size_t size, uint64_t next)
{
    struct last_instruction last = { .ending = FALLS, .kind = JUMP, .through = THROUGH_OTHER };
    if (size > 0)
        read_last(&last, bytes, size, next);
    return last;
}

bool loads_idt(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at + 1 < size && is_prefix(bytes[at]))
        at++;
    if (at + 1 >= size || bytes[at] != 0x0f)
        return false;
    if (bytes[at + 1] == 0xaa)
        return true;
    return at + 2 < size && bytes[at + 1] == 0x01 && (bytes[at + 2] >> 3 & 7) == 3 && bytes[at + 2] >> 6 != 3;
}
