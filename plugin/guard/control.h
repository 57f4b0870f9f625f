/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The guard's control socket: one command a line, one answer a line (JSON).
 */
#ifndef GUARD_CONTROL_H
#define GUARD_CONTROL_H

#include "../common/base.h"

/* The descriptor of the control socket; -1 for none. Must be set before the thread begins. */
extern int control_fd OURS;

/* The thread. */
OURS void *control(void *unused);

#endif
