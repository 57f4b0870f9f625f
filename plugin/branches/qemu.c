/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding QEMU's functions, and reading the machine's state through them.
 */
#include "qemu.h"
#include "../common/exports.h"
#include "../common/fail.h"
#include "self-check.h"
#include <dlfcn.h>

__typeof__(qemu) qemu;
__typeof__(machine) machine;

const char *find_symbols(void)
{
    static const struct wanted_export wanted[] = {
        { "qemu_get_cpu", &qemu.get_cpu },
        { "x86_cpu_gdb_read_register", &qemu.read_register },
        { "cpu_memory_rw_debug", &qemu.read_memory },
        { "x86_cpu_dump_state", &qemu.dump_state },
        { "icount_update", &qemu.icount_update },
        { "icount_get_raw", &qemu.icount_get_raw },
        { "g_byte_array_new", &qemu.new_array },
        { "g_byte_array_set_size", &qemu.set_size },
    };
    const char *missing = find_exports(wanted, sizeof wanted / sizeof *wanted);
    if (missing)
        return missing;
    return dlsym(RTLD_DEFAULT, "current_cpu") ? NULL : "current_cpu";
}

void forgo_own_reversing(void)
{
    char **name = dlsym(RTLD_DEFAULT, "replay_snapshot");
    if (name && !*name)
        *name = strdup("none");
}

uint64_t read_register(int number)
{
    static __thread struct byte_array *array;
    uint64_t value = 0;
    if (!array)
        array = qemu.new_array();
    qemu.set_size(array, 0);
    int size = qemu.read_register(qemu.cpu, array, number);
    if (size < 4 || (unsigned)size > array->length)
        fail(EXIT_INEXACT, "cannot read register %d", number);
    memcpy(&value, array->data, size > 8 ? 8 : size);
    return value;
}

bool read_memory(uint64_t linear, void *to, size_t size)
{
    return qemu.read_memory(qemu.cpu, linear, to, size, false) == 0;
}

static bool parse(const char *text, const char *label, int count, uint64_t *values)
{
    const char *at = strstr(text, label);
    if (!at)
        return false;
    at += strlen(label);
    for (int i = 0; i < count; i++) {
        char *end;
        values[i] = strtoull(at, &end, 16);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

void read_machine(void)
{
    static char *text;
    static size_t size;
    static FILE *memory;
    uint64_t v[4] = { 0 };
    if (!memory)
        memory = must_have(open_memstream(&text, &size));
    rewind(memory);
    qemu.dump_state(qemu.cpu, memory, 0);
    fputc(0, memory);
    fflush(memory);
    bool ok = parse(text, "\nIDT=", 2, v);
    machine.idt = v[0], machine.idt_limit = (uint32_t)v[1];
    ok = ok && parse(text, "\nGDT=", 2, v);
    machine.gdt = v[0], machine.gdt_limit = (uint32_t)v[1];
    ok = ok && parse(text, "\nLDT=", 3, v);
    machine.ldt = v[1], machine.ldt_limit = (uint32_t)v[2];
    ok = ok && parse(text, "\nCS =", 4, v);
    machine.cs_base = v[1], machine.cs_flags = (uint32_t)v[3];
    ok = ok && parse(text, "\nSS =", 4, v);
    machine.ss_base = v[1], machine.ss_flags = (uint32_t)v[3];
    ok = ok && (parse(text, "\nRIP=", 1, v) || parse(text, "\nEIP=", 1, v));
    machine.ip = v[0];
    ok = ok && (parse(text, " RFL=", 1, v) || parse(text, " EFL=", 1, v));
    machine.flags = v[0];
    ok = ok && (parse(text, " RSP=", 1, v) || parse(text, " ESP=", 1, v));
    machine.sp = v[0];
    ok = ok && parse(text, "CR0=", 1, v);
    machine.cr0 = v[0];
    ok = ok && parse(text, "EFER=", 1, v);
    machine.efer = v[0];
    ok = ok && parse(text, " SMM=", 1, v);
    machine.smm = v[0];
    if (!ok)
        refuse_qemu("the text of the machine's state");
}
