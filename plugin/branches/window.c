/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The window of the log.
 */
#include "window.h"
#include "control.h"

__typeof__(window) window;
bool translated;

void arm(void)
{
    const struct point *point = window.state == WAITING ? &window.start : &window.end;
    run.next_icount = window.state != CLOSED && point->type == AT_ICOUNT ? point->count : UINT64_MAX;
    run.next_brctr = window.state != CLOSED && point->type == AT_BRCTR ? point->count : UINT64_MAX;
    find_queue_last();
    go_on();
}

static void begin_logging(void)
{
    run.icount_of_last = run.executed;
    run.logging = true;
    open_batch(queue_open());
}

void end_logging(enum end_reason reason, uint64_t icount)
{
    if (!run.logging)
        begin_logging(); /* a window that never began, or logs nothing, has an end marker, too */
    run.logging = false;
    window.state = CLOSED;
    hand_over(FINISH, reason, icount);
}

void reached(struct position now)
{
    bool begins = window.state == WAITING;
    if (begins) {
        if (window.selection != NONE)
            begin_logging();
        window.state = OPEN;
    } else {
        end_logging(END_WINDOW, now.icount);
    }
    tell("{\"event\":\"%s\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"pc\":\"%#" PRIx64 "\",\"rep\":%" PRIu64 "}",
         begins ? "start" : "end", now.icount, now.brctr, now.pc, now.repeats);
    arm();
}

/* Does the awaited icount come before the record that is about to be made? A delivery at icount N comes after the
 * instant N. */
void before_record(void)
{
    while (run.executed > run.next_icount || (run.executed == run.next_icount && delivering))
        reached((struct position){ run.next_icount, run.brctr, 0, 0 });
}

void after_record(const struct edge *edge)
{
    while (run.brctr == run.next_brctr)
        reached((struct position){ run.executed, run.brctr, edge->to, 0 });
}

static void visit(const struct point *point, struct visits *visits, struct position now, bool awaited)
{
    if (!visits->count || visits->last_brctr != now.brctr) {
        visits->count++;
        visits->last_brctr = now.brctr;
        if (now.brctr < point->count)
            visits->before = now, visits->before_known = true;
        else if (now.brctr > point->count && !visits->after_known)
            visits->after = now, visits->after_known = true;
    }
    if (awaited && (point->type == AT_ADDRESS || (now.brctr == point->count && now.repeats == point->rep)))
        reached(now);
}

/* The callback before a watched instruction. `udata`: its number in the block and its distance from the block's
 * start. */
static void on_watched(unsigned vcpu UNUSED, void *udata)
{
    uint64_t number = (uintptr_t)udata >> 16, distance = (uintptr_t)udata & 0xffff;
    uint64_t repeats = run.current->ending == REPEATS && run.current->count == 1 ? run.repeats : 0;
    catch_up();
    struct position now = { run.executed + number, run.brctr, run.current->pc + distance, repeats };
    bool waiting = window.state == WAITING, open = window.state == OPEN;
    if (has_address(&window.start) && window.start.address == now.pc)
        visit(&window.start, &window.start_visits, now, waiting);
    if (open && has_address(&window.end) && window.end.address == now.pc)
        visit(&window.end, &window.end_visits, now, true);
    go_on();
}

bool is_watched(uint64_t pc)
{
    return (has_address(&window.start) && ((window.start.address ^ pc) & 0xfff) == 0) ||
           (has_address(&window.end) && ((window.end.address ^ pc) & 0xfff) == 0);
}

void watch(struct qemu_plugin_insn *insn, uint64_t number, uint64_t distance)
{
    void *udata = (void *)(uintptr_t)(number << 16 | distance);
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_watched, CB_NO_REGS, udata);
}
