/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control thread's commands but those for probes. The machine is stopped, but for `progress`.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

/* Carries out a command line, and answers it. The line is taken apart. */
void command(char *line) __attribute__((visibility("hidden")));

#endif
