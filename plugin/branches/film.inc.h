/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Films: what happens before each instruction, and at each access to memory, while one is taken. An instruction that can change
 * general registers and flags alone (film-classes.h) is followed by looking at these; after any other all are read.
 */
#ifndef FILM_INC_H
#define FILM_INC_H

#include "film-classes.h"

struct film_wanted film_wanted = { .watched = NO_REGISTER };

/* An instruction of a block that is filmed. */
struct film_site {
    struct site site;
    struct film_block { struct probed_block probed; uint8_t width; } *block; /* 16, 32 or 64 bits; 0: not known yet */
    uint64_t address;   /* where it ran first in this film */
    uint32_t code;      /* its number; 0: it has not run */
    uint8_t size, bytes[16];
    int32_t cc_op;      /* what flags come from, as noted when it was translated */
    bool noted, plain;  /* `plain`: it changes general registers and flags alone */
    int port;           /* to which it writes; see film-classes.h */
};

enum { G_WORDS = 128, WORD_IP = 16, WORD_FLAGS = 17, FILM_WORDS = 1 << 13, FILM_RECORD_ID = -1, PAGE_FAULT = 14 };
struct cc { uint64_t flags, operands[3]; int32_t op, direction; };
static struct {
    uint64_t icount, pc, brctr;   /* of the instant told last */
    bool begun, whole, faulted;   /* `whole`: read all registers at the next instant; `faulted`: a page fault came since the last */
    uint32_t codes;
    uint8_t width;                /* of the code that runs; 0: not known */
    size_t words;                 /* of the `g` packet */
    uint64_t g[G_WORDS];          /* as told last */
    struct cc cc;
    uintptr_t low, high;          /* between these, code is translated */
    size_t used;
    uint64_t buffer[FILM_WORDS];
} film;

static void begin_watch(void);
static void end_watch(void);

static void send_film(void)
{
    size_t bytes = film.used * 8, size = sizeof(struct hit) + sizeof(struct piece) + bytes;
    if (!film.used)
        return;
    char *start = hit_room(size);
    struct hit record = { (uint32_t)size, (uint32_t)FILM_RECORD_ID, film.icount, film.brctr, film.pc, 0, 0, 0, 0, 0 };
    struct piece piece = { (uint32_t)bytes, PIECE_WHOLE };
    memcpy(start, &record, sizeof record);
    memcpy(start + sizeof record, &piece, sizeof piece);
    memcpy(start + sizeof record + sizeof piece, film.buffer, bytes);
    hit_done(size);
    film.used = 0;
}

/* Gives room for so many words; sends what is in the buffer when there is none. */
static inline uint64_t *film_room(size_t words)
{
    if (unlikely(film.used + words > FILM_WORDS))
        send_film();
    return film.buffer + film.used;
}

void begin_film(void)
{
    film.begun = false;
    film.whole = true;
    film.used = 0;
    film.codes = 0;
    film.width = 0;
    begin_watch();
}

void end_film(void)
{
    if (film_wanted.watched != NO_REGISTER)
        end_watch();
    send_film();
}

static void tell_doubt(enum film_doubt why, uint64_t where)
{
    if (film_wanted.watched != NO_REGISTER)
        return;
    uint64_t *at = film_room(2);
    at[0] = (uint64_t)FILM_UNSURE << FILM_TYPE_SHIFT | why;
    at[1] = where;
    film.used += 2;
}

/* ---- Instants ------------------------------------------------------------------------------------------------------- */

/* Tells an instant with the registers `now`, of which `many` words are to be compared with those told last. */
static inline void tell_instant(uint64_t icount, uint64_t pc, uint64_t rep, const uint64_t *now, size_t many, uint32_t flags,
                                const struct film_site *site)
{
    uint64_t *start = film_room(G_WORDS + 9), *at = start + 2, changed[2] = { 0 };
    uint64_t brctr = brctr_now();
    flags |= (icount != film.icount + 1 || !film.begun) ? FILM_ICOUNT : 0;
    flags |= (brctr != film.brctr || !film.begun) ? FILM_BRCTR : 0;
    flags |= rep ? FILM_REP : 0;
    flags |= !site || site->address != pc ? FILM_PC : 0;
    if (flags & FILM_PC)
        *at++ = pc;
    if (flags & FILM_ICOUNT)
        *at++ = icount;
    if (flags & FILM_BRCTR)
        *at++ = brctr;
    if (flags & FILM_REP)
        *at++ = rep;
    film.g[WORD_IP] = pc; /* what is taken for granted */
    for (size_t i = 0; i < many; i++)
        if (now[i] != film.g[i])
            changed[i / 64] |= 1ull << i % 64;
    if (!film.begun)
        changed[0] = UINT64_MAX, changed[1] = many > 64 ? (1ull << (many - 64)) - 1 : 0;
    if (changed[1] || changed[0] >> FILM_SHORT_WORDS) {
        flags |= FILM_MANY;
        *at++ = changed[0];
        *at++ = changed[1];
    } else {
        flags |= (uint32_t)changed[0];
    }
    uint64_t *values = at;
    for (size_t half = 0; half < 2; half++)
        for (uint64_t left = changed[half]; left; left &= left - 1) {
            size_t i = half * 64 + (size_t)__builtin_ctzll(left);
            *at++ = film.g[i] = now[i];
        }
    start[0] = (uint64_t)FILM_INSTANT << FILM_TYPE_SHIFT | (uint64_t)(at - values) << FILM_COUNT_SHIFT | flags;
    start[1] = site ? site->code : 0;
    film.used += (size_t)(at - start);
    film.icount = icount;
    film.brctr = brctr;
    film.pc = pc;
    film.begun = true;
}

/* All registers as the `g` packet has them, in words. */
static size_t read_block(uint64_t *words)
{
    size_t size = 0;
    const uint8_t *all = read_all_registers(&size);
    if (!all || size > G_WORDS * 8)
        fail(EXIT_INEXACT, "cannot read the registers at icount %" PRIu64, film.icount);
    memset(words, 0, G_WORDS * 8);
    memcpy(words, all, size);
    return film.words = (size + 7) / 8;
}

static inline struct cc cc_now(int32_t op)
{
    struct cc cc = { 0 };
    int32_t words[2];
    cc.flags = run.ip_word[1];
    memcpy(cc.operands, run.ip_word + 2, sizeof cc.operands);
    memcpy(words, run.ip_word + WORD_CC_OP, sizeof words);
    cc.op = op == cc_op_unknown ? words[0] : op; /* else the word is not up to date */
    cc.direction = words[1];
    return cc;
}

/* How wide is the code that runs? It stays so until an instruction that may change the segment, or a delivery. */
static uint8_t code_width(uint64_t pc)
{
    enum { LONG_CODE = 0x200000, WIDE_CODE = 0x400000 };
    if (pc >> 32)
        return 64;
    if (!film.width) {
        read_machine();
        bool is_long = mode_of(machine.cr0, machine.efer) == LONG && (machine.cs_flags & LONG_CODE);
        film.width = is_long ? 64 : machine.cs_flags & WIDE_CODE ? 32 : 16;
    }
    return film.width;
}

/* An instruction runs for the first time. */
static NOINLINE void tell_code(struct film_site *site)
{
    uint64_t *at = film_room(4);
    site->address = here.pc;
    site->code = ++film.codes;
    at[0] = (uint64_t)FILM_CODE << FILM_TYPE_SHIFT | (uint64_t)site->code << 16 | (uint64_t)site->block->width << 8 | site->size;
    at[1] = site->address;
    memcpy(at + 2, site->bytes, sizeof site->bytes);
    film.used += 4;
}

static NOINLINE void note_site(struct film_site *site, uintptr_t host)
{
    site->noted = noted_cc_op(&site->site, host, &site->cc_op);
    if (!site->block->width)
        site->block->width = code_width(here.pc);
    if (!site->code && film_wanted.watched == NO_REGISTER)
        tell_code(site);
    if (!film.low || host < film.low)
        film.low = host;
    if (host > film.high)
        film.high = host;
}

/* Ports of devices that neither read nor write memory: interrupt controllers, timers, keyboard, clock, serial ports. */
static bool is_harmless_port(unsigned port)
{
    static const struct { uint16_t first, last; } harmless[] = {
        { 0x20, 0x21 }, { 0x40, 0x43 }, { 0x60, 0x64 }, { 0x70, 0x71 }, { 0x80, 0x80 }, { 0xa0, 0xa1 }, { 0xed, 0xed },
        { 0x2e8, 0x2ef }, { 0x2f8, 0x2ff }, { 0x3b0, 0x3df }, { 0x3e8, 0x3ef }, { 0x3f8, 0x3ff }, { 0xcf8, 0xcfb },
    };
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (port >= harmless[i].first && port <= harmless[i].last)
            return true;
    return false;
}

/* A port is about to be written. */
static NOINLINE void film_port(int port)
{
    enum { RDX = 3 };
    unsigned number = (unsigned)(port == PORT_IN_DX ? film.g[RDX] & 0xffff : (uint64_t)port);
    if (!is_harmless_port(number))
        tell_doubt(DOUBT_PORT, number);
}

/* Before an instruction. */
static void on_filmed(unsigned vcpu UNUSED, void *udata)
{
    struct film_site *site = udata;
    uintptr_t host = (uintptr_t)__builtin_return_address(0);
    here.pc = linear_pc(&site->site);
    here.site = &site->site;
    here.host = host;
    if (unlikely(!site->noted))
        note_site(site, host);
    struct reached at = reached_here(&site->site, host);
    uint64_t icount = at.icount, rep = at.repeats;
    bool again = film.begun && icount == film.icount && here.pc == film.pc;
    struct cc cc = cc_now(site->cc_op);
    if (likely(!film.whole && site->block->width == 64 && general.known)) {
        uint64_t now[FILM_SHORT_WORDS];
        for (unsigned i = 0; i < GENERAL; i++)
            now[i] = run.ip_word[(int)place_of[i] - GENERAL];
        now[WORD_IP] = here.pc;
        now[WORD_FLAGS] = film.g[WORD_FLAGS];
        if (memcmp(&cc, &film.cc, sizeof cc))
            now[WORD_FLAGS] = (now[WORD_FLAGS] & ~(uint64_t)UINT32_MAX) | (uint32_t)flags_from(cc.flags, site->cc_op);
        tell_instant(icount, here.pc, rep, now, FILM_SHORT_WORDS, again ? FILM_AGAIN : 0, site);
    } else {
        uint64_t now[G_WORDS];
        read_block(now);
        tell_instant(icount, here.pc, rep, now, film.words, again ? FILM_AGAIN : 0, site);
    }
    film.cc = cc;
    film.faulted = false;
    film.whole = !site->plain;
    film.width = site->plain ? site->block->width : 0;
    if (unlikely(site->port != NO_PORT))
        film_port(site->port);
}

/* ---- Accesses ------------------------------------------------------------------------------------------------------- */

/* Devices that read and write no memory: the interrupt controllers, and the event timer. */
static bool is_harmless_device(uint64_t physical)
{
    uint64_t page = physical & ~(uint64_t)0xfff;
    return page == 0xfee00000 || page == 0xfec00000 || page == 0xfed00000;
}

/* A record of an access, without the bytes: where these go. */
static uint64_t *tell_access(const struct access *access, bool device)
{
    size_t words = access->write && !device ? (access->length + 7) / 8 : 0;
    uint64_t *at = film_room(3 + words);
    at[0] = (uint64_t)FILM_ACCESS << FILM_TYPE_SHIFT | access->length | (access->write ? ACCESS_WRITE : 0) |
            (access->mapped ? ACCESS_MAPPED : 0) | (device ? ACCESS_DEVICE : 0);
    at[1] = access->address;
    at[2] = access->mapped ? access->physical : 0;
    if (words)
        at[2 + words] = 0;
    film.used += 3 + words;
    return at + 3;
}

/* Tells it in pieces that lie in one page each. */
static void tell_pieces(struct access access)
{
    for (uint32_t left = access.length; left > 0; left -= access.length, access.address += access.length) {
        uint32_t room = 0x1000 - (access.address & 0xfff);
        access.length = left < room ? left : room;
        access.mapped = translate(access.address, &access.physical);
        bool device = access.mapped && more.is_device(access.physical);
        void *to = tell_access(&access, device);
        if (access.write && !device && !read_memory(access.address, to, access.length))
            fail(EXIT_INEXACT, "cannot read what was written at %#" PRIx64, access.address);
        if (device) {
            film.whole = true;
            if (access.write && !is_harmless_device(access.physical))
                tell_doubt(DOUBT_DEVICE, access.physical);
        }
    }
}

static void on_filmed_access(unsigned vcpu UNUSED, uint32_t info, uint64_t linear, void *udata UNUSED)
{
    uintptr_t host = (uintptr_t)__builtin_return_address(0);
    struct access access = { .address = linear, .length = 1u << qemu_plugin_mem_size_shift(info),
                             .write = qemu_plugin_mem_is_store(info) };
    if (!film.begun || (!access.write && !film_wanted.reads))
        return;
    if (host < film.low || host > film.high) {
        host = translated_caller(host);
        if (!host)
            return; /* a delivery's: its frame is told as one */
    }
    tell_pieces(access);
}

/* ---- Deliveries ----------------------------------------------------------------------------------------------------- */

/*
 * CR2 at an instant whose delivery is told now. A page fault changes it: before the first one it is what it was, and what is read now
 * is that of the youngest. False: it lies between two.
 */
static bool restore_cr2(const struct pushed *delivery, uint64_t *words)
{
    enum { CR2_BYTE = 196, CR2_BYTES = 8 };
    if (film.faulted)
        return delivery->vector != PAGE_FAULT && delivery->younger == 0;
    memcpy((char *)words + CR2_BYTE, (const char *)film.g + CR2_BYTE, CR2_BYTES);
    return true;
}

/* Registers at an instant at which no instruction ran: those of now, but for what the frame of the delivery there holds. */
static bool read_from_frame(const struct pushed *delivery, uint64_t *words)
{
    enum { IP, CS, FLAGS, SP, SS };
    static struct probed_block nowhere;
    static const struct site site = { .block = &nowhere };
    uint64_t frame[6] = { 0 }, *pushed = frame + delivery->error_code;
    here.site = &site;
    here.pc = delivery->from;
    read_block(words);
    words[WORD_IP] = delivery->from;
    if (!restore_cr2(delivery, words) || idt.mode != LONG ||
        !read_memory(delivery->sp, frame, (5 + delivery->error_code) * 8))
        return false;
    words[REGISTER_SP] = pushed[SP];
    words[WORD_IP] = pushed[IP];
    words[WORD_FLAGS] = (uint32_t)pushed[FLAGS] | pushed[CS] << 32;
    words[WORD_FLAGS + 1] = (words[WORD_FLAGS + 1] & ~(uint64_t)UINT32_MAX) | (uint32_t)pushed[SS];
    return true;
}

/* Did the last instruction itself end with it? A single step of the processor's own (TF), or a breakpoint of its registers. */
static bool is_end_of_step(const struct pushed *pushed)
{
    enum { DEBUG = 1 };
    return pushed->vector == DEBUG;
}

#include "film-changes.inc.h"

/* An interrupt or exception was delivered, and wrote `size` bytes at `linear`. */
static NOINLINE void film_delivery(const struct pushed *pushed, uint64_t linear, uint32_t size)
{
    if (film_wanted.watched != NO_REGISTER) {
        watch_delivery(pushed);
        return;
    }
    /* What stands at the film's first instant is known without us. */
    if (film.begun && !is_end_of_step(pushed) && (pushed->icount != film.icount || pushed->from != film.pc)) {
        uint64_t words[G_WORDS];
        bool known = read_from_frame(pushed, words);
        uint64_t rep = repeats_after(step.block, pushed->from, pushed->icount - step.executed);
        tell_instant(pushed->icount, pushed->from, rep, words, film.words, FILM_INFERRED | (known ? 0 : FILM_VAGUE), NULL);
    }
    uint64_t *at = film_room(3);
    at[0] = (uint64_t)FILM_DELIVERY << FILM_TYPE_SHIFT;
    at[1] = pushed->icount;
    at[2] = pushed->from;
    film.used += 3;
    film.pc = UINT64_MAX; /* what comes next is another instant */
    film.faulted |= pushed->vector == PAGE_FAULT;
    film.whole = true;
    film.width = 0;
    tell_pieces((struct access){ .address = linear, .length = size, .write = true });
    if (idt.mode != LONG)
        tell_doubt(DOUBT_DELIVERY, pushed->from);
}

/* System management mode was entered: the processor saved its state in memory. */
static NOINLINE void film_management(uint64_t from)
{
    watched.due = true;
    film.whole = true;
    film.width = 0;
    film.pc = UINT64_MAX;
    tell_doubt(DOUBT_MANAGEMENT, from);
}

/* ---- Translation ---------------------------------------------------------------------------------------------------- */

/* Puts the callbacks into a block that is being translated. */
static void film_block(struct qemu_plugin_tb *tb)
{
    struct film_block *block = take(&site_arena, sizeof *block);
    uint32_t count = (uint32_t)qemu_plugin_tb_n_insns(tb);
    uint64_t start = qemu_plugin_tb_vaddr(tb);
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
    uint32_t size = (uint32_t)(qemu_plugin_insn_vaddr(last) + qemu_plugin_insn_size(last) - start);
    block->probed = (struct probed_block){ .base = start - instruction_pointer(), .count = count, .size = size };
    if (cc_op_unknown < 0)
        qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), learn_cc_op, CB_READ_REGISTERS, NULL);
    if (run.ip_word && !general.known && start >> 32)
        compare_general();
    bool watches = film_wanted.watched != NO_REGISTER, due = true;
    for (uint32_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        struct film_site *site = take(&site_arena, sizeof *site);
        site->size = (uint8_t)read_instruction(insn, site->bytes);
        site->site = (struct site){ &block->probed, i, qemu_plugin_insn_vaddr(insn) % OFFSETS };
        site->block = block;
        site->plain = changes_general_alone(site->bytes, site->size);
        site->port = port_written(site->bytes, site->size);
        if (watches) {
            if (is_general(film_wanted.watched) || due || !site->plain)
                qemu_plugin_register_vcpu_insn_exec_cb(insn, on_watched, CB_READ_REGISTERS, site);
            due = !site->plain;
            continue;
        }
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_filmed, CB_READ_REGISTERS, site);
        qemu_plugin_register_vcpu_mem_cb(insn, on_filmed_access, CB_READ_REGISTERS,
                                         asked_accesses(film_wanted.reads ? MEM_READ | MEM_WRITE : MEM_WRITE), site);
    }
}

#endif
