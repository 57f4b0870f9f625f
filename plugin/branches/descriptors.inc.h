/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Interrupt descriptors: which addresses are handlers, and of which vectors.
 */
#ifndef DESCRIPTORS_INC_H
#define DESCRIPTORS_INC_H

enum mode { REAL, PROTECTED, LONG };
enum { VECTORS = 256, HANDLER_SLOTS = 1024 };
static struct {
    bool known;
    enum mode mode;
    size_t size;
    uint8_t bytes[VECTORS * 16];
    uint64_t handler[VECTORS]; /* linear; 0: none */
    bool wide[VECTORS];        /* pushes 32 bits a word (long mode: always 64) */
    bool offset[0x1000];       /* of a handler in its page */
    int16_t first[HANDLER_SLOTS], next[VECTORS];
} idt;

static enum mode mode_of(uint64_t cr0, uint64_t efer)
{
    return !(cr0 & 1) ? REAL : efer & 0x400 ? LONG : PROTECTED;
}

static uint64_t segment_base(unsigned selector)
{
    uint64_t table = selector & 4 ? machine.ldt : machine.gdt, descriptor;
    uint32_t limit = selector & 4 ? machine.ldt_limit : machine.gdt_limit;
    if (!(selector & ~3u) || (selector | 7) > limit || !read_memory(table + (selector & ~7u), &descriptor, 8))
        return 0;
    return (descriptor >> 16 & 0xffffff) | descriptor >> 56 << 24;
}

static int next_vector(int vector, uint64_t pc)
{
    vector = vector < 0 ? idt.first[mix(pc) & (HANDLER_SLOTS - 1)] : idt.next[vector];
    while (vector >= 0 && idt.handler[vector] != pc)
        vector = idt.next[vector];
    return vector;
}

static bool is_handler(uint64_t pc)
{
    return next_vector(-1, pc) >= 0;
}

/* The address of the handler in entry `vector`; 0 when there is none (an empty entry, or a task gate). */
static uint64_t gate(int vector, bool *wide)
{
    uint16_t words[8] = { 0 };
    size_t size = idt.mode == REAL ? 4 : idt.mode == PROTECTED ? 8 : 16;
    *wide = false;
    if ((vector + 1) * size > idt.size)
        return 0;
    memcpy(words, idt.bytes + vector * size, size);
    if (idt.mode == REAL)
        return words[1] * 16u + words[0];
    unsigned type = words[2] >> 8 & 0x1f;
    bool present = words[2] >> 15;
    if (!present || (type != 6 && type != 7 && type != 14 && type != 15))
        return 0;
    *wide = type >= 14;
    if (idt.mode == LONG)
        return words[0] | (uint64_t)words[3] << 16 | (uint64_t)words[4] << 32 | (uint64_t)words[5] << 48;
    return (uint32_t)((words[0] | (*wide ? (uint32_t)words[3] << 16 : 0)) + segment_base(words[1]));
}

static void build_handlers(void)
{
    bool others = false;
    memset(idt.first, 0xff, sizeof idt.first);
    memset(idt.offset, 0, sizeof idt.offset);
    for (int vector = 0; vector < VECTORS; vector++) {
        uint64_t pc = gate(vector, &idt.wide[vector]);
        others |= pc && pc != idt.handler[vector];
        idt.handler[vector] = pc;
        idt.next[vector] = -1;
        if (pc) {
            int16_t *slot = &idt.first[mix(pc) & (HANDLER_SLOTS - 1)];
            idt.next[vector] = *slot;
            *slot = (int16_t)vector;
            idt.offset[pc & 0xfff] = true;
        }
    }
    if (others)
        forget_successors(); /* a step that was taken for an ordinary branch may be an interrupt from now on */
}

/* Reads the table again; with `all`, also its address. Cost: about 1 us, with `all` 15 us. */
static void read_idt(bool all)
{
    uint8_t bytes[sizeof idt.bytes];
    if (!all)
        all = !idt.known || mode_of(read_register(REGISTER_CR0), read_register(REGISTER_EFER)) != idt.mode;
    if (all) {
        read_machine();
        idt.mode = mode_of(machine.cr0, machine.efer);
        idt.known = true;
    }
    size_t size = VECTORS * (idt.mode == REAL ? 4 : idt.mode == PROTECTED ? 8 : 16);
    if (size > machine.idt_limit + (size_t)1)
        size = machine.idt_limit + (size_t)1;
    if (!read_memory(machine.idt, bytes, size))
        size = 0;
    if (!all && size == idt.size && !memcmp(bytes, idt.bytes, size))
        return;
    memcpy(idt.bytes, bytes, size);
    idt.size = size;
    build_handlers();
}

#endif
