/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Breakpoints and watchpoints with conditions, answered in passing: a hit is told with its instant, and what was asked to
 * be collected there. Probes are set and removed while the machine is stopped (probe-commands.h).
 */
#ifndef PROBES_H
#define PROBES_H

/* ---- Probes --------------------------------------------------------------------------------------------------------- */

struct expression { uint8_t *code; size_t size; }; /* size 0: none */
struct item {
    enum { ALL_REGISTERS, SOME_REGISTERS, MEMORY, TEXT } kind;
    uint64_t registers; /* a bit for each */
    struct expression address, length;
    size_t most; /* bytes */
};
enum { MOST_ITEMS = 64, SEEN = 8, OFFSETS = 0x1000, PROBE_BITS = 12, GRANULES = 256, LONGEST_ACCESS = 16 };
struct access { uint64_t address, physical; uint32_t length; bool write, mapped; };
struct probe {
    struct probe *next, *same; /* in `all`; with the same hash */
    uint32_t id;
    unsigned accesses;         /* 0: of execution; else MEM_READ | MEM_WRITE */
    bool physical, stops;
    uint64_t address, length;
    struct expression when;
    struct item items[MOST_ITEMS];
    unsigned item_count;
    size_t most;               /* bytes of a record */
    uint64_t hits;
    /* What was met at the latest instant: it is not met again when QEMU abandons the instruction and restarts it. */
    uint64_t icount, pc;
    struct { uint64_t address; uint32_t length; bool write; } seen[SEEN];
    unsigned seen_count;
};

static struct {
    struct probe *all;
    struct probe *at[1 << PROBE_BITS]; /* of execution, by a hash of the address */
    bool filter[GRANULES];             /* may an access to these 16 bytes of any page be watched? */
    /* What blocks are translated with; may be more than is needed now. */
    struct { bool offsets[OFFSETS], registers; unsigned accesses; bool any; } instrumented;
} probes;

static bool following = true; /* branches */

/* The record that is being made. */
static struct { const struct probe *probe; const struct access *access; uint64_t icount; } hit;

static bool agent_special(unsigned opcode, uint64_t *value)
{
    const struct access *access = hit.access;
    switch (opcode) {
    case AGENT_ICOUNT:
        *value = hit.icount;
        return true;
    case AGENT_BRCTR:
        *value = brctr_now();
        return following;
    case AGENT_HIT:
        *value = hit.probe->hits;
        return true;
    case AGENT_ADDRESS:
        *value = access ? access->address : 0;
        return access != NULL;
    case AGENT_LENGTH:
        *value = access ? access->length : 0;
        return access != NULL;
    case AGENT_WRITE:
        *value = access && access->write;
        return access != NULL;
    default:
        *value = here.pc;
        return true;
    }
}

/* ---- Records -------------------------------------------------------------------------------------------------------- */

enum { PIECE_UNREADABLE, PIECE_WHOLE, PIECE_CUT };

static char *put_piece(char *at, size_t size, unsigned state)
{
    struct piece piece = { size, state };
    memcpy(at, &piece, sizeof piece);
    at += sizeof piece;
    memset(at + size, 0, -size & 7);
    return at + ((size + 7) & ~(size_t)7);
}

/* Up to `most` bytes before a NUL. */
static size_t read_text(uint64_t linear, char *to, size_t most, unsigned *state)
{
    size_t size = 0;
    *state = PIECE_CUT;
    while (size < most) {
        size_t chunk = 0x1000 - ((linear + size) & 0xfff);
        if (chunk > 256)
            chunk = 256;
        if (chunk > most - size)
            chunk = most - size;
        if (!read_ram(linear + size, to + size, chunk)) {
            *state = PIECE_UNREADABLE;
            return size;
        }
        char *end = memchr(to + size, 0, chunk);
        if (end) {
            *state = PIECE_WHOLE;
            return end - to;
        }
        size += chunk;
    }
    return size;
}

static char *put_registers(char *at, const struct item *item)
{
    size_t size = 0;
    if (item->kind == ALL_REGISTERS) {
        const uint8_t *all = read_all_registers(&size);
        if (all)
            memcpy(at + sizeof(struct piece), all, size);
        return put_piece(at, size, all ? PIECE_WHOLE : PIECE_UNREADABLE);
    }
    unsigned state = PIECE_WHOLE;
    for (uint64_t left = item->registers; left; left &= left - 1, size += 8) {
        uint64_t value = 0;
        if (!agent_register(__builtin_ctzll(left), &value))
            state = PIECE_UNREADABLE;
        memcpy(at + sizeof(struct piece) + size, &value, 8);
    }
    return put_piece(at, size, state);
}

static char *put_item(char *at, const struct item *item)
{
    uint64_t address, length = item->most;
    unsigned state = PIECE_WHOLE;
    if (item->kind <= SOME_REGISTERS)
        return put_registers(at, item);
    if (!agent_evaluate(item->address.code, item->address.size, &address) ||
        (item->length.size && !agent_evaluate(item->length.code, item->length.size, &length)))
        return put_piece(at, 0, PIECE_UNREADABLE);
    if (length > item->most)
        length = item->most, state = PIECE_CUT;
    char *to = at + sizeof(struct piece);
    if (item->kind == TEXT)
        length = read_text(address, to, length, &state);
    else if (!read_ram(address, to, length))
        length = 0, state = PIECE_UNREADABLE;
    return put_piece(at, length, state);
}

static void put_hit(const struct probe *probe, unsigned flags)
{
    char *start = hit_room(probe->most), *at = start + sizeof(struct hit);
    struct hit record = { 0, probe->id, hit.icount, following ? brctr_now() : UINT64_MAX, here.pc, probe->hits, flags, 0, 0, 0 };
    for (unsigned i = 0; i < probe->item_count; i++)
        at = put_item(at, &probe->items[i]);
    record.size = at - start;
    if (!hit.access && following && run.current->ending == REPEATS && run.current->count == 1)
        record.address = run.repeats;
    if (hit.access) {
        record.flags |= HIT_ACCESS | (hit.access->write ? HIT_WRITE : 0) | (hit.access->mapped ? HIT_PHYSICAL : 0);
        record.length = hit.access->length;
        record.address = hit.access->address;
        record.physical = hit.access->physical;
    }
    memcpy(start, &record, sizeof record);
    hit_done(record.size);
}

/* The probe is met, for the first time at this instant. Does it hold? */
static bool meet(struct probe *probe, unsigned flags)
{
    uint64_t holds = 1;
    probe->hits++;
    hit.probe = probe;
    if (probe->when.size) {
        if (!agent_evaluate(probe->when.code, probe->when.size, &holds))
            flags |= HIT_FAILED, holds = 1;
        if (!holds)
            return false;
    }
    put_hit(probe, flags);
    return true;
}

/* ---- Execution ------------------------------------------------------------------------------------------------------ */

static struct probe **probes_at(uint64_t pc)
{
    return &probes.at[mix(pc * 0x9e3779b97f4a7c15u) & ((1 << PROBE_BITS) - 1)];
}

static void park(uint64_t pc, uint64_t repeats);

/* The current block is left before the instruction `here`. */
static void rest_at(const struct site *site, uint64_t icount)
{
    bool repeats = run.current->ending == REPEATS && run.current->count == 1;
    catch_up();
    run.executed += site->index;
    if (run.executed != icount)
        fail(EXIT_INEXACT, "a stop at %" PRIu64 ", where %" PRIu64 " are counted", icount, run.executed);
    park(here.pc, repeats ? run.repeats : 0);
    go_on();
}

static NOINLINE void meet_execution(struct probe *probe, const struct site *site, uintptr_t host)
{
    enum { DEBUG_EXCEPTION = 0x10002 };
    uint64_t icount = following ? executed_now() + site->index : icount_by_qemu(site, host);
    bool stops = false, can_stop = run.ip_word && !general.other;
    here.site = site;
    here.host = host;
    hit.access = NULL;
    hit.icount = icount;
    for (; probe; probe = probe->same) {
        if (probe->address != here.pc || (probe->icount == icount && probe->pc == here.pc))
            continue;
        probe->icount = icount;
        probe->pc = here.pc;
        stops |= meet(probe, probe->stops && can_stop ? HIT_STOP : 0) && probe->stops && can_stop;
    }
    if (!stops)
        return;
    if (following)
        rest_at(site, icount);
    /* As a breakpoint of QEMU's own would: the machine stands before this instruction. */
    more.raise((void *)(run.ip_word - GENERAL), DEBUG_EXCEPTION, host);
}

/* Before an instruction whose offset in its page is a probe's. */
static NOINLINE void on_probed(unsigned vcpu UNUSED, void *udata)
{
    const struct site *site = udata;
    here.pc = linear_pc(site);
    struct probe *probe = *probes_at(here.pc);
    while (probe && probe->address != here.pc)
        probe = probe->same;
    if (probe)
        meet_execution(probe, site, (uintptr_t)__builtin_return_address(0));
}

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a - b < b_size || b - a < a_size;
}

/* Could the two overlap, by their places in a page? */
static bool may_overlap(const struct access *access, const struct probe *probe)
{
    return probe->length + access->length >= 0x1000 || ((access->address - probe->address) & 0xfff) < probe->length ||
           ((probe->address - access->address) & 0xfff) < access->length;
}

static bool translate(uint64_t linear, uint64_t *physical)
{
    uint64_t page = more.physical_page(qemu.cpu, linear & ~(uint64_t)0xfff);
    *physical = page | (linear & 0xfff);
    return page != UINT64_MAX;
}

/* `mapped` and `physical` of the access are known. */
static bool touches_physically(const struct access *access, const struct probe *probe)
{
    uint64_t room = 0x1000 - (access->address & 0xfff), physical;
    uint64_t first = access->length < room ? access->length : room;
    if (access->mapped && overlap(access->physical, first, probe->address, probe->length))
        return true;
    for (uint64_t done = first; done < access->length; done += 0x1000) {
        uint64_t left = access->length - done;
        if (translate(access->address + done, &physical) &&
            overlap(physical, left < 0x1000 ? left : 0x1000, probe->address, probe->length))
            return true;
    }
    return false;
}

/* Has the probe been met by this access at this instant already? */
static bool met_before(struct probe *probe, const struct access *access, uint64_t icount)
{
    if (probe->icount != icount || probe->pc != here.pc) {
        probe->icount = icount;
        probe->pc = here.pc;
        probe->seen_count = 0;
    }
    for (unsigned i = 0; i < probe->seen_count; i++)
        if (probe->seen[i].address == access->address && probe->seen[i].length == access->length &&
            probe->seen[i].write == access->write)
            return true;
    if (probe->seen_count < SEEN)
        probe->seen[probe->seen_count++] = (typeof(probe->seen[0])){ access->address, access->length, access->write };
    return false;
}

/* An access at the instant `here`, whose count is asked for only when it is needed. */
static void meet_access(struct access *access, unsigned flags, uint64_t (*icount)(const struct site *, uintptr_t))
{
    bool translated = access->mapped, counted = false;
    for (struct probe *probe = probes.all; probe; probe = probe->next) {
        if (!(probe->accesses & (access->write ? MEM_WRITE : MEM_READ)) || !may_overlap(access, probe))
            continue;
        if (!probe->physical && !overlap(access->address, access->length, probe->address, probe->length))
            continue;
        if (!translated)
            access->mapped = translate(access->address, &access->physical), translated = true;
        if (probe->physical && !touches_physically(access, probe))
            continue;
        if (!counted)
            hit.icount = icount(here.site, here.host), counted = true;
        hit.access = access;
        if (!met_before(probe, access, hit.icount))
            meet(probe, flags);
    }
}

static NOINLINE void accessed(uint32_t info, uint64_t linear, const struct site *site, uintptr_t host)
{
    host = translated_caller(host);
    if (!host)
        return;
    struct access access = { .address = linear, .length = 1u << qemu_plugin_mem_size_shift(info),
                             .write = qemu_plugin_mem_is_store(info) };
#if QEMU_PLUGIN_API > 1 /* earlier, the answer was a place in QEMU's memory blocks */
    const struct qemu_plugin_hwaddr *physical = qemu_plugin_get_hwaddr(info, linear);
    if (physical && !qemu_plugin_hwaddr_is_io(physical)) {
        access.physical = qemu_plugin_hwaddr_phys_addr(physical);
        access.mapped = true;
    }
#endif
    here.site = site;
    here.host = host;
    here.pc = linear_pc(site);
    meet_access(&access, 0, icount_by_qemu);
}

static void on_access(unsigned vcpu UNUSED, uint32_t info, uint64_t linear, void *udata)
{
    if (unlikely(probes.filter[linear / LONGEST_ACCESS % GRANULES]))
        accessed(info, linear, udata, (uintptr_t)__builtin_return_address(0));
}

static uint64_t icount_of_frame;

static uint64_t icount_of_delivery(const struct site *site UNUSED, uintptr_t host UNUSED)
{
    return icount_of_frame;
}

/* A delivery wrote `size` bytes to the stack at `linear`, at the instant (icount, from). */
static NOINLINE void meet_frame(uint64_t linear, uint32_t size, uint64_t from, uint64_t icount)
{
    static struct probed_block nowhere;
    static const struct site site = { .block = &nowhere };
    struct access access = { .address = linear, .length = size, .write = true };
    here.site = &site;
    here.pc = from;
    icount_of_frame = icount;
    meet_access(&access, HIT_DELIVERY, icount_of_delivery);
}

/* ---- Translation ---------------------------------------------------------------------------------------------------- */

static struct arena site_arena;
static bool translated_since_flush;

/* What to ask QEMU for. QEMU 7.2 mistakes its own codes (plugin-gen.c, op_rw): who asks for reads alone gets writes alone.
 * What comes unasked is passed over in meet_access. */
static unsigned wanted_accesses(void)
{
    unsigned accesses = probes.instrumented.accesses;
    return QEMU_PLUGIN_API == 1 && (accesses & MEM_READ) ? MEM_READ | MEM_WRITE : accesses;
}

/* Puts the probes' callbacks into a block that is being translated. */
static void probe_block(struct qemu_plugin_tb *tb)
{
    struct probed_block *block = NULL;
    int registers = probes.instrumented.registers ? CB_READ_REGISTERS : CB_NO_REGS;
    uint32_t count = qemu_plugin_tb_n_insns(tb);
    for (uint32_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t pc = qemu_plugin_insn_vaddr(insn);
        bool probed = probes.instrumented.offsets[pc % OFFSETS];
        if (!probed && !probes.instrumented.accesses)
            continue;
        if (!block) {
            uint64_t start = qemu_plugin_tb_vaddr(tb);
            block = take(&site_arena, sizeof *block);
            struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
            uint32_t size = qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last) - start;
            *block = (struct probed_block){ .base = start - instruction_pointer(), .count = count, .size = size };
            if (registers && cc_op_unknown < 0)
                qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), learn_cc_op, registers, NULL);
            if (registers && run.ip_word && !general.known && !general.other && start >> 32)
                compare_general();
        }
        struct site *site = take(&site_arena, sizeof *site);
        *site = (struct site){ block, i, pc % OFFSETS };
        if (probed)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_probed, registers, site);
        if (probes.instrumented.accesses)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, registers, wanted_accesses(), site);
    }
}

#endif
