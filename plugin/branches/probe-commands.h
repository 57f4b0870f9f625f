/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control thread's commands for probes: `probe`, `unprobe`, `hits` (README.md, "Probes"). The machine must be
 * stopped.
 */
#ifndef PROBE_COMMANDS_H
#define PROBE_COMMANDS_H

#include "../common/base.h"

/* Carries out a command for probes. False when it is another command. */
OURS bool probe_command(char **words, int count);
/* Called when QEMU has discarded its blocks, and with them all callbacks. */
OURS void note_flush(void);

#endif
