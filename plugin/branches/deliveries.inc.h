/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Interrupts, exceptions and system management mode: transfers of control that no instruction makes.
 */
#ifndef DELIVERIES_INC_H
#define DELIVERIES_INC_H

/* The instructions that QEMU has counted, with those of the block that is about to run. */
static uint64_t count_of_qemu(void)
{
    qemu.icount_update(qemu.cpu);
    void *self = *qemu.current_cpu;
    *qemu.current_cpu = NULL; /* otherwise it would check whether I/O is allowed here */
    uint64_t counted = qemu.icount_get_raw();
    *qemu.current_cpu = self;
    return counted;
}

/*
 * For a block whose last instruction leads back into the block: did it run to its end, or was it left before the
 * instruction to which it leads? QEMU runs an abandoned instruction again in a block of its own. The last instruction
 * here is a jump, which is never abandoned.
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
 * Sets the count to QEMU's own after an exception. QEMU counts the instruction that raised it as executed when the
 * exception was found while translating (an undefined opcode), but not when it was found while running (a page
 * fault). `handler`: the block that is about to run; NULL when the machine is stopped.
 */
static void count_as_qemu_does(const struct block *block, uint32_t began, const struct block *handler)
{
    uint64_t counted = handler ? count_of_qemu() : (uint64_t)qemu.icount_get_raw();
    uint64_t least = run.executed, most = run.executed + block->count, now = counted - (handler ? handler->count : 0);
    if (now >= least + began && now <= most)
        run.executed = now;
    else if (handler && handler->count == 1 && counted >= least + began && counted <= most)
        run.executed = counted; /* a replay runs an instruction that is about to fault without counting it */
    else
        fail(EXIT_INEXACT, "QEMU counts %" PRIu64 " instructions behind %#" PRIx64 ", the plugin %" PRIu64 " to %" PRIu64,
             now, block->pc, least + began, most);
}

/* The frame that a delivery pushed at the instant (icount, from). `younger`: so many deliveries came after it, with no
 * instruction between. */
struct pushed { uint64_t sp, from, icount; int vector, younger; bool error_code, wide; };
static void meet_frame(uint64_t linear, uint32_t size, uint64_t from, uint64_t icount);
static void film_management(uint64_t from);
static void film_delivery(const struct pushed *pushed, uint64_t linear, uint32_t size);

/* Reports a frame that the processor has pushed, since no callback shows it. (Outside long mode a change of
 * privilege pushes two more words.) */
static void tell_frame(struct pushed pushed)
{
    uint64_t linear = pushed.sp;
    uint32_t size = (5 + pushed.error_code) * 8;
    if (idt.mode != LONG) {
        linear = (uint32_t)(machine.ss_base + (machine.ss_flags & 0x400000 ? pushed.sp : pushed.sp & 0xffff));
        size = (3 + pushed.error_code) * (pushed.wide ? 4 : 2);
    }
    meet_frame(linear, size, pushed.from, pushed.icount);
    if (film_wanted.on)
        film_delivery(&pushed, linear, size);
}

/*
 * Explains how the handler at `pc`, with the stack at `sp`, came to run after the block. Several deliveries can
 * follow one another without an instruction in between; then each frame returns to the handler of the delivery
 * before.
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
                tell_frame((struct pushed){ sp, block->last, run.executed - 1, vector, depth, error_code, idt.wide[vector] });
            record_delivery(block->last, pc, block->kind);
            return true;
        }
        bool exception = is_exception(vector, error_code, block, frame.pc);
        enum branch_kind kind = exception ? EXCEPTION : INTERRUPT;
        if (depth < 4 && is_handler(frame.pc) && instruction_at(block, frame.pc) < 0 &&
            !went_to(block, frame.pc, frame.sp) && explain_delivery(block, frame.pc, frame.sp, depth + 1)) {
            if (unlikely(frames_watched))
                tell_frame((struct pushed){ sp, frame.pc, run.executed, vector, depth, error_code, idt.wide[vector] });
            record_delivery(frame.pc, pc, kind);
            return true;
        }
        struct explanation how = explain(block, frame.pc, exception ? FAULTED : INTERRUPTED);
        if (!how.found || (trap && how.kind != NO_RECORD))
            continue;
        uint64_t began = run.executed + how.count; /* one that is refused when decoded will be counted */
        if (exception && how.kind == NO_RECORD && how.count < block->count) {
            count_as_qemu_does(block, how.count, entered);
            how.count = 0;
        }
        step_to(block, frame.pc, how);
        if (block->ending == REPEATS) /* an iteration is never refused when decoded: QEMU has counted one that ran */
            began = run.executed;
        if (unlikely(frames_watched))
            tell_frame((struct pushed){ sp, frame.pc, began, vector, depth, error_code, idt.wide[vector] });
        record_delivery(frame.pc, pc, kind);
        return true;
    }
    return false;
}

/* Explains an entry into system management mode. There is no frame; the state that the processor saved in memory
 * tells where it came from. */
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
    if (unlikely(film_wanted.on))
        film_management(from);
    record_delivery(from, pc, INTERRUPT);
    return true;
}

#endif
