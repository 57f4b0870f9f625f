/*
 * SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * QEMU plugin (TCG, x86 guests, one vCPU, -icount) that sees every branch a machine takes. The rest of vmtape is
 * under the MIT license; this file may also be used under QEMU's license, since it is loaded into QEMU.
 *
 * One source for both plugin APIs: compile with -DQEMU_PLUGIN_API=1 for QEMU 7.2 to 8.2, =2 for 9.0 and later.
 * README.md beside this file: how it works, why it is exact, what it relies on. branch-stream.h: what it sends.
 *
 * Threads: the vCPU thread follows the run and queues records; the encoder thread makes chunks of them and writes
 * them to the data socket; the control thread answers commands while the machine is stopped.
 */
#include "../common/fail.h"
#include "arena.h"
#include "film.h"
#include "first-visits.h"
#include "marks.h"
#include "probe.h"
#include "probe-commands.h"
#include "probe-symbols.h"
#include "self-check.h"
#include "translation.h"
#include "window.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>

/* All code that runs at each block or instruction is one compilation unit: calls between several would cost more
 * than the work itself. */
__typeof__(run) run = { .next_icount = UINT64_MAX, .next_brctr = UINT64_MAX };
bool following = true;

#include "blocks.inc.h"
#include "records.inc.h"
#include "descriptors.inc.h"
#include "explanation.inc.h"
#include "frames.inc.h"
#include "deliveries.inc.h"
#include "steps.inc.h"
#include "callbacks.inc.h"
#include "place.inc.h"
#include "registers.inc.h"
#include "hit-records.inc.h"
#include "executions.inc.h"
#include "accesses.inc.h"
#include "probes.inc.h"
#include "film.inc.h"
#include "translation.inc.h"
#include "rest.inc.h"
