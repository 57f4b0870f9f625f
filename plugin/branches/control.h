/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control socket: commands come in, answers and events go out, one line each (README.md, "Control").
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "window.h"

/* -1: nobody asks. Set before the thread begins. */
extern int control_fd OURS;

/* Sends one line of at most 1,000 characters, if there is anyone to tell. Any thread may. */
OURS void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of a whole line with its end. */
OURS void tell_line(const char *line, size_t size);
OURS void refuse(const char *why);
OURS void tell_position(const char *what, struct position at);
OURS void tell_visits(const char *which, const struct point *point, const struct visits *visits);
OURS bool is_running(void);

/* QEMU ends: no command is begun any more. False when one does not end: it may wait for a processor that is gone. */
OURS bool end_commands(void);

/* The thread: answers commands. Most need a stopped machine. */
OURS void *control(void *unused);

#endif
