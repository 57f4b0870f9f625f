/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding what is used of QEMU.
 */
#include "qemu.h"
#include "../common/exports.h"

__typeof__(qemu) qemu;
__typeof__(replay) replay;

static bool find_layout(void)
{
    if (size_of_export(qemu.replay_state) != (QEMU_PLUGIN_API == 1 ? OLD_STATE_SIZE : NEW_STATE_SIZE))
        return false;
    replay.event_icount = (uint64_t *)(qemu.replay_state + 16);
    replay.instructions = (int *)(qemu.replay_state + 24);
    replay.kind = (unsigned *)(qemu.replay_state + (QEMU_PLUGIN_API == 1 ? 28 : 32));
    replay.requests = (uint64_t *)(qemu.replay_state + 48);
    return true;
}

const char *find_symbols(void)
{
#if QEMU_PLUGIN_API == 1
    static const char lock[] = "qemu_mutex_lock_iothread_impl", unlock[] = "qemu_mutex_unlock_iothread";
#else
    static const char lock[] = "bql_lock_impl", unlock[] = "bql_unlock";
#endif
    static const struct wanted_export wanted[] = {
        { "replay_mode", &qemu.replay_mode },
        { "replay_state", &qemu.replay_state },
        { "replay_file", &qemu.replay_file },
        { "replay_break_icount", &qemu.break_icount },
        { "replay_break_timer", &qemu.break_timer },
        { "replay_mutex_lock", &qemu.lock_replay },
        { "replay_mutex_unlock", &qemu.unlock_replay },
        { lock, &qemu.lock_machine },
        { unlock, &qemu.unlock_machine },
        { "icount_get_raw", &qemu.icount },
        { "qemu_get_cpu", &qemu.cpu },
        { "x86_cpu_dump_state", &qemu.dump },
        { "qemu_clock_enable", &qemu.enable_clock },
        { "qemu_clock_get_ns", &qemu.now },
        { "timerlist_new", &qemu.new_timer_list },
        { "timer_init_full", &qemu.init_timer },
        { "timer_mod_ns", &qemu.set_timer },
        { "qemu_add_vm_change_state_handler_prio", &qemu.on_change },
        { "replay_has_events", &qemu.events_wait },
        { "async_run_on_cpu", &qemu.run_soon },
        { "ShutdownCause_lookup", &qemu.causes },
        { "qemu_find_net_clients_except", &qemu.find_networks },
        { "qemu_new_net_queue", &qemu.new_queue },
    };
    const char *missing = find_exports(wanted, sizeof wanted / sizeof *wanted);
    if (missing)
        return missing;
    if (!find_layout())
        return "replay_state";
    return qemu.causes->count < 1 || qemu.causes->count > MOST_CAUSES ? "ShutdownCause_lookup" : NULL;
}
