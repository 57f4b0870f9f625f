/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Packets that wait until the guest has buffers for them: a stop must not change that.
 */
#ifndef PACKETS_H
#define PACKETS_H

#include "../common/base.h"

/* Finds the machine's network clients, before it first runs. Ends QEMU when they are not as expected. */
OURS void learn_networks(void);
/* `put_packets_aside` gives QEMU's own handlers of a stop empty queues; `put_packets_back` restores the queues. */
OURS void put_packets_aside(void);
OURS void put_packets_back(void);
/* How many packets wait. */
OURS unsigned packets_waiting(void);

#endif
