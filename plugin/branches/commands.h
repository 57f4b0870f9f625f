/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The commands of the control thread, except for those for probes. For all but `progress` the machine must be
 * stopped.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

/* Carries out a command line, and answers it. The line is cut into words in place. */
void command(char *line) __attribute__((visibility("hidden")));

#endif
