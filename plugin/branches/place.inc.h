/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding the instant of a callback within a running block: its address, and the instruction count from QEMU's own
 * notes.
 */
#ifndef PLACE_INC_H
#define PLACE_INC_H

/* A translated block with probes in it. */
struct probed_block {
    uint64_t base;   /* linear address minus instruction pointer */
    uint32_t count, size; /* instructions, bytes */
    uint32_t counted; /* see learn_counted() */
    bool known;
};
/* An instruction of such a block. */
struct site { struct probed_block *block; uint32_t index, offset; /* in the page */ };

/* The instant of the callback that is running. */
static struct {
    const struct site *site;
    uintptr_t host; /* address in QEMU's translated code */
    uint64_t pc;    /* linear */
} here;

/*
 * Blocks are shared between virtual addresses of one physical page. All of a block's instructions begin in one page.
 * QEMU's instruction pointer may be out of date, but is in that page, too.
 */
static inline uint64_t linear_pc(const struct site *site)
{
    return ((instruction_pointer() + site->block->base) & ~(uint64_t)0xfff) | site->offset;
}

enum { MOST_BYTES = 15 };

/* Reads the bytes of an instruction, at most MOST_BYTES. Returns how many. */
static size_t read_instruction(const struct qemu_plugin_insn *insn, uint8_t *bytes)
{
    size_t size = least(qemu_plugin_insn_size(insn), MOST_BYTES);
#if QEMU_PLUGIN_API == 1
    memcpy(bytes, qemu_plugin_insn_data(insn), size);
#else
    qemu_plugin_insn_data(insn, bytes, size);
#endif
    return size;
}

/* ---- The instruction count ------------------------------------------------------------------------------------------ */

/*
 * Learns how many of a block's instructions QEMU counts when the block begins. An instruction that is known to fault
 * is replayed in a block that is not counted at all; and 7.2 shows plugins one instruction too many when the last one
 * crosses the end of a page. QEMU's notes on the block tell: flags, on 7.2 a word that is 0, 16 bits of size, 16 bits
 * of instructions. They are found by the latter two. This must also work for such blocks, since one may be the first
 * that is met.
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
        bool without_last = found[0] && found[1] && found[1] + 1u == block->count && more_bytes - 1 < LONGEST_INSTRUCTION;
        if ((found[0] == block->size && found[1] == block->count) || without_last)
            notes_at = at;
    }
    if (!notes || !notes_at)
        refuse_qemu("its notes on blocks");
    memcpy(found, notes + notes_at, 4);
    memcpy(&flags, notes + notes_at - 4, 4);
    if (!flags)
        memcpy(&flags, notes + notes_at - 8, 4);
    bool newer = QEMU_PLUGIN_API > 1 && !(flags & OLDER_FLAGS);
    block->counted = flags & (newer ? NEWER_COUNTED : COUNTED) ? found[1] : 0;
}

/* The instructions executed before the one at the site, by QEMU's own count. `host` is an address in the block's
 * translated code. Cost: about 20 ns. */
static uint64_t icount_by_qemu(const struct site *site, uintptr_t host)
{
    learn_counted(site->block, host);
    return count_of_qemu() + site->index - site->block->counted;
}

struct reached { uint64_t icount, repeats; };

/*
 * The counts before the instruction at the site, while branches are followed. When a new block begins with a rep instruction that
 * has just repeated, only a later block tells whether its last iteration ran; QEMU's own count tells at once.
 */
static inline struct reached reached_here(const struct site *site, uintptr_t host)
{
    struct reached at = { executed_now() + site->index, 0 };
    if (unlikely(run.current->ending == REPEATS && run.current->count == 1)) {
        uint64_t counted = icount_by_qemu(site, host);
        at.repeats = run.repeats + (counted - at.icount);
        at.icount = counted;
    }
    return at;
}

/*
 * The address in translated code that called the QEMU functions which called this plugin; 0 when no translated code
 * did. 7.2 can show the accesses of an interrupt's delivery as if the last block had made them.
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

#endif
