/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Reading registers and memory within a running block. There QEMU's own copies of the instruction pointer and of the
 * flags are out of date; on 7.2 to 8.2 all registers are, unless QEMU is made to store them.
 */
#ifndef REGISTERS_INC_H
#define REGISTERS_INC_H

/*
 * The words around the instruction pointer's: before it the general registers, in QEMU's order; after it the flags,
 * the three operands of the last instruction that set flags, that instruction's operation (32 bits), and the
 * direction flag.
 */
enum { GENERAL = 16, REGISTERS = 66, WORD_CC_OP = 5, EIGHT = 8 };
static const uint8_t place_of[GENERAL] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
static struct { unsigned compared; bool known; } general;
static int cc_op_unknown = -1; /* noted by insn_start at a block's beginning: "in the CPU's own word" */

static bool read_any_register(unsigned number, uint64_t *value)
{
    static __thread struct byte_array *array;
    if (!array)
        array = qemu.new_array();
    qemu.set_size(array, 0);
    int size = qemu.read_register(qemu.cpu, array, number);
    if (size <= 0 || size > EIGHT || (unsigned)size > array->length)
        return false;
    *value = 0;
    memcpy(value, array->data, size);
    return true;
}

/* Called at the start of a block, in 64-bit mode: are the general registers in the expected words? */
static NOINLINE void compare_general(void)
{
    enum { SAMPLES = 24 };
    for (unsigned i = 0; i < GENERAL; i++) {
        uint64_t value;
        if (!read_any_register(i, &value) || value != run.ip_word[(int)place_of[i] - GENERAL]) {
            refuse_qemu("general registers"); /* those that exist only in 64-bit mode */
        }
    }
    general.known = ++general.compared >= SAMPLES;
}

/* The operation from which the flags come at an instruction, as noted at its translation, or `cc_op_unknown`.
 * False when it cannot be known. */
static bool noted_cc_op(const struct site *site, uintptr_t host, int32_t *cc_op)
{
    uint64_t noted[4] = { 0 };
    *cc_op = cc_op_unknown;
    if (site->index == 0)
        return true;
    if (cc_op_unknown < 0 || !more.peek_instruction(qemu.cpu, host, noted))
        return false;
    *cc_op = (int32_t)noted[1];
    return true;
}

/* The flags at the instruction `here`. `quiet`: the flags that QEMU stores directly. `noted`: from noted_cc_op. */
static uint64_t flags_from(uint64_t quiet, int32_t noted)
{
    enum { DIRECTION = 0x400, RESUME = 0x10000 };
    int32_t words[2];
    char *at = (char *)(run.ip_word + WORD_CC_OP);
    memcpy(words, at, sizeof words);
    int32_t cc_op = here.site->index == 0 || noted == cc_op_unknown ? words[0] : noted;
    memcpy(at, &cc_op, sizeof cc_op); /* some versions take it from there */
    uint64_t flags = more.flags_of((void *)(run.ip_word - GENERAL), cc_op);
    memcpy(at, &words[0], sizeof words[0]);
    flags = quiet | (uint32_t)flags | (words[1] & DIRECTION);
    /* The processor clears RF after an instruction, QEMU after the block. */
    return here.site->index > 0 ? flags & ~(uint64_t)RESUME : flags;
}

static bool read_flags(uint64_t *value)
{
    uint64_t quiet;
    int32_t noted;
    if (!run.ip_word || !read_any_register(REGISTER_FLAGS, &quiet) || !noted_cc_op(here.site, here.host, &noted))
        return false;
    *value = flags_from(quiet, noted);
    return true;
}

bool agent_register(unsigned number, uint64_t *value)
{
    if (number < GENERAL && general.known && here.pc >> 32) {
        *value = run.ip_word[(int)place_of[number] - GENERAL];
        return true;
    }
    if (number == REGISTER_IP) {
        *value = here.pc - here.site->block->base;
        return true;
    }
    return number == REGISTER_FLAGS ? read_flags(value) : read_any_register(number, value);
}

/* All registers as in the `g` packet of QEMU's GDB stub; NULL when that is not possible. Cost: about 1 us. */
static const uint8_t *read_all_registers(size_t *size)
{
    enum { IP_BYTE = 16 * 8, FLAGS_BYTE = 17 * 8, LEAST_BYTES = FLAGS_BYTE + 4 };
    static struct byte_array *array;
    uint64_t ip, flags;
    if (!array)
        array = qemu.new_array();
    qemu.set_size(array, 0);
    for (unsigned i = 0; i < REGISTERS; i++)
        qemu.read_register(qemu.cpu, array, i);
    if (array->length < LEAST_BYTES || !agent_register(REGISTER_IP, &ip) || !agent_register(REGISTER_FLAGS, &flags))
        return NULL;
    memcpy(array->data + IP_BYTE, &ip, 8);
    memcpy(array->data + FLAGS_BYTE, &flags, 4);
    *size = array->length;
    return array->data;
}

/* Learns the value that means "unknown". It is called before a block's first instruction, where insn_start has
 * noted that value. */
static NOINLINE void learn_cc_op(unsigned vcpu UNUSED, void *unused UNUSED)
{
    uint64_t noted[4] = { 0 };
    if (cc_op_unknown < 0 && more.peek_instruction(qemu.cpu, (uintptr_t)__builtin_return_address(0), noted))
        cc_op_unknown = (int)noted[1];
}

/* Reads guest RAM at a linear address as the machine maps it now. Never reads a device, since that could change
 * it. */
static bool read_ram(uint64_t linear, void *to, size_t size)
{
    while (size > 0) {
        size_t chunk = 0x1000 - (linear & 0xfff);
        if (chunk > size)
            chunk = size;
        uint64_t page = more.physical_page(qemu.cpu, linear & ~(uint64_t)0xfff);
        if (page == UINT64_MAX || more.is_device(page) || !read_memory(linear, to, chunk))
            return false;
        to = (char *)to + chunk;
        linear += chunk;
        size -= chunk;
    }
    return true;
}

bool agent_memory(uint64_t address, void *to, size_t size)
{
    return read_ram(address, to, size);
}

#endif
