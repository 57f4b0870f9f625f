/*
 * SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * QEMU plugin (TCG, x86 guests, one vCPU, -icount) that sees every branch a machine takes. The rest of vmtape is
 * under the MIT license; this file may also be taken under QEMU's own, which is what it is loaded into.
 *
 * One source for both plugin APIs: compile with -DQEMU_PLUGIN_API=1 for QEMU 7.2 to 8.2, =2 for 9.0 and later.
 * README.md beside this file: how it works, why it is exact, what it trusts. branch-stream.h: what it sends.
 *
 * Threads: the vCPU thread follows the run and queues records; the encoder thread makes chunks of them and
 * writes them to the data socket; the control thread answers commands while the machine is stopped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "branch-stream.h"

#ifndef QEMU_PLUGIN_API
#error "compile with -DQEMU_PLUGIN_API=1 (QEMU 7.2 to 8.2) or =2 (9.0 and later)"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the stream is little-endian, and so must be the host"
#endif

#define EXPORT __attribute__((visibility("default")))
#define NOINLINE __attribute__((noinline))
#define UNUSED __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- The run so far -------------------------------------------------------------------------------------------- */

struct block;
static struct {
    /* what every block touches: a cache line */
    struct block *current;   /* began to run last */
    uint64_t counter;        /* instructions << 32 | records, since `executed` and `brctr` were brought up to date */
    uint64_t limit, last;    /* while logging: steps from here on are made slowly; the counter after the last record */
    uint32_t *queue_at;      /* in the open batch */
    uint32_t *queue_last;    /* up to here nothing but queueing is to do */
    const uint64_t *ip_word; /* see instruction_pointer() */
    uint64_t base;           /* what the counter began at: when its top bit is set, a step is looked at */

    uint64_t executed;       /* instructions before `current`: icount at its start */
    uint64_t brctr;          /* records so far */
    uint64_t icount_of_last; /* of the record queued last */
    uint64_t next_icount, next_brctr; /* see "The window" */
    uint64_t repeats;        /* iterations done before `current`, when that is one rep instruction */
    uint32_t *queue_end;     /* of the open batch */
    bool logging;
} run __attribute__((aligned(64))) = { .next_icount = UINT64_MAX, .next_brctr = UINT64_MAX };

/* The counts at the start of the current block. */
static inline uint64_t executed_now(void) { return run.executed + ((run.counter - run.base) >> 32); }
static inline uint64_t brctr_now(void) { return run.brctr + (uint32_t)(run.counter - run.base); }

#include "qemu.c"
#include "blocks.inc.h"
#include "records.inc.h"
#include "first-visits.c"
#include "steps.inc.h"
#include "instructions.c"

/* ---- Callbacks of running blocks ------------------------------------------------------------------------------ */

static struct block *relocate(struct block *block, uint64_t ip);

/* A step that was seen before. Calls only in tail position: no register to save. */
static inline void follow(struct successor *successor, struct edge **edge)
{
    uint64_t counter = run.counter + successor->delta;
    run.counter = counter;
    if ((int64_t)counter < 0)
        look(successor, edge);
}

static NOINLINE void enter_slowly(struct block *block, struct block *next, uint64_t ip)
{
    catch_up();
    run.current = next->ip == ip ? next : relocate(next, ip);
    slow_step(block, run.current, next);
    go_on();
}

static NOINLINE void enter_far(struct block *block, struct block *next)
{
    uint64_t ip = *run.ip_word;
    size_t i = FIRST_FAR + (block->after[FIRST_FAR + 1].to == next);
    if (block->after[i].to == next && next->ip == ip) {
        follow(&block->after[i], &block->records[i]);
        return;
    }
    struct pair *pair = pair_of(block, next, ip);
    if (pair->from == block && pair->successor.to == next && pair->then->ip == ip && !recount) {
        run.current = pair->then;
        if (pair->near)
            learn(block, pair);
        follow(&pair->successor, &pair->record);
    } else {
        enter_slowly(block, next, ip);
    }
}

static void on_block(unsigned vcpu UNUSED, void *udata)
{
    struct block *next = udata, *block = run.current;
    run.current = next;
    if (block->after[0].to == next)
        follow(&block->after[0], &block->records[0]);
    else if (likely(block->after[1].to == next))
        follow(&block->after[1], &block->records[1]);
    else
        enter_far(block, next);
}

/* For blocks that mark their end. */
static void on_marking_block(unsigned vcpu, void *udata)
{
    on_block(vcpu, udata);
    *finished = 0;
    loaded_at = 0;
}

/* For blocks of one rep instruction: iterations that follow on one another without a record are counted. */
static void on_repeating_block(unsigned vcpu, void *udata)
{
    struct block *before = run.current;
    if (likely(before == udata && before->after[0].to == before)) {
        run.repeats++;
        follow(&before->after[0], &before->records[0]);
        return;
    }
    uint64_t executed = executed_now(), brctr = brctr_now();
    on_block(vcpu, udata);
    run.repeats = brctr_now() == brctr ? repeats_after(before, run.current->pc, executed_now() - executed) : 0;
}

/* `udata`: is it from the stack? */
static void on_load(unsigned vcpu UNUSED, uint32_t info UNUSED, uint64_t linear, void *udata)
{
    if (loaded_at)
        return;
    loaded_at = linear;
    if (udata && !read_memory(linear, &loaded, sizeof loaded))
        loaded_at = 0;
}

static udata_callback callback_of(const struct block *block)
{
    return block->marks                                      ? on_marking_block
           : block->ending == REPEATS && block->count == 1 ? on_repeating_block
                                                              : on_block;
}

/* For blocks translated before the instruction pointer was found. */
static void on_early_block(unsigned vcpu, void *udata)
{
    if (likely(run.ip_word)) {
        callback_of(udata)(vcpu, udata);
        return;
    }
    struct block *next = udata;
    const struct block *before = run.current;
    uint64_t executed = executed_now(), brctr = brctr_now();
    find_ip_word();
    enter_slowly(run.current, next, instruction_pointer());
    run.repeats = brctr_now() == brctr ? repeats_after(before, run.current->pc, executed_now() - executed) : 0;
    *finished = 0;
    loaded_at = 0;
}

#include "window.c"
#include "agent.c"
#include "registers.inc.h"
#include "hits.c"
#include "probes.inc.h"
#include "probe-commands.c"

/* ---- Translation ---------------------------------------------------------------------------------------------- */

static void on_translation(plugin_id id UNUSED, struct qemu_plugin_tb *tb)
{
    static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } fresh;
    struct block *block = &fresh.block;
    if (unlikely(!qemu.current_cpu)) {
        qemu.cpu = qemu.get_cpu(0);
        qemu.current_cpu = dlsym(RTLD_DEFAULT, "current_cpu"); /* thread-local: this thread's */
        translated = true;
    }
    if (unlikely(!run.ip_word))
        find_ip_word();
    translated_since_flush = true;
    if (unlikely(probes.instrumented.any))
        probe_block(tb);
    if (!following)
        return;
    memset(block, 0, sizeof *block);
    block->count = qemu_plugin_tb_n_insns(tb);
    if (block->count == 0 || block->count > MOST_INSNS)
        fail(EXIT_INEXACT, "a block of %u instructions", block->count);
    block->pc = qemu_plugin_tb_vaddr(tb);
    block->ip = instruction_pointer();
    struct qemu_plugin_insn *insn = NULL;
    uint8_t bytes[16];
    size_t size = 0;
    uint64_t hash = block->count;
    for (uint32_t i = 0; i < block->count; i++) {
        insn = qemu_plugin_tb_get_insn(tb, i);
        size = qemu_plugin_insn_size(insn);
        if (size > sizeof bytes - 1)
            size = sizeof bytes - 1;
        block->sizes[i] = size;
        hash = mix(hash ^ size);
#if QEMU_PLUGIN_API == 1
        memcpy(bytes, qemu_plugin_insn_data(insn), size);
#else
        qemu_plugin_insn_data(insn, bytes, size);
#endif
        block->loads_idt |= loads_idt(bytes, size);
        if (unlikely(is_watched(qemu_plugin_insn_vaddr(insn))))
            watch(insn, i, qemu_plugin_insn_vaddr(insn) - block->pc);
    }
    block->last = qemu_plugin_insn_vaddr(insn);
    block->next = block->last + size;
    if (size > 0)
        classify(block, bytes, size);
    bool direct = block->ending == BRANCHES || block->ending == GOES;
    bool loads = block->ending == GOES_ANY && block->through <= THROUGH_MEMORY;
    block->inside = direct ? instruction_at(block, block->target) : NOT_INSIDE;
    block->marks = block->ending > GOES_ANY || loads || (block->ending == GOES_ANY && block->count > 1) ||
                   (block->kind == CALL && block->inside == (int)block->count - 1);
    block->hash = mix(hash ^ (direct ? block->target - block->pc : 0)) ^ block->ending * 64 ^ block->kind ^
                  (uint64_t)(uint8_t)block->through << 16 ^ (uint64_t)block->pops << 24;
    block = intern(block);
    if (unlikely(run.current->ending == REPEATS && block->pc == run.current->last)) {
        recount = true;
        memset(run.current->after, 0, sizeof run.current->after);
    }
    if (loads)
        qemu_plugin_register_vcpu_mem_cb(insn, on_load, CB_NO_REGS, MEM_READ,
                                         block->through == THROUGH_STACK ? block : NULL);
    if (block->marks) {
#if QEMU_PLUGIN_API == 1
        qemu_plugin_register_vcpu_insn_exec_inline(insn, OP_ADD_U64, finished, 1);
#else
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, OP_ADD_U64, finished_entry, 1);
#endif
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, run.ip_word ? callback_of(block) : on_early_block, CB_NO_REGS, block);
}

static void park(uint64_t pc, uint64_t repeats)
{
    memset(&parked, 0, sizeof parked);
    parked.block.pc = parked.block.last = parked.block.next = pc;
    parked.block.ending = FALLS;
    run.current = &parked.block;
    run.repeats = repeats;
}

/* QEMU has thrown away all its blocks: nothing refers to ours any more. */
static void on_flush(plugin_id id UNUSED)
{
    if (run.current != &parked.block) {
        memcpy(&parked, run.current, sizeof *run.current + run.current->count);
        parked.block.elsewhere = NULL;
        run.current = &parked.block;
    }
    forget_successors();
    memset(blocks, 0, sizeof blocks);
    drop(&block_arena);
    note_flush();
}

#include "chunk-coder.c"
#include "chunk-encoder.c"
#include "control.c"

/* ---- Begin and end of the process --------------------------------------------------------------------------------- */

static bool summary;

static void on_exit_of_qemu(plugin_id id UNUSED, void *unused UNUSED)
{
    struct position at = { executed_now(), brctr_now(), 0, 0 };
    if (qemu.cpu && !is_running())
        at = settle();
    if (window.state != CLOSED) {
        end_logging(END_RUN, at.icount);
        wait_for_encoder();
    }
    if (hits.fd >= 0)
        flush_hits();
    tell_visits("start", &window.start, &window.start_visits);
    tell_visits("end", &window.end, &window.end_visits);
    tell("{\"event\":\"exit\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"unexplained\":%" PRIu64 "}", at.icount,
         at.brctr, unexplained);
    if (summary)
        fprintf(stderr, "vmtape plugin: %" PRIu64 " branches, %" PRIu64 " instructions, %" PRIu64 " unexplained\n",
                at.brctr, at.icount, unexplained);
}

#if QEMU_PLUGIN_API > 1
static void on_vcpu(plugin_id id UNUSED, unsigned vcpu)
{
    if (vcpu == 0)
        finished = qemu_plugin_scoreboard_find(finished_entry.scoreboard, 0);
}
#endif

static bool is_open(uint64_t fd)
{
    return fd < 1 << 20 && fcntl(fd, F_GETFD) >= 0;
}

static void run_thread(void *(*body)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL) != 0)
        fail(EXIT_STREAM, "cannot make a thread");
    pthread_detach(thread);
}

/*
 * Options: data=FD, a stream socket or pipe for chunks; control=FD, a stream socket for commands; probes=FD, one for
 * hits; follow=off, not to follow branches; brctr=N, the records before the instant where the run begins; summary=on,
 * to print counts at the end.
 */
EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '='), *end;
        uint64_t number = 0;
        bool known = false;
        if (value++) {
            bool is_number = parse_number(value, 10, &number, &end) && !*end;
            if (!strncmp(argv[i], "data=", 5) && is_number && is_open(number))
                data_fd = number, known = true;
            else if (!strncmp(argv[i], "control=", 8) && is_number && is_open(number))
                control_fd = number, known = true;
            else if (!strncmp(argv[i], "probes=", 7) && is_number && is_open(number))
                hits.fd = number, known = true;
            else if (!strcmp(argv[i], "follow=on") || !strcmp(argv[i], "follow=off"))
                following = value[1] == 'n', known = true;
            else if (!strncmp(argv[i], "brctr=", 6) && is_number)
                run.brctr = number, known = true;
            else if (!strcmp(argv[i], "summary=on") || !strcmp(argv[i], "summary=off"))
                summary = value[1] == 'n', known = true;
        }
        if (!known) {
            fprintf(stderr, "vmtape plugin: the option %s is wrong\n", argv[i]);
            return -1;
        }
    }
    if (!info->system_emulation || strcmp(info->target_name, "x86_64")) {
        fprintf(stderr, "vmtape plugin: the machine is no x86_64 system\n");
        return -1;
    }
    if (info->system.smp_vcpus != 1) {
        fprintf(stderr, "vmtape plugin: the machine has %d processors, not one\n", info->system.smp_vcpus);
        return -1;
    }
    const char *missing = find_symbols();
    if (missing) {
        fprintf(stderr, "vmtape plugin: this QEMU does not export %s\n", missing);
        return -1;
    }
    static struct block nowhere = { .ending = UNKNOWN };
    run.current = &nowhere;
    go_on();
    memset(idt.first, 0xff, sizeof idt.first);
#if QEMU_PLUGIN_API == 1
    finished = &finished_word;
#else
    finished_entry.scoreboard = qemu_plugin_scoreboard_new(sizeof(uint64_t));
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
#endif
    if (data_fd >= 0)
        run_thread(encode);
    if (hits.fd >= 0) {
        missing = find_more_symbols();
        if (missing) {
            fprintf(stderr, "vmtape plugin: this QEMU does not export %s\n", missing);
            return -1;
        }
        hits.open = must_have(malloc(HITS_BUFFER));
        hits.other = must_have(malloc(HITS_BUFFER));
        run_thread(send_hits);
    }
    if (control_fd >= 0)
        run_thread(control);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_flush_cb(id, on_flush);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
