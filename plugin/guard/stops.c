/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The log at a stop.
 */
#include "stops.h"
#include "packets.h"
#include "qemu.h"
#include <limits.h>

/*
 * `replay-break` sets a timer when its icount is reached, in the vCPU thread and with the replay's lock held. That
 * timer belongs to the guard, which QEMU notifies at once (`timerlist_notify`). From then on until the machine has
 * stopped, the guard makes the log look as if an instruction came next, so that no thread takes an event;
 * `replay_break_icount` keeps the instruction from being executed. While the machine is stopped, the two clocks that
 * are in the log run no timers.
 *
 * The last instruction may itself take events, and the timer is set when it begins to. Then this only begins when the
 * instruction is done, by work queued for the vCPU, which runs after it has left the block and before it looks at the
 * log again. QEMU's main loop might run in between, but its clocks are off already.
 */
static struct {
    struct timer timer, *qemus;
    bool pretending;
    unsigned kind;
} stop;

static void switch_clocks(bool on)
{
    qemu.enable_clock(HOST, on);
    qemu.enable_clock(VIRTUAL_RT, on);
}

static bool is_for_instruction(unsigned kind)
{
    unsigned first = EVENTS_BEFORE_SHUTDOWN + (unsigned)qemu.causes->count + 1;
    return kind >= first && kind < first + EVENTS_OF_INSTRUCTIONS;
}

static void pretend(void)
{
    if (*replay.instructions != 0 || stop.pretending)
        return;
    stop.kind = *replay.kind;
    stop.pretending = true;
    *replay.kind = EVENT_INSTRUCTION;
    *replay.instructions = 1;
}

static void on_instruction_done(void *cpu UNUSED, void *data UNUSED)
{
    if (stop.qemus) /* it has not stopped meanwhile */
        pretend();
}

static void on_break(void *opaque UNUSED, int clock UNUSED)
{
    if (!stop.qemus)
        return;
    if (*replay.instructions == 0 && is_for_instruction(*replay.kind)) {
        switch_clocks(false);
        qemu.run_soon(qemu.cpu(0), on_instruction_done, NULL);
    } else {
        pretend();
    }
    qemu.set_timer(stop.qemus, qemu.now(REALTIME));
}

static void never(void *opaque UNUSED)
{
}

static void watch_break(void)
{
    static struct timer_lists lists;
    if (*qemu.break_icount == UINT64_MAX || !*qemu.break_timer || *qemu.break_timer == &stop.timer)
        return;
    if (!lists.of[REALTIME]) {
        lists.of[REALTIME] = qemu.new_timer_list(REALTIME, on_break, NULL);
        qemu.init_timer(&stop.timer, &lists, REALTIME, 1, 0, never, NULL);
        check_timer(&stop.timer, lists.of[REALTIME], never);
    }
    stop.qemus = *qemu.break_timer;
    *qemu.break_timer = &stop.timer;
}

static void forget_break(void)
{
    if (!stop.qemus)
        return;
    *qemu.break_timer = stop.qemus;
    stop.qemus = NULL;
}

static void keep_log(void)
{
    if (stop.pretending) {
        *replay.kind = stop.kind;
        *replay.instructions = 0;
        stop.pretending = false;
    }
    switch_clocks(false);
}

/* The first of all handlers when the machine stops, and the last when it goes on. */
static void on_outermost(void *opaque UNUSED, bool running, int state UNUSED)
{
    if (!is_replaying())
        return;
    if (running) {
        learn_networks();
        put_packets_back();
        switch_clocks(true);
        watch_break();
    } else {
        forget_break();
        keep_log();
        put_packets_aside();
    }
}

/* The last of all handlers when the machine stops, and the first when it goes on. */
static void on_innermost(void *opaque UNUSED, bool running, int state UNUSED)
{
    if (!is_replaying())
        return;
    if (running)
        put_packets_aside();
    else
        put_packets_back();
}

void guard_stops(void)
{
    qemu.on_change(on_innermost, NULL, INT_MIN);
    qemu.on_change(on_outermost, NULL, INT_MAX);
    if (is_replaying())
        keep_log(); /* until the machine runs for the first time */
}
