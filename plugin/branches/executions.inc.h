/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Probes of execution.
 */
#ifndef EXECUTIONS_INC_H
#define EXECUTIONS_INC_H

struct probe **probes_at(uint64_t pc)
{
    return &probes.at[mix(pc * 0x9e3779b97f4a7c15u) & ((1 << PROBE_BITS) - 1)];
}

/* Notes that the current block is left before the instruction `here`. */
static void rest_at(struct reached at, const struct site *site)
{
    catch_up();
    run.executed += site->index;
    uint64_t late = at.repeats ? at.repeats - run.repeats : 0;
    if (run.executed + late != at.icount)
        fail(EXIT_INEXACT, "a stop at %" PRIu64 ", where %" PRIu64 " are counted", at.icount, run.executed + late);
    run.executed = at.icount;
    park(here.pc, at.repeats);
    go_on();
}

static NOINLINE void meet_execution(struct probe *probe, const struct site *site, uintptr_t host)
{
    enum { DEBUG_EXCEPTION = 0x10002 };
    struct reached at = following ? reached_here(site, host) : (struct reached){ icount_by_qemu(site, host), 0 };
    uint64_t icount = at.icount;
    bool stops = false, can_stop = run.ip_word;
    here.site = site;
    here.host = host;
    hit.access = NULL;
    hit.icount = icount;
    hit.repeats = at.repeats;
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
        rest_at(at, site);
    /* The machine stops before this instruction, as at a breakpoint of QEMU's own. */
    more.raise((void *)(run.ip_word - GENERAL), DEBUG_EXCEPTION, host);
}

/* The callback before an instruction whose offset in its page is that of a probe. */
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

#endif
