/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding what is used of QEMU.
 */
#include "qemu.h"
#include "../common/exports.h"
#include "../common/fail.h"

#include <time.h>
#include <unistd.h>

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
        { "ReplayMode_lookup", &qemu.modes },
        { "main_loop_tlg", &qemu.lists },
        { "qemu_find_net_clients_except", &qemu.find_networks },
        { "qemu_new_net_queue", &qemu.new_queue },
    };
    return find_exports(wanted, sizeof wanted / sizeof *wanted);
}

void refuse_qemu(const char *what)
{
    fail(EXIT_INEXACT, "this QEMU keeps %s otherwise than 7.2 to 10.2 do: use one of those, or see the end of vmtape's "
                       "plugin/README.md", what);
}

static bool has_name(const struct enum_names *names, int number, const char *name)
{
    return names->count > number && names->names[number] && !strcmp(names->names[number], name);
}

/* Checks the layout before anything was executed: a replay has read the kind of the log's next event, which is
 * compared with the log. */
static bool is_next_event(void)
{
    enum { LENGTH = 5 }; /* of an INSTRUCTION: kind, count */
    uint8_t bytes[LENGTH];
    if (*replay.event_icount != 0)
        return false;
    if (!is_replaying())
        return *replay.requests == 0;
    long at = *qemu.replay_file ? ftell(*qemu.replay_file) : -1;
    if (at < LENGTH || pread(fileno(*qemu.replay_file), bytes, sizeof bytes, at - LENGTH) != sizeof bytes)
        return false;
    uint32_t count = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 | bytes[4];
    if (*replay.kind == EVENT_INSTRUCTION)
        return bytes[0] == EVENT_INSTRUCTION && (uint32_t)*replay.instructions == count;
    return bytes[LENGTH - 1] == *replay.kind && *replay.instructions == 0;
}

static bool is_real_time(int64_t ns)
{
    enum { NS_A_SECOND = 1000000000 };
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t distance = now.tv_sec * INT64_C(1000000000) + now.tv_nsec - ns;
    return distance >= 0 && distance < NS_A_SECOND;
}

const char *check_qemu(void)
{
    if (!find_layout())
        return "replay_state (its size)";
    if (size_of_export(qemu.replay_mode) != sizeof *qemu.replay_mode || !has_name(qemu.modes, REPLAYING, "play"))
        return "replay_mode";
    if (size_of_export(qemu.break_icount) != sizeof *qemu.break_icount || size_of_export(qemu.break_timer) != sizeof *qemu.break_timer)
        return "replay_break_icount and replay_break_timer";
    if (!is_next_event())
        return "replay_state (the log's next event)";
    if (!has_name(qemu.causes, 0, "none") || qemu.causes->count > MOST_CAUSES)
        return "ShutdownCause";
    if (size_of_export(qemu.lists) != sizeof *qemu.lists || !is_real_time(qemu.now(REALTIME)))
        return "its clocks";
    return NULL;
}

void check_timer(const struct timer *timer, const void *list, void (*call)(void *))
{
    bool has_list = false, has_call = false;
    for (size_t at = 0; at < sizeof *timer; at += sizeof(void *)) {
        const void *word;
        memcpy(&word, timer->room + at, sizeof word);
        has_list |= word == list;
        has_call |= word == *(const void **)(void *)&call;
    }
    if (!has_list || !has_call)
        refuse_qemu("its timers");
}
