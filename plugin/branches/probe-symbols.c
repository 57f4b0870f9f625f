/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding them, and making registers readable.
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
 * QEMU 7.2 keeps guest registers in the host's while it calls a plugin, because it notes of that call that it reads none
 * ("no read globals", 1). With 2, "writes none", it stores them first. The note is found by the call's name; false when
 * it is not there, or not as expected.
 */
static struct { const char *name; uintptr_t word; bool found; } call_note;

/* Looks through all of the program's memory, which has no bounds that sanitizers know. */
#define ANYWHERE __attribute__((no_sanitize("address", "thread")))

/* The whole string in it, between two NULs; NULL: it is not there. */
static ANYWHERE const char *find_string(const char *from, const char *end, const char *wanted)
{
    size_t size = strlen(wanted) + 1;
    for (const char *at = from + 1; at + size <= end; at++) {
        size_t same = 0;
        while (!at[-1] && same < size && at[same] == wanted[same])
            same++;
        if (same == size)
            return at;
    }
    return NULL;
}

static ANYWHERE int find_in_program(struct dl_phdr_info *info, size_t size UNUSED, void *unused UNUSED)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const ElfW(Phdr) *part = &info->dlpi_phdr[i];
            char *from = (char *)(info->dlpi_addr + part->p_vaddr), *end = from + part->p_filesz;
            if (part->p_type != PT_LOAD || !(part->p_flags & PF_R))
                continue;
            if (pass == 0 && !(part->p_flags & PF_W)) {
                const char *found = find_string(from, end, call_note.name);
                if (found)
                    call_note.word = (uintptr_t)found;
            } else if (pass == 1 && part->p_flags & PF_W && call_note.word) {
                for (uintptr_t *word = (uintptr_t *)from; (char *)(word + 2) <= end; word++)
                    if (*word == call_note.word) {
                        call_note.word = (uintptr_t)(word + 1);
                        call_note.found = true;
                        return 1;
                    }
            }
        }
    return 1; /* the first is the program itself */
}

enum { NO_READ = 1, NO_WRITE = 2 };

/* The note on calls of the helper; NULL when it is not there, or none that we know. */
static uint32_t *find_note(const char *name)
{
    call_note.name = name;
    call_note.word = 0;
    call_note.found = false;
    dl_iterate_phdr(find_in_program, NULL);
    uint32_t *flags = (uint32_t *)call_note.word;
    return call_note.found && (*flags == NO_READ || *flags == NO_WRITE) ? flags : NULL;
}

static bool store_registers_before(const char *name)
{
    uint32_t *flags = find_note(name);
    uintptr_t page = (uintptr_t)flags & ~(uintptr_t)0xfff;
    if (!flags || (*flags != NO_WRITE && mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE) != 0))
        return false;
    if (*flags != NO_WRITE)
        *flags = NO_WRITE;
    return true;
}

bool are_notes_known(void)
{
    return find_note("plugin_vcpu_udata_cb") && find_note("plugin_vcpu_mem_cb");
}

bool make_registers_readable(void)
{
    return store_registers_before("plugin_vcpu_udata_cb") && store_registers_before("plugin_vcpu_mem_cb");
}
#else
bool are_notes_known(void)
{
    return true;
}

bool make_registers_readable(void)
{
    return true; /* callbacks say so one by one */
}
#endif
