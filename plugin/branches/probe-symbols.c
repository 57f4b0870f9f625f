/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding QEMU's functions for probes, and making registers readable.
 */
#include "probe-symbols.h"
#include "../common/exports.h"
#include <execinfo.h>
#include <link.h>
#include <sys/mman.h>

__typeof__(more) more;

const char *find_more_symbols(void)
{
    static const struct wanted_export wanted[] = {
        { "cpu_get_phys_page_debug", &more.physical_page },
        { "cpu_physical_memory_is_io", &more.is_device },
        { "tb_flush", &more.flush_blocks },
        { "async_safe_run_on_cpu", &more.ask_cpu },
        { "cpu_unwind_state_data", &more.peek_instruction },
        { "cpu_cc_compute_all", &more.flags_of },
        { "raise_exception_ra", &more.raise },
        { "tcg_tb_lookup", &more.block_of },
    };
    const char *missing = find_exports(wanted, sizeof wanted / sizeof *wanted);
    if (missing)
        return missing;
    void *caller;
    backtrace(&caller, 1); /* loads what it needs */
    return NULL;
}

#if QEMU_PLUGIN_API == 1
/*
 * QEMU 7.2 keeps guest registers in host registers while it calls a plugin, because its note on that call says that
 * the call reads none ("no read globals", 1). When the note is 2, "writes none", it stores them first. A note is
 * found by the call's name.
 */
static struct note {
    const char *name; /* of the call */
    uint32_t *flags;  /* after the pointer to QEMU's own copy of the name, in a table; NULL: not found */
} notes[] = { { "plugin_vcpu_udata_cb", NULL }, { "plugin_vcpu_mem_cb", NULL } };
enum { NOTES = sizeof notes / sizeof *notes, NO_READ = 1, NO_WRITE = 2 };

/* For functions that search the program's memory, whose bounds sanitizers do not know. */
#define ANYWHERE __attribute__((no_sanitize("address", "thread")))

static ANYWHERE bool is_string(const char *at, const char *end, const char *wanted)
{
    size_t size = strlen(wanted) + 1, same = 0;
    while (same < size && at + same < end && at[same] == wanted[same])
        same++;
    return same == size;
}

/* Is it a pointer to the name of a call, in memory that the program may only read? */
static ANYWHERE bool is_name(const struct dl_phdr_info *program, uintptr_t word, const char *name)
{
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &program->dlpi_phdr[i];
        uintptr_t from = program->dlpi_addr + part->p_vaddr, end = from + part->p_filesz;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_R) && !(part->p_flags & PF_W) && word >= from && word < end)
            return is_string((const char *)word, (const char *)end, name);
    }
    return false;
}

static ANYWHERE void find_in_words(const struct dl_phdr_info *program, uintptr_t *word, const uintptr_t *end)
{
    for (; word + 2 <= end; word++) {
        uint32_t *flags = (uint32_t *)(word + 1);
        if (*flags != NO_READ && *flags != NO_WRITE)
            continue;
        for (int i = 0; i < NOTES; i++)
            if (!notes[i].flags && is_name(program, *word, notes[i].name))
                notes[i].flags = flags;
    }
}

static int find_in_program(struct dl_phdr_info *program, size_t size UNUSED, void *unused UNUSED)
{
    for (int i = 0; i < program->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &program->dlpi_phdr[i];
        uintptr_t from = program->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && (part->p_flags & PF_R) && (part->p_flags & PF_W))
            find_in_words(program, (uintptr_t *)from, (const uintptr_t *)(from + part->p_filesz));
    }
    return 1; /* the first is the program itself */
}

/* Are both notes there, and as expected? They are looked for the first time, which takes less than a millisecond. */
static bool find_notes(void)
{
    static bool looked;
    if (!looked)
        dl_iterate_phdr(find_in_program, NULL);
    looked = true;
    for (int i = 0; i < NOTES; i++)
        if (!notes[i].flags)
            return false;
    return true;
}

static bool store_registers_before(uint32_t *flags)
{
    uintptr_t page = (uintptr_t)flags & ~(uintptr_t)0xfff;
    if (*flags == NO_WRITE)
        return true;
    if (mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE) != 0)
        return false;
    *flags = NO_WRITE;
    return true;
}

bool are_notes_known(void)
{
    return find_notes();
}

bool make_registers_readable(void)
{
    return find_notes() && store_registers_before(notes[0].flags) && store_registers_before(notes[1].flags);
}
#else
bool are_notes_known(void)
{
    return true;
}

bool make_registers_readable(void)
{
    return true; /* here each callback requests it by itself */
}
#endif
