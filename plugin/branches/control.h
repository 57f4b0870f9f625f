/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control socket: commands come in, answers and events go out, one line each (README.md, "Control").
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "window.h"

/* The descriptor of the control socket; -1 for none. Must be set before the thread begins. */
extern int control_fd OURS;

/* Sends one line of at most 1,000 characters, if there is a control socket. Any thread may call it. */
OURS void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As `tell`, for a complete line with its line break. */
OURS void tell_line(const char *line, size_t size);
OURS void refuse(const char *why);
OURS void tell_position(const char *what, struct position at);
OURS void tell_visits(const char *which, const struct point *point, const struct visits *visits);
OURS bool is_running(void);

/* Called when QEMU ends: lets no further command begin. False when one does not end, since it may wait for a vCPU
 * that has ended. */
OURS bool end_commands(void);

/* The thread that answers commands. */
OURS void *control(void *unused);

#endif
