/*
 * SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * QEMU plugin that leaves no trace in the run: it looks at no instruction, and costs nothing while the guest runs. It is
 * loaded into every QEMU that records, and beside the branch plugin into every QEMU that replays. It has two jobs:
 *
 * Replays: a machine can be stopped at any icount and goes on as if it had not stopped. QEMU alone cannot promise that:
 *   - Events that the log has at the icount of a stop are taken by whichever thread comes first, some of them while the
 *     machine counts as stopped, when their consequences are left out (`icount_warp_rt`, `icount_adjust`): the replay
 *     then stands still. With the guard a stop by `replay-break` comes before all events at its icount, and none is
 *     taken until the machine goes on (stops.c).
 *   - Packets that wait for the guest's buffers are discarded at a stop, or handed over when the machine goes on
 *     (net/net.c, `net_vm_change_state_handler`; hw/net/virtio-net.c, `virtio_net_set_status`). With the guard they
 *     go on waiting (packets.c).
 * Recordings: registers, instruction count and, from outside, memory can be looked at between two blocks, while QEMU's
 *   own locks keep all of QEMU from running (control.c). To the guest it looks like a slow host, and the log has no
 *   trace of it. `stop` and `cont` would change the run, for the reasons above.
 *
 * One source for both plugin APIs, as branches.c. README.md beside this file: commands, and what it relies on in QEMU.
 */
#include "../common/fail.h"
#include "../common/numbers.h"
#include "../common/plugin-api.h"
#include "control.h"
#include "qemu.h"
#include "stops.h"

#include <pthread.h>

EXPORT int qemu_plugin_version = QEMU_PLUGIN_API;
const char plugin_name[] = "guard";

/* Option: control=FD, a stream socket for commands. */
EXPORT int qemu_plugin_install(plugin_id id UNUSED, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        uint64_t fd;
        if (strncmp(argv[i], "control=", 8) || !is_number(argv[i] + 8, 10, &fd) || !is_open(fd))
            return refuse_to_load("the option %s is wrong", argv[i]);
        control_fd = (int)fd;
    }
    if (!info->system_emulation || strcmp(info->target_name, "x86_64") || info->system.smp_vcpus != 1)
        return refuse_to_load("the machine is no x86_64 system with one processor");
    const char *missing = find_symbols();
    if (missing)
        return refuse_to_load("this QEMU does not export %s: use one of 7.2 to 10.2, built with modules as distributions do", missing);
    const char *otherwise = check_qemu();
    if (otherwise)
        return refuse_to_load("this QEMU keeps %s otherwise than 7.2 to 10.2 do: use one of those, or see the end of vmtape's plugin/README.md",
                              otherwise);
    guard_stops();
    if (control_fd >= 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, control, NULL) != 0)
            fail(EXIT_STREAM, "cannot make a thread");
        pthread_detach(thread);
    }
    return 0;
}
