/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Which branch led from one block to the next. The rules are asked where the two blocks never followed one another
 * before; README.md lists them.
 */
#ifndef EXPLAIN_H
#define EXPLAIN_H

/* ---- Interrupt descriptors: which addresses are handlers, and of what ----------------------------------------- */

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

/* The handler's address in entry `vector`; 0 when it is none (empty, or a task gate). */
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
            *slot = vector;
            idt.offset[pc & 0xfff] = true;
        }
    }
    if (others)
        forget_successors(); /* a step that looked natural may be an interrupt from now on */
}

/* Reads the table again; with `all`, also where it is. About 1 us, with `all` 15 us. */
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

/* ---- Explaining one step ------------------------------------------------------------------------------------ */

/* How the machine came to an address: ran into it; left it by a fault; left it by an interrupt. */
enum manner { REACHED, FAULTED, INTERRUPTED };
enum { NO_RECORD = -1 };
struct explanation {
    bool found;
    uint32_t count; /* instructions of the block that ran */
    int kind;       /* of the record from its last instruction; or NO_RECORD */
};

/* Equal, but for an instruction pointer of 32 or 16 bits that has wrapped around. */
static bool same_address(uint64_t computed, uint64_t pc)
{
    if (computed == pc)
        return true;
    uint64_t distance = pc - computed;
    return pc >> 32 == 0 && ((uint32_t)computed == pc || distance == 0x10000 || distance == -(uint64_t)0x10000);
}

/* May `pc` be next when the block has run to its end? */
static bool ends_at(const struct block *block, uint64_t pc, int *kind)
{
    *kind = NO_RECORD;
    switch (block->ending) {
    case FALLS:
        return same_address(block->next, pc);
    case REPEATS:
        return pc == block->last || same_address(block->next, pc);
    case BRANCHES:
        if (same_address(block->next, pc))
            return true;
        *kind = CONDITIONAL;
        return same_address(block->target, pc);
    case GOES:
        *kind = block->kind;
        return same_address(block->target, pc);
    case TRAPS_OR_FALLS:
        if (same_address(block->next, pc))
            return true;
        *kind = block->kind;
        return true;
    case UNKNOWN:
        return true;
    default:
        *kind = block->kind;
        return true;
    }
}

/* Which instruction of the block is at `pc`; -1 for none. */
static int instruction_at(const struct block *block, uint64_t pc)
{
    uint64_t at = block->pc;
    if (pc < at || pc > block->last)
        return -1;
    for (uint32_t i = 0; i < block->count; at += block->sizes[i++])
        if (at == pc)
            return i;
    return -1;
}

static const struct block *entered; /* the block that is about to run; NULL when the machine is stopped */
static bool ran_whole(const struct block *block, enum manner manner);

/*
 * How `pc` came to be the next address after the block began. Either the block ran to its end, or it was left
 * in its middle, before the instruction at `pc`. Where both are possible, `finished` tells.
 */
static struct explanation explain(const struct block *block, uint64_t pc, enum manner manner)
{
    int kind, index = instruction_at(block, pc);
    bool ends = ends_at(block, pc, &kind);
    struct explanation whole = { ends, block->count, kind }, cut = { true, index, NO_RECORD };
    if (index < 0)
        return whole;
    if (!ends)
        return cut;
    if (block->ending == REPEATS)
        return manner == FAULTED && pc == block->last ? cut : whole;
    bool leaves_anywhere = block->ending >= GOES_ANY;
    if (block->marks)
        return !*finished || (manner == FAULTED && leaves_anywhere && pc == block->last) ? cut : whole;
    if (block->inside == index)
        return ran_whole(block, manner) ? whole : cut;
    return leaves_anywhere && manner != REACHED ? cut : whole;
}

/*
 * Iterations done of the rep instruction at `pc`, when the step there from the block took `count` instructions
 * and no record. (Iterations are instructions to QEMU; a block that holds one holds nothing behind it.)
 */
static uint64_t repeats_after(const struct block *block, uint64_t pc, uint64_t count)
{
    if (block->count == 0) /* at rest */
        return pc == block->pc ? run.repeats : 0;
    if (block->ending != REPEATS || pc != block->last)
        return 0;
    return block->count == 1 ? run.repeats + count : count / block->count;
}

/* Deliveries at the latest icount that had any, and the address that would have run next before them. */
static struct { uint64_t icount, count, origin, repeats; } delivered;

static struct { const struct block *block; uint64_t executed; } step; /* the one in progress */

static void record_delivery(uint64_t from, uint64_t to, enum branch_kind kind)
{
    if (delivered.count == 0 || delivered.icount != run.executed) {
        delivered.icount = run.executed;
        delivered.count = 0;
        delivered.origin = from;
        delivered.repeats = repeats_after(step.block, from, run.executed - step.executed);
    }
    delivered.count++;
    delivering = true;
    record(edge_between(from, to, kind));
    delivering = false;
}

/* Accounts for an explained step to `pc`. */
static void step_to(const struct block *block, uint64_t pc, struct explanation how)
{
    run.executed += how.count;
    if (how.kind != NO_RECORD)
        record(edge_between(block->last, pc, how.kind));
}

/* ---- Interrupts and exceptions ------------------------------------------------------------------------------ */

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
        if (pushed[CS] & 4) /* 32-bit code in a segment of its own */
            frame.pc = (uint32_t)(frame.pc + segment_base(pushed[CS]));
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

/* The lowest vector whose handler is at `pc`, among those with an error code or among all; -1: none. */
static int vector_of(uint64_t pc, bool error_code)
{
    int least = -1;
    for (int vector = next_vector(-1, pc); vector >= 0; vector = next_vector(vector, pc))
        if ((!error_code || has_error_code(vector)) && (least < 0 || vector < least))
            least = vector;
    return least;
}

/*
 * Is a delivery through `vector` with a frame of this shape an exception? Vectors 9 and 15 are none on today's
 * processors, and exceptions 8, 10 to 14 and 17 push an error code: without one it was a device. Real mode
 * pushes none, and the BIOS puts devices at 8 to 15: there only a fault inside a block is an exception.
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
 * Is it certain that the block's last instruction itself went to the handler at `pc`, whatever lies on the stack?
 * An older frame can lie there: a fault in a handler's first instruction returns to that instruction.
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

/* Instructions QEMU has counted, the block that is about to run included. */
static uint64_t count_of_qemu(void)
{
    qemu.icount_update(qemu.cpu);
    void *self = *qemu.current_cpu;
    *qemu.current_cpu = NULL; /* else it asks whether this is a place for I/O */
    uint64_t counted = qemu.icount_get_raw();
    *qemu.current_cpu = self;
    return counted;
}

/*
 * Did a block run to its end that leads back into itself, or was it left before the instruction that it leads to? One
 * that QEMU abandons it runs again in a block of its own. The last one is a jump here, and is never abandoned.
 */
static bool ran_whole(const struct block *block, enum manner manner)
{
    uint64_t whole = run.executed + block->count;
    if (block->inside == (int)block->count - 1 || (manner == REACHED && entered && entered->count > 1))
        return true;
    if (!entered)
        return (uint64_t)qemu.icount_get_raw() == whole;
    uint64_t counted = count_of_qemu();
    return counted - entered->count == whole || (entered->count == 1 && counted == whole); /* as below */
}

/*
 * QEMU counts an instruction that raised an exception as executed when the exception was found while
 * translating (an undefined opcode), not when it was found while running (a page fault): ask what it counted.
 * `handler`: the block that is about to run; NULL when the machine is stopped.
 */
static void count_as_qemu_does(const struct block *block, uint32_t began, const struct block *handler)
{
    uint64_t counted = handler ? count_of_qemu() : (uint64_t)qemu.icount_get_raw();
    uint64_t least = run.executed, most = run.executed + block->count, now = counted - (handler ? handler->count : 0);
    if (now >= least + began && now <= most)
        run.executed = now;
    else if (handler && handler->count == 1 && counted >= least + began && counted <= most)
        run.executed = counted; /* replay runs an instruction that is going to fault without counting it */
    else
        fail(EXIT_INEXACT, "QEMU counts %" PRIu64 " instructions behind %#" PRIx64 ", the plugin %" PRIu64 " to %" PRIu64,
             now, block->pc, least + began, most);
}

static bool frames_watched; /* a memory probe wants to be told of what deliveries push */
static void meet_frame(uint64_t linear, uint32_t size, uint64_t from, uint64_t icount);

/* The processor has pushed a frame at the instant (icount, from), which no callback shows. (A change of privilege pushes two words more outside long mode.) */
static void tell_frame(uint64_t sp, bool error_code, bool wide, uint64_t from, uint64_t icount)
{
    if (idt.mode == LONG)
        meet_frame(sp, (5 + error_code) * 8, from, icount);
    else
        meet_frame((uint32_t)(machine.ss_base + (machine.ss_flags & 0x400000 ? sp : sp & 0xffff)),
                   (3 + error_code) * (wide ? 4 : 2), from, icount);
}

/*
 * Explains how the handler at `pc`, with the stack at `sp`, came to run after the block. Deliveries can follow
 * on one another without an instruction between; then the older frame explains the younger.
 */
static bool explain_delivery(const struct block *block, uint64_t pc, uint64_t sp, int depth)
{
    bool trap = block->ending == TRAPS || block->ending == TRAPS_OR_FALLS;
    for (int error_code = idt.mode != REAL; error_code >= 0; error_code--) {
        int vector = vector_of(pc, error_code);
        if (vector < 0)
            continue;
        struct frame frame = read_frame(sp, error_code, idt.wide[vector]);
        if (!frame.plausible)
            continue;
        if (!error_code && trap && *finished && same_address(block->next, frame.pc)) {
            run.executed += block->count;
            if (unlikely(frames_watched))
                tell_frame(sp, error_code, idt.wide[vector], block->last, run.executed - 1);
            record_delivery(block->last, pc, block->kind);
            return true;
        }
        bool exception = is_exception(vector, error_code, block, frame.pc);
        enum branch_kind kind = exception ? EXCEPTION : INTERRUPT;
        if (depth < 4 && is_handler(frame.pc) && instruction_at(block, frame.pc) < 0 &&
            !went_to(block, frame.pc, frame.sp) && explain_delivery(block, frame.pc, frame.sp, depth + 1)) {
            if (unlikely(frames_watched))
                tell_frame(sp, error_code, idt.wide[vector], frame.pc, run.executed);
            record_delivery(frame.pc, pc, kind);
            return true;
        }
        struct explanation how = explain(block, frame.pc, exception ? FAULTED : INTERRUPTED);
        if (!how.found || (trap && how.kind != NO_RECORD))
            continue;
        uint64_t began = run.executed + how.count; /* an instruction refused at decoding will be counted */
        if (exception && how.kind == NO_RECORD && how.count < block->count) {
            count_as_qemu_does(block, how.count, entered);
            how.count = 0;
        }
        step_to(block, frame.pc, how);
        if (block->ending == REPEATS) /* an iteration is never refused: QEMU has counted one that ran */
            began = run.executed;
        if (unlikely(frames_watched))
            tell_frame(sp, error_code, idt.wide[vector], frame.pc, began);
        record_delivery(frame.pc, pc, kind);
        return true;
    }
    return false;
}

/* System management mode: entered without a frame; the state saved in its memory tells from where. */
static bool explain_smi(const struct block *block, uint64_t pc)
{
    enum { ENTRY = 0x8000, REVISION = 0x7efc, LONG_REVISION = 0x64 };
    enum { LONG_IP = 0x7f78, LONG_CS_BASE = 0x7e18, SHORT_IP = 0x7ff0, SHORT_CS_BASE = 0x7f98 };
    uint32_t revision, short_ip, short_base;
    uint64_t from, base;
    if (!machine.smm || machine.cs_base + ENTRY != pc || !read_memory(pc + REVISION, &revision, 4))
        return false;
    if ((revision & 0xff) == LONG_REVISION) {
        if (!read_memory(pc + LONG_IP, &from, 8) || !read_memory(pc + LONG_CS_BASE, &base, 8))
            return false;
        from += base;
    } else {
        if (!read_memory(pc + SHORT_IP, &short_ip, 4) || !read_memory(pc + SHORT_CS_BASE, &short_base, 4))
            return false;
        from = (uint32_t)(short_ip + short_base);
    }
    struct explanation how = explain(block, from, INTERRUPTED);
    if (!how.found)
        return false;
    step_to(block, from, how);
    record_delivery(from, pc, INTERRUPT);
    return true;
}

/* ---- One step: `pc` is next after the block began ------------------------------------------------------------- */

static uint64_t stack_pointer(void)
{
    if (idt.mode == LONG)
        return read_register(REGISTER_SP);
    read_machine();
    return machine.sp;
}

static bool explain_new_step(const struct block *block, uint64_t pc, struct explanation *how)
{
    for (int again = 0; again < 2; again++) {
        if (is_handler(pc)) {
            uint64_t sp = stack_pointer();
            if (went_to(block, pc, sp)) {
                *how = explain(block, pc, REACHED);
                step_to(block, pc, *how);
                return false;
            }
            if (explain_delivery(block, pc, sp, 0))
                return false;
            /* A handler's address reached by an ordinary branch. */
        }
        *how = explain(block, pc, REACHED);
        if (how->found && (again || !is_handler(pc))) {
            step_to(block, pc, *how);
            return !again;
        }
        read_idt(true);
    }
    if (explain_smi(block, pc))
        return false;
    if (unexplained++ < 20)
        fprintf(stderr,
                "vmtape plugin: no rule explains how %#" PRIx64 " came after the block %#" PRIx64 "..%#" PRIx64
                " (ending %d, brctr %" PRIu64 ")\n",
                pc, block->pc, block->last, block->ending, run.brctr);
    run.executed += block->count;
    record(edge_between(block->last, pc, FAR));
    return false;
}

/* Explains the step without help of what was learned; gives in `how` what may be learned from it. */
static bool explain_step(const struct block *block, uint64_t pc, struct explanation *how)
{
    step.block = block;
    step.executed = run.executed;
    bool certain = explain_new_step(block, pc, how);
    if (first_visits.wanted && !block->noted)
        note_first_visits(block, step.executed, run.executed - step.executed);
    return certain;
}

#include "marks.c"

/* Remembers a near successor, in the place of the one that came longest ago; or a far one, where there is room. */
static void learn(struct block *block, const struct pair *pair)
{
    int first = pair->near ? 0 : FIRST_FAR, i = first + (block->after[first].to != NULL);
    if (pair->then != pair->successor.to || (block->after[i].to && !pair->near))
        return;
    if (block->after[i].to) {
        block->after[first] = block->after[i];
        block->records[first] = block->records[i];
    }
    block->after[i] = pair->successor;
    block->records[i] = pair->record;
}

/*
 * Is the code of `next` behind the block enough to know that `next` is where the machine is? A piece of code may be
 * mapped at several addresses. But there are few addresses where the block itself can lead: it is enough when only one
 * of them, and no handler of an interrupt, has this place in its page.
 */
static bool is_near(const struct block *block, const struct block *next)
{
    uint64_t offset = next->pc & 0xfff, at = block->pc;
    bool leads = false, other = false;
    if (block->ending < FALLS || block->ending > GOES || offset == 0 /* system management mode */ || idt.offset[offset])
        return false;
    uint64_t ends[2] = { block->next, block->ending >= BRANCHES ? block->target : block->next };
    for (int i = 0; i < 2; i++)
        if ((ends[i] & 0xfff) == offset)
            leads |= ends[i] == next->pc, other |= ends[i] != next->pc;
    for (uint32_t i = 0; i < block->count; at += block->sizes[i++])
        if ((at & 0xfff) == offset)
            leads |= at == next->pc, other |= at != next->pc;
    return leads && !other;
}

/* May it be learned that the block leads to `next`, or could it mean something else another time? */
static bool is_certain(const struct block *block, const struct block *next)
{
    int kind, index = instruction_at(block, next->pc);
    if (index < 0 || !ends_at(block, next->pc, &kind))
        return true;
    if (index == block->inside && !block->marks) /* as in `ran_whole` */
        return next->count > 1 || index == (int)block->count - 1;
    return !block->marks;
}

static inline struct pair *pair_of(const struct block *block, const struct block *to, uint64_t ip)
{
    return &pairs[mix((uintptr_t)block * 3 + (uintptr_t)to + ip) & ((1 << PAIR_BITS) - 1)];
}

/* The code that was registered as `to` and runs as `next` came after the block. Caught up before. */
static NOINLINE void slow_step(struct block *block, struct block *next, const struct block *to)
{
    if (unlikely(mark_wanted))
        mark(block);
    struct pair *pair = pair_of(block, to, next->ip);
    if (unlikely(edge_arena.total > most_memory))
        forget_edges();
    if (recount) {
        /* A rep instruction that stored into itself: QEMU began an iteration, abandoned it, and runs it again. */
        recount = false;
        uint64_t now = count_of_qemu() - next->count;
        if (next->pc == block->last && now == run.executed + block->count - 1) {
            if (first_visits.wanted)
                note_first_visits(block, run.executed, block->count - 1);
            run.executed = now;
            return;
        }
    }
    if (!next->seen || block->loads_idt || !idt.known) {
        next->seen = true;
        read_idt(block->loads_idt);
    }
    struct explanation how;
    entered = next;
    if (!explain_step(block, next->pc, &how) || block->loads_idt || block->ending == UNKNOWN ||
        block == &parked.block || !is_certain(block, next))
        return;
    bool records = how.kind != NO_RECORD;
    pair->from = block;
    pair->successor = (struct successor){ .to = to, .delta = (uint64_t)how.count << 32 | records };
    pair->then = next;
    pair->record = records ? edge_between(block->last, next->pc, how.kind) : NULL;
    pair->near = is_near(block, next);
    learn(block, pair);
}

#endif
