/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Checking where the registers are: they are set to unusual values, which are looked for in the CPU object; then the
 * old values are restored.
 */
#include "self-check.h"
#include "../common/fail.h"
#include "hits.h"
#include "probe-symbols.h"
#include "run.h"

#include <dlfcn.h>
#include <malloc.h>

void refuse_qemu(const char *what)
{
    fail(EXIT_INEXACT, "this QEMU keeps %s otherwise than 7.2 to 10.2 do: replay with one of those, or see \"What it trusts\" in "
                       "vmtape's plugin/README.md", what);
}

enum { GENERAL = 16, LEGACY = 8, MAGIC = 0x5eed1000, STEP = 0x111, MOST_FLAGS = 0x8d5, DIRECTION = 0x400, FIXED = 2 };
enum { FLAGS_WORD = 1, RESULT_WORD, SOURCE_WORD, OPERATION_WORD = 5, LAYOUT = GENERAL + OPERATION_WORD + 1 };
static uint64_t *pointer_word;

bool is_instruction_pointer(const uint64_t *word)
{
    return !pointer_word || word == pointer_word;
}

const uint64_t *tried_pointer(void)
{
    return pointer_word;
}

/* Outside 64-bit mode only eight registers can be set, with 32 bits each. */
static int (*write_register)(void *cpu, uint8_t *bytes, int number);

static void set_register(int number, uint32_t value)
{
    uint8_t bytes[8] = { 0 };
    memcpy(bytes, &value, sizeof value);
    write_register(qemu.cpu, bytes, number);
}

/* The word whose lower half follows the instruction pointer; NULL unless there is exactly one. */
static uint64_t *find_pointer(void)
{
    char *object = qemu.cpu;
    size_t size = malloc_usable_size(qemu.cpu);
    uint64_t *found = NULL;
    for (size_t at = GENERAL * 8; at + LAYOUT * 8 <= size; at += 8) {
        uint64_t *word = (uint64_t *)(void *)(object + at);
        uint64_t before = *word;
        set_register(REGISTER_IP, MAGIC + STEP);
        bool follows = (uint32_t)*word == MAGIC + STEP;
        set_register(REGISTER_IP, MAGIC);
        follows &= (uint32_t)*word == MAGIC;
        if (follows && found)
            return NULL;
        if (follows)
            found = word;
        else if (*word != before)
            return NULL;
    }
    return found;
}

/* Writes what an instruction that sets flags leaves into the CPU object, and checks the flags that QEMU then
 * gives. */
static bool are_flags_there(uint64_t *pointer)
{
    /* The operation whose flags are its source operand is 1 in 7.2, and 0 from 9.0 on, where 1 with this
     * destination means the same. */
    for (int32_t operation = 0; operation <= 1; operation++) {
        int32_t words[2] = { operation, -1 /* the direction flag: backwards */ };
        pointer[RESULT_WORD] = 1;
        pointer[SOURCE_WORD] = MOST_FLAGS;
        memcpy(pointer + OPERATION_WORD, words, sizeof words);
        read_machine();
        if ((machine.flags & (MOST_FLAGS | DIRECTION)) == (MOST_FLAGS | DIRECTION))
            return (uint32_t)more.flags_of(pointer - GENERAL, operation) == MOST_FLAGS;
    }
    return false;
}

/* What in the CPU object is not as expected; NULL when everything is. */
static const char *compare_registers(uint64_t *pointer)
{
    static const int places[LEGACY] = { 0, 3, 1, 2, 6, 7, 5, 4 }; /* gdb's numbers to the processor's */
    for (int i = 0; i < LEGACY; i++)
        set_register(i, MAGIC + (uint32_t)i * STEP);
    for (int i = 0; i < LEGACY; i++)
        if ((uint32_t)pointer[places[i] - GENERAL] != MAGIC + (uint32_t)i * STEP)
            return "general registers";
    set_register(REGISTER_FLAGS, FIXED | DIRECTION);
    if ((uint32_t)pointer[FLAGS_WORD] != (FIXED | DIRECTION))
        return "flags";
    pointer[FLAGS_WORD] = FIXED;
    return hits_fd < 0 || are_flags_there(pointer) ? NULL : "flags"; /* those of operations are for probes */
}

void check_processor(plugin_id id UNUSED, unsigned vcpu)
{
    uint64_t kept[LAYOUT];
    if (vcpu != 0 || pointer_word)
        return;
    qemu.cpu = qemu.get_cpu(0);
    *(void **)&write_register = dlsym(RTLD_DEFAULT, "x86_cpu_gdb_write_register");
    if (!qemu.cpu || !write_register)
        refuse_qemu(qemu.cpu ? "the writing of registers" : "its processors");
    read_machine();
    if (machine.ip != read_register(REGISTER_IP) || machine.cr0 != read_register(REGISTER_CR0) ||
        machine.efer != read_register(REGISTER_EFER))
        refuse_qemu("the numbers of registers");
    if (machine.efer & 0x400)
        return; /* it has run, so nothing can be tried out: the instruction pointer is found by comparing alone */
    uint64_t ip = read_register(REGISTER_IP);
    set_register(REGISTER_IP, MAGIC);
    uint64_t *pointer = find_pointer();
    if (pointer)
        set_register(REGISTER_IP, (uint32_t)ip);
    if (!pointer || *pointer != ip)
        refuse_qemu("the instruction pointer");
    memcpy(kept, pointer - GENERAL, sizeof kept);
    const char *otherwise = compare_registers(pointer);
    memcpy(pointer - GENERAL, kept, sizeof kept);
    if (otherwise)
        refuse_qemu(otherwise);
    pointer_word = pointer;
}
