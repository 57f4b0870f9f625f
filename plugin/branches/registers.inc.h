/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Registers, memory and the instruction count in the middle of a running block, where QEMU's own copies of the
 * instruction pointer and of the flags are behind, and on 7.2 to 8.2 all registers are, unless QEMU is told otherwise.
 */
#ifndef MACHINE_STATE_H
#define MACHINE_STATE_H

#include <execinfo.h>
#include <link.h>
#include <sys/mman.h>

/* ---- Where a callback is ------------------------------------------------------------------------------------------- */

/* A translated block with probes in it. */
struct probed_block {
    uint64_t base;   /* linear address minus instruction pointer */
    uint32_t count, size; /* instructions, bytes */
    uint32_t counted; /* see learn_counted() */
    bool known;
};
/* An instruction in it. */
struct site { struct probed_block *block; uint32_t index, offset; /* in the page */ };

/* The instant of the callback that is running. */
static struct {
    const struct site *site;
    uintptr_t host; /* where in QEMU's translated code */
    uint64_t pc;    /* linear */
} here;

static struct {
    uint64_t (*physical_page)(void *cpu, uint64_t page); /* UINT64_MAX: not mapped */
    bool (*is_device)(uint64_t physical);
    void (*flush_blocks)(void *cpu);
    void (*ask_cpu)(void *cpu, void (*work)(void *cpu, void *), void *); /* its thread, alone, when it is awake */
    bool (*peek_instruction)(void *cpu, uintptr_t host, uint64_t *data); /* what insn_start noted: pc, cc_op */
    uint64_t (*flags_of)(void *env, int cc_op);
    void (*raise)(void *env, int exception, uintptr_t host) __attribute__((noreturn));
    const char *(*block_of)(uintptr_t host);
} more;

/* The name of what this QEMU lacks, or NULL. */
static const char *find_more_symbols(void)
{
    static const struct { const char *name; void *at; } wanted[] = {
        { "cpu_get_phys_page_debug", &more.physical_page },
        { "cpu_physical_memory_is_io", &more.is_device },
        { "tb_flush", &more.flush_blocks },
        { "async_safe_run_on_cpu", &more.ask_cpu },
        { "cpu_unwind_state_data", &more.peek_instruction },
        { "cpu_cc_compute_all", &more.flags_of },
        { "raise_exception_ra", &more.raise },
        { "tcg_tb_lookup", &more.block_of },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!found)
            return wanted[i].name;
        memcpy(wanted[i].at, &found, sizeof found);
    }
    void *caller;
    backtrace(&caller, 1); /* loads what it needs */
    return NULL;
}

/*
 * Blocks are shared between virtual addresses of one physical page. All of a block's instructions begin in one page, and
 * the instruction pointer, behind as it may be, lies in that page, too.
 */
static inline uint64_t linear_pc(const struct site *site)
{
    return ((instruction_pointer() + site->block->base) & ~(uint64_t)0xfff) | site->offset;
}

/* ---- The instruction count ------------------------------------------------------------------------------------------ */

/*
 * How many of a block's instructions QEMU counts when the block begins. An instruction that is known to fault is replayed
 * in a block that is not counted at all; and 7.2 shows plugins one instruction too many where the last one lies across the
 * end of a page. QEMU's notes on the block tell: flags, on 7.2 a word that is 0, 16 bits of size, 16 bits of
 * instructions. Where they are is found by the latter two, of such a block, too: it may be the first that is met.
 */
static void learn_counted(struct probed_block *block, uintptr_t host)
{
    enum { FARTHEST = 64, NOTES_START = 8, LONGEST_INSTRUCTION = 15 };
    enum { COUNTED = 0x20000, NEWER_COUNTED = 0x2000, OLDER_FLAGS = 0xf00000 };
    static size_t notes_at;
    if (block->known)
        return;
    const char *notes = more.block_of(host);
    uint16_t found[2];
    uint32_t flags;
    block->known = true;
    for (size_t at = NOTES_START; !notes_at && notes && at < FARTHEST; at += 4) {
        memcpy(found, notes + at, 4);
        size_t more_bytes = block->size - found[0];
        bool without_last = found[1] && found[1] + 1u == block->count && more_bytes - 1 < LONGEST_INSTRUCTION;
        if ((found[0] == block->size && found[1] == block->count) || without_last)
            notes_at = at;
    }
    if (!notes || !notes_at)
        fail(EXIT_INEXACT, "this QEMU keeps its notes on blocks in another way");
    memcpy(found, notes + notes_at, 4);
    memcpy(&flags, notes + notes_at - 4, 4);
    if (!flags)
        memcpy(&flags, notes + notes_at - 8, 4);
    bool newer = QEMU_PLUGIN_API > 1 && !(flags & OLDER_FLAGS);
    block->counted = flags & (newer ? NEWER_COUNTED : COUNTED) ? found[1] : 0;
}

/* Instructions before the one at the site, by QEMU's own count. `host` is in the block's code. About 20 ns. */
static uint64_t icount_by_qemu(const struct site *site, uintptr_t host)
{
    learn_counted(site->block, host);
    return count_of_qemu() + site->index - site->block->counted;
}

/*
 * The place in translated code from which QEMU's own functions were called that have called us: 0 when there is none.
 * 7.2 can show accesses of an interrupt's delivery as if the last block made them.
 */
static uintptr_t translated_caller(uintptr_t host)
{
    enum { DEEPEST = 24 };
    void *callers[DEEPEST];
    if (more.block_of(host))
        return host;
    int depth = backtrace(callers, DEEPEST);
    for (int i = 1; i < depth; i++)
        if (more.block_of((uintptr_t)callers[i]))
            return (uintptr_t)callers[i];
    return 0;
}

/* ---- Registers ------------------------------------------------------------------------------------------------------ */

/*
 * The words around the instruction pointer's: the general registers before it (QEMU's order), then flags, the operands
 * of the last instruction that set flags (3), what that was (32 bits) and the direction.
 */
enum { REGISTER_FLAGS = 17, GENERAL = 16, REGISTERS = 66, WORD_CC_OP = 5, EIGHT = 8 };
static const uint8_t place_of[GENERAL] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
static struct { unsigned compared; bool known, other; } general;
static int cc_op_unknown = -1; /* "in the CPU's own word": what insn_start notes where a block begins */

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

/* At the start of a block, in 64-bit mode: are the general registers where they are thought to be? */
static NOINLINE void compare_general(void)
{
    enum { SAMPLES = 24 };
    for (unsigned i = 0; i < GENERAL; i++) {
        uint64_t value;
        if (!read_any_register(i, &value) || value != run.ip_word[(int)place_of[i] - GENERAL]) {
            general.other = true;
            return;
        }
    }
    general.known = ++general.compared >= SAMPLES;
}

static bool read_flags(uint64_t *value)
{
    enum { DIRECTION = 0x400, RESUME = 0x10000 };
    uint64_t noted[4] = { 0 };
    int32_t words[2];
    uint64_t quiet;
    if (!run.ip_word || general.other || !read_any_register(REGISTER_FLAGS, &quiet))
        return false;
    char *at = (char *)(run.ip_word + WORD_CC_OP);
    memcpy(words, at, sizeof words);
    int32_t cc_op = words[0];
    if (here.site->index > 0) {
        if (cc_op_unknown < 0 || !more.peek_instruction(qemu.cpu, here.host, noted))
            return false;
        if ((int)noted[1] != cc_op_unknown)
            cc_op = noted[1];
    }
    memcpy(at, &cc_op, sizeof cc_op); /* some versions take it from there */
    uint64_t flags = more.flags_of((void *)(run.ip_word - GENERAL), cc_op);
    memcpy(at, &words[0], sizeof words[0]);
    *value = quiet | (uint32_t)flags | (words[1] & DIRECTION);
    if (here.site->index > 0)
        *value &= ~(uint64_t)RESUME; /* ends with an instruction; QEMU ends it with the block */
    return true;
}

static bool agent_register(unsigned number, uint64_t *value)
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

/* All of them as QEMU's gdb stub gives them; NULL when that cannot be. About 1 us. */
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

/* Once before an instruction that is no block's first is asked for flags: a block's first has "unknown" noted. */
static NOINLINE void learn_cc_op(unsigned vcpu UNUSED, void *unused UNUSED)
{
    uint64_t noted[4] = { 0 };
    if (cc_op_unknown < 0 && more.peek_instruction(qemu.cpu, (uintptr_t)__builtin_return_address(0), noted))
        cc_op_unknown = noted[1];
}

#if QEMU_PLUGIN_API == 1
/*
 * QEMU 7.2 keeps guest registers in the host's while it calls a plugin, because it notes of that call that it reads none
 * ("no read globals", 1). With 2, "writes none", it stores them first. The note is found by the call's name; false when
 * it is not there, or not as expected.
 */
static struct { const char *name; uintptr_t word; bool found; } call_note;

static int find_in_program(struct dl_phdr_info *info, size_t size UNUSED, void *unused UNUSED)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < info->dlpi_phnum; i++) {
            const ElfW(Phdr) *part = &info->dlpi_phdr[i];
            char *from = (char *)(info->dlpi_addr + part->p_vaddr), *end = from + part->p_filesz;
            if (part->p_type != PT_LOAD || !(part->p_flags & PF_R))
                continue;
            if (pass == 0 && !(part->p_flags & PF_W)) {
                size_t length = strlen(call_note.name);
                char *found = from;
                /* Whole strings only. */
                while ((found = memmem(found, end - found, call_note.name, length + 1)) && found[-1] != 0)
                    found++;
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

static bool store_registers_before(const char *name)
{
    enum { NO_READ = 1, NO_WRITE = 2 };
    call_note.name = name;
    call_note.word = 0;
    call_note.found = false;
    dl_iterate_phdr(find_in_program, NULL);
    if (!call_note.found)
        return false;
    uint32_t *flags = (uint32_t *)call_note.word;
    if (*flags == NO_WRITE)
        return true;
    uintptr_t page = (uintptr_t)flags & ~(uintptr_t)0xfff;
    if (*flags != NO_READ || mprotect((void *)page, 0x1000, PROT_READ | PROT_WRITE) != 0)
        return false;
    *flags = NO_WRITE;
    return true;
}

/* Makes registers readable in callbacks of blocks translated from now on. */
static bool make_registers_readable(void)
{
    return store_registers_before("plugin_vcpu_udata_cb") && store_registers_before("plugin_vcpu_mem_cb");
}
#else
static bool make_registers_readable(void)
{
    return true; /* callbacks say so one by one */
}
#endif

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

/* Reads guest RAM at a linear address as the machine maps it now. Never a device: reading one could change it. */
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

static bool agent_memory(uint64_t address, void *to, size_t size)
{
    return read_ram(address, to, size);
}

#endif
