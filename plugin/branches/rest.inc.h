/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The machine at rest: when it is stopped, and when QEMU has discarded its blocks.
 */
#ifndef REST_INC_H
#define REST_INC_H

static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;

void hold_run(void)
{
    pthread_mutex_lock(&run_lock);
}

void release_run(void)
{
    pthread_mutex_unlock(&run_lock);
}

void park(uint64_t pc, uint64_t repeats)
{
    memset(&parked, 0, sizeof parked);
    parked.block.pc = parked.block.last = parked.block.next = pc;
    parked.block.ending = FALLS;
    run.current = &parked.block;
    run.repeats = repeats;
    parked_sp = stack_pointer();
}

uint64_t stopped_pc(void)
{
    read_machine();
    uint64_t pc = machine.cs_base + machine.ip;
    return mode_of(machine.cr0, machine.efer) == LONG ? pc : (uint32_t)pc;
}

struct position settle(void)
{
    if (!following)
        return (struct position){ qemu.icount_get_raw(), 0, stopped_pc(), 0 };
    struct explanation how;
    uint64_t pc = stopped_pc();
    catch_up();
    uint64_t executed = run.executed, brctr = run.brctr, repeats = 0;
    entered = NULL;
    if (run.current->count || run.current->pc != pc) /* it is not at rest here already */
        explain_step(run.current, pc, &how);
    if (run.brctr == brctr)
        repeats = repeats_after(run.current, pc, run.executed - executed);
    park(pc, repeats);
    go_on();
    return (struct position){ run.executed, run.brctr, pc, repeats };
}

/* Called when QEMU has discarded all its blocks, so that nothing of QEMU refers to this plugin's blocks any more. */
void on_flush(plugin_id id UNUSED)
{
    hold_run();
    if (run.current != &parked.block) {
        memcpy(&parked, run.current, sizeof *run.current + run.current->count);
        parked.block.elsewhere = NULL;
        run.current = &parked.block;
    }
    forget_successors();
    memset(blocks, 0, sizeof blocks);
    drop(&block_arena);
    release_run();
    note_flush();
}

static void on_vcpu(plugin_id id, unsigned vcpu)
{
#if QEMU_PLUGIN_API > 1
    if (vcpu == 0)
        finished = qemu_plugin_scoreboard_find(finished_entry.scoreboard, 0);
#endif
    /* QEMU 10 calls this in the processor's own thread, and a command may have come by then. */
    hold_run();
    check_processor(id, vcpu);
    release_run();
}

void begin_run(plugin_id id UNUSED)
{
    static struct block nowhere = { .ending = UNKNOWN };
    run.current = &nowhere;
    go_on();
    memset(idt.first, 0xff, sizeof idt.first);
#if QEMU_PLUGIN_API == 1
    finished = &finished_word;
#else
    finished_entry.scoreboard = qemu_plugin_scoreboard_new(sizeof(uint64_t));
#endif
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
}

#endif
