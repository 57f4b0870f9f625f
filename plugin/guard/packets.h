/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Packets that wait for the guest's buffers: they go on waiting at a stop.
 */
#ifndef PACKETS_H
#define PACKETS_H

#include "../common/base.h"

/* Finds the machine's network parts, before it first runs; QEMU ends when they are otherwise than expected. */
OURS void learn_networks(void);
/* QEMU's own handlers of a stop find empty queues from here on; and their own again. */
OURS void put_packets_aside(void);
OURS void put_packets_back(void);
/* How many wait. */
OURS unsigned packets_waiting(void);

#endif
