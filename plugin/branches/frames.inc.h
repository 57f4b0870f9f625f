/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What the processor pushed before it entered a handler.
 */
#ifndef FRAMES_INC_H
#define FRAMES_INC_H

/* What the processor pushed before it entered a handler. */
struct frame { bool plausible; uint64_t pc, sp; };

static bool has_error_code(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 ||
           vector == 30;
}

static struct frame read_frame(uint64_t sp, bool error_code, bool wide)
{
    struct frame frame = { 0 };
    if (idt.mode == LONG) {
        uint64_t words[6], *pushed = words + error_code;
        if (!read_memory(sp, words, (5 + error_code) * 8) || (error_code && words[0] >> 32))
            return frame;
        enum { IP, CS, FLAGS, SP, SS };
        frame.plausible = pushed[CS] && pushed[CS] < 0x10000 && pushed[SS] < 0x10000 &&
                          (pushed[FLAGS] & 0xffffffffffc08002) == 2;
        frame.pc = pushed[IP];
        if (pushed[CS] & 4) /* 32-bit code in a segment of a local table */
            frame.pc = (uint32_t)(frame.pc + segment_base((unsigned)pushed[CS]));
        frame.sp = pushed[SP];
        return frame;
    }
    uint64_t linear = (uint32_t)(machine.ss_base + (machine.ss_flags & 0x400000 ? sp : sp & 0xffff));
    uint32_t ip, cs, flags;
    if (wide) {
        uint32_t words[4];
        if (!read_memory(linear, words, (3 + error_code) * 4))
            return frame;
        ip = words[error_code], cs = words[error_code + 1] & 0xffff, flags = words[error_code + 2];
    } else {
        uint16_t words[4];
        if (!read_memory(linear, words, (3 + error_code) * 2))
            return frame;
        ip = words[error_code], cs = words[error_code + 1], flags = words[error_code + 2];
    }
    bool paragraphs = idt.mode == REAL || (wide && flags & 0x20000);
    frame.plausible = (flags & 0x8002) == 2 || (flags & 2);
    frame.pc = (uint32_t)((paragraphs ? cs * 16 : segment_base(cs)) + ip);
    frame.sp = sp + (3 + error_code) * (wide ? 4 : 2);
    return frame;
}

/* The lowest vector whose handler is at `pc`, among those with an error code or among all; -1 when there is none. */
static int vector_of(uint64_t pc, bool error_code)
{
    int least = -1;
    for (int vector = next_vector(-1, pc); vector >= 0; vector = next_vector(vector, pc))
        if ((!error_code || has_error_code(vector)) && (least < 0 || vector < least))
            least = vector;
    return least;
}

/*
 * Is a delivery through `vector` with a frame of this shape an exception? Today's processors have no exceptions 9 and
 * 15. Exceptions 8, 10 to 14 and 17 push an error code, so without one the vector belongs to a device. In real mode
 * no exception pushes one, and the BIOS gives vectors 8 to 15 to devices, so that only a fault inside a block is an
 * exception there.
 */
static bool is_exception(int vector, bool error_code, const struct block *block, uint64_t pc)
{
    if (error_code)
        return true;
    if (vector >= 32 || vector == 2 || vector == 9 || vector == 15)
        return false;
    if (idt.mode == REAL && vector >= 8)
        return (vector == 12 || vector == 13) && instruction_at(block, pc) >= 0;
    return !has_error_code(vector);
}

/*
 * Is it certain that the block's last instruction itself went to the handler at `pc`, even if there is a frame on the
 * stack? It can be an older one: a fault in a handler's first instruction returns to that instruction.
 */
static bool went_to(const struct block *block, uint64_t pc, uint64_t sp)
{
    uint64_t target;
    uint64_t mask = idt.mode == LONG ? UINT64_MAX : 0xffff;
    if (block->ending != GOES_ANY || (block->marks && !*finished))
        return false;
    if (block->kind == RETURN) {
        sp -= block->pops;
        if (idt.mode == LONG)
            return read_memory(sp - 8, &target, 8) && target == pc;
        return (read_memory(sp - 4, &target, 4) && ((target ^ pc) & mask) == 0) ||
               (read_memory(sp - 2, &target, 2) && ((target ^ pc) & mask) == 0);
    }
    if (block->through >= 0)
        return ((read_register(block->through) ^ pc) & mask) == 0;
    if (!loaded_at)
        return false;
    if (block->through == THROUGH_STACK)
        target = loaded;
    else if (block->through != THROUGH_MEMORY || !read_memory(loaded_at, &target, sizeof target))
        return false;
    return ((target ^ pc) & mask) == 0;
}

#endif
