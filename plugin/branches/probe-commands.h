/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control thread's commands for probes: `probe`, `unprobe`, `hits` (README.md, "Probes"). The machine is stopped.
 */
#ifndef PROBE_COMMANDS_H
#define PROBE_COMMANDS_H

#include "../common/base.h"

/* Carries out a command for probes; false when it is none. */
OURS bool probe_command(char **words, int count);
/* QEMU has thrown away its blocks, and so all places of callbacks. */
OURS void note_flush(void);

#endif
